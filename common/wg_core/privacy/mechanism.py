"""The mechanism: discrete Gaussian noise on exact integers, by OpenDP's sampler.

*Guarantee.* With ``sigma_for``'s sigma, ``release_statistics`` is (epsilon, delta)-DP for adding or
removing one privacy unit, and so is ``release`` of ``exact_statistics`` about a fixed centre: a
discrete Gaussian on the integers is no weaker than the continuous one up to a term that vanishes
once sigma is many grid units (Canonne, Kamath and Steinke 2020), and here it is at least
``SIGMA_MINIMUM``. A release is two such mechanisms of one sigma, the second chosen by the
output of the first; their squared mu add up (docs/centred-release.md).

Noise from numpy or torch is not private even with a secure generator: floating-point outputs tell
neighbours apart by their last bits. The sampler is exact; its random bits come from OpenSSL's
generator in the process, which the operating system seeds (docs/sharp_edges.md).
It does not run in constant time: see ``timing``. The same release must never be sampled twice;
that is the ledger's business.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_core.errors import InternalError, PolicyRefused
from wg_core.privacy import calibration, centring
from wg_core.privacy.centring import Centre
from wg_core.privacy.events import MU_SQUARED_UNIT, NOISE_MULTIPLIER_MINIMUM
from wg_core.privacy.schema import StatisticsSchema

Integers = NDArray[np.int64]
Sampler = Callable[[Integers, float], Integers]
About = Callable[[Centre], Integers]
"""A data set's exact statistics, int64 ``[schema.length]``, with the sums taken about a centre."""


SIGMA_MINIMUM = 64.0
"""Grid units: a coarser grid costs delta (3.7 units: 3.5 %; 373 units: nothing)."""

SIGMA_MAXIMUM = float(1 << 57)
"""Grid units: 32 sigma beyond the largest exact statistic still fit in 64 bits."""


class Bounded(Protocol):
    """A layout of integers whose change by one privacy unit is bounded."""

    def sensitivity_squared(self) -> int:
        """Largest squared L2 change, squared grid units."""


def sigma_for(schema: Bounded, epsilon: float, delta: float) -> float:
    """Standard deviation of the noise for one (epsilon, delta)-DP release, in grid units.

    The squared mu that a ledger counts, rounded up to its unit, is within (epsilon, delta) too.

    Raises:
        ConfigError: ``epsilon`` or ``delta`` is out of range.
        PolicyRefused: The noise would be less than a tenth of the sensitivity, or outside of what
            the integer grid carries.
    """
    # A single release costs this share less than asked for, so that an accountant's pessimistic
    # rounding (up to 1e-7) does not put it over a cap of the same epsilon.
    calibration_margin = 1e-6
    sensitivity_squared = Fraction(schema.sensitivity_squared())
    calibration.check_epsilon(epsilon)
    target = calibration.mu(epsilon * (1 - calibration_margin), delta)
    units = math.floor(Fraction(target) ** 2 / MU_SQUARED_UNIT)
    if units < 1:
        raise PolicyRefused(f"epsilon {epsilon!r}: too small to be counted on a ledger")
    mu_squared = units * MU_SQUARED_UNIT
    sigma = math.sqrt(sensitivity_squared / mu_squared)
    while Fraction(sigma) ** 2 * mu_squared < sensitivity_squared:
        sigma = math.nextafter(sigma, math.inf)
    if mu_squared * Fraction(NOISE_MULTIPLIER_MINIMUM) ** 2 > 1:
        raise PolicyRefused(
            f"epsilon {epsilon!r}: noise below {NOISE_MULTIPLIER_MINIMUM} sensitivities is refused"
        )
    if not SIGMA_MINIMUM <= sigma <= SIGMA_MAXIMUM:
        raise PolicyRefused(f"noise of {sigma!r} grid units does not fit the schema's integer grid")
    return sigma


def opendp_sampler(exact: Integers, sigma: float) -> Integers:
    """Add discrete Gaussian noise of scale ``sigma`` with OpenDP; entries saturate at 64 bits."""
    # Not the prelude: it imports torch and scikit-learn where they are.
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_gaussian
    from opendp.metrics import l2_distance
    from opendp.mod import GLOBAL_FEATURES, enable_features

    if "idealized-numerics" in GLOBAL_FEATURES:
        raise InternalError("OpenDP's idealized-numerics is on: its noise would not be private")
    enable_features("contrib")  # an acknowledgement that proofs are not vetted; changes nothing
    space = vector_domain(atom_domain(T="i64"), size=len(exact)), l2_distance(T=float)
    measurement = make_gaussian(*space, scale=sigma)
    return np.array(measurement(exact.tolist()), dtype=np.int64)


def release_statistics(
    schema: StatisticsSchema,
    exact: Integers,
    about: About,
    sigma: float,
    sampler: Sampler = opendp_sampler,
) -> Integers:
    """Make a data set's statistics private, part by part. To be called once for each charge.

    Args:
        exact: int64 [schema.length], from ``exact_statistics``, about the origin.
        about: The same data set's about a centre; not called where there are no labels.
        sigma: From ``sigma_for``, grid units.
        sampler: Adds the noise; another one than OpenDP's in tests only.

    Returns:
        int64 [schema.length].

    Raises:
        InternalError: As ``release``.
    """
    return in_parts(schema, exact, about, sigma, lambda part: release(part, sigma, sampler))


def in_parts(
    schema: StatisticsSchema,
    exact: Integers,
    about: About,
    sigma: float,
    noise: Callable[[Integers], Integers],
) -> Integers:
    """The parts of a release in their order, whatever adds the noise.

    Args:
        exact: As for ``release_statistics``.
        about: As for ``release_statistics``.
        sigma: Standard deviation of the noise, from which a centre is found; 0 without noise.
        noise: From exact to released integers; called for each part.
    """
    counts, middle, moments = schema.blocks
    noisy_part = noise(np.concatenate([exact[: counts.size], exact[moments.offset :]]))
    if not middle.size:
        return noisy_part
    centre = centring.centre(schema, noisy_part[: counts.size], noisy_part[counts.size :], sigma)
    second = noise(about(centre)[middle.offset : moments.offset])
    return np.concatenate([noisy_part[: counts.size], second, noisy_part[counts.size :]])


def release(exact: Integers, sigma: float, sampler: Sampler = opendp_sampler) -> Integers:
    """Make exact integers private: one part of a release.

    Args:
        exact: int64 [L].
        sigma: From ``sigma_for``, grid units.
        sampler: Adds the noise; another one than OpenDP's in tests only.

    Returns:
        int64 [L].

    Raises:
        InternalError: An argument or the sampler's result is not what it must be.
    """
    if exact.dtype != np.int64 or exact.ndim != 1:
        raise InternalError(
            f"exact statistics: {exact.dtype}, {exact.ndim} axes, expected int64, 1"
        )
    if not SIGMA_MINIMUM <= sigma <= SIGMA_MAXIMUM:
        raise InternalError(f"sigma: {sigma!r} grid units is outside the mechanism's range")
    noisy = sampler(exact, sigma)
    if noisy.dtype != np.int64 or noisy.shape != exact.shape:
        raise InternalError("sampler: its result has another type or shape than its argument")
    return noisy
