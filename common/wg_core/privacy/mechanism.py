"""Release mechanism: discrete Gaussian noise on exact integers, drawn by OpenDP.

*Guarantee.* With sigma from ``noise_scale``, ``release_statistics`` is (epsilon, delta)-DP for
adding or removing one privacy unit, and so is ``add_noise`` of ``exact_statistics`` about a fixed
centre. A discrete Gaussian is as private as the continuous one up to a term that vanishes once
sigma is many grid units (Canonne, Kamath and Steinke 2020); here it is at least ``SIGMA_MINIMUM``.
A release consists of two such mechanisms with the same sigma, the second chosen by the output of
the first; their squared mu add up (docs/centred-release.md).

Noise from numpy or torch is not private even with a secure generator: the last bits of
floating-point outputs distinguish neighbouring data sets. OpenDP's sampler is exact; its random
bits come from OpenSSL's generator in the process, which the operating system seeds
(docs/sharp_edges.md). It does not run in constant time: see ``time_slots``. The noise of a release
must never be drawn twice; the ledger ensures that.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_core.errors import InternalError, PolicyRefused
from wg_core.privacy import calibration, class_centres
from wg_core.privacy.class_centres import Centre
from wg_core.privacy.events import MU_SQUARED_UNIT, NOISE_MULTIPLIER_MINIMUM
from wg_core.privacy.schema import StatisticsSchema

Integers = NDArray[np.int64]
Sampler = Callable[[Integers, float], Integers]  # (exact integers, sigma) to noisy integers
StatisticsAboutCentre = Callable[[Centre], Integers]
"""Function from a centre to a data set's exact statistics about it, ``[schema.vector_length]``."""

SIGMA_MINIMUM = 64.0
"""Smallest sigma, grid units. Discreteness raises delta by 3.5 % at sigma 3.7, by 0 at 373."""

SIGMA_MAXIMUM = float(1 << 57)
"""Largest sigma, grid units: the largest exact statistic plus 32 sigma still fits in 64 bits."""


class BoundedSensitivity(Protocol):
    """Schema of released integers that states by how much one privacy unit can change them."""

    def sensitivity_squared(self) -> int:
        """Return the squared L2 sensitivity, squared grid units."""


def noise_scale(schema: BoundedSensitivity, epsilon: float, delta: float) -> float:
    """Return the noise's standard deviation for one (epsilon, delta)-DP release, grid units.

    The guarantee holds even for the cost (sensitivity / sigma)^2 that a ledger adds up, which is
    rounded up.

    Raises:
        ConfigError: ``epsilon`` or ``delta`` is out of range.
        PolicyRefused: The noise would be less than a tenth of the sensitivity, or outside the
            range of the integer grid.
    """
    # A single release costs less than requested by this share, so that an accountant's pessimistic
    # rounding (up to 1e-7) does not exceed a cap of the same epsilon.
    calibration_margin = 1e-6
    sensitivity_squared = Fraction(schema.sensitivity_squared())
    calibration.check_epsilon(epsilon)
    target = calibration.largest_mu(epsilon * (1 - calibration_margin), delta)
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


def add_opendp_noise(exact_integers: Integers, sigma: float) -> Integers:
    """Return integers plus discrete Gaussian noise by OpenDP; entries saturate at 64 bits."""
    # Not the prelude, which imports torch and scikit-learn if they are installed.
    from opendp.domains import atom_domain, vector_domain
    from opendp.measurements import make_gaussian
    from opendp.metrics import l2_distance
    from opendp.mod import GLOBAL_FEATURES, enable_features

    if "idealized-numerics" in GLOBAL_FEATURES:
        raise InternalError("OpenDP's idealized-numerics is on: its noise would not be private")
    enable_features("contrib")  # acknowledges that proofs are not vetted; changes nothing
    space = vector_domain(atom_domain(T="i64"), size=len(exact_integers)), l2_distance(T=float)
    measurement = make_gaussian(*space, scale=sigma)
    return np.array(measurement(exact_integers.tolist()), dtype=np.int64)


def release_statistics(
    schema: StatisticsSchema,
    exact_integers: Integers,
    statistics_about_centre: StatisticsAboutCentre,
    sigma: float,
    sampler: Sampler = add_opendp_noise,
) -> Integers:
    """Return a data set's noisy statistics, int64 [schema.vector_length]; call once per charge.

    Args:
        exact_integers: Exact statistics about the origin, int64 [schema.vector_length].
        statistics_about_centre: Function that returns the same data set's statistics about a
            centre; not called if there are no labels.
        sigma: Standard deviation from ``noise_scale``, grid units.
        sampler: Function that adds the noise; replaced only in tests.

    Raises:
        InternalError: An argument or the sampler's result is invalid, as for ``add_noise``.
    """
    return release_counts_then_sums(
        schema,
        exact_integers,
        statistics_about_centre,
        sigma,
        lambda part: add_noise(part, sigma, sampler),
    )


def release_counts_then_sums(
    schema: StatisticsSchema,
    exact_integers: Integers,
    statistics_about_centre: StatisticsAboutCentre,
    sigma: float,
    add_part_noise: Callable[[Integers], Integers],
) -> Integers:
    """Return noisy counts and total, and class sums about the centre computed from these two.

    Args:
        exact_integers: Exact statistics about the origin, int64 [schema.vector_length].
        statistics_about_centre: Function that returns the same data set's exact statistics about
            a centre; not called if there are no labels.
        sigma: Standard deviation of the noise, used to compute the centre; 0 without noise.
        add_part_noise: Function from exact to released integers, called for each part.

    Returns:
        Released integers, int64 [schema.vector_length], in the schema's order of blocks.
    """
    counts, middle, moments = schema.blocks
    noisy_part = add_part_noise(
        np.concatenate([exact_integers[: counts.size], exact_integers[moments.offset :]])
    )
    if not middle.size:
        return noisy_part
    noisy_counts, noisy_total = noisy_part[: counts.size], noisy_part[counts.size :]
    centre = class_centres.estimate_centre(schema, noisy_counts, noisy_total, sigma)
    noisy_sums = add_part_noise(statistics_about_centre(centre)[middle.offset : moments.offset])
    return np.concatenate([noisy_counts, noisy_sums, noisy_total])


def add_noise(
    exact_integers: Integers, sigma: float, sampler: Sampler = add_opendp_noise
) -> Integers:
    """Return the integers of one part of a release with noise, int64 [L].

    Args:
        exact_integers: Exact integers, int64 [L].
        sigma: Standard deviation from ``noise_scale``, grid units.
        sampler: Function that adds the noise; replaced only in tests.

    Raises:
        InternalError: An argument or the sampler's result is invalid.
    """
    if exact_integers.dtype != np.int64 or exact_integers.ndim != 1:
        raise InternalError(
            f"exact statistics: {exact_integers.dtype}, {exact_integers.ndim} axes, expected int64,"
            " 1"
        )
    if not SIGMA_MINIMUM <= sigma <= SIGMA_MAXIMUM:
        raise InternalError(f"sigma: {sigma!r} grid units is outside the mechanism's range")
    noisy = sampler(exact_integers, sigma)
    if noisy.dtype != np.int64 or noisy.shape != exact_integers.shape:
        raise InternalError("sampler: its result has another type or shape than its argument")
    return noisy
