"""Analytic calibration of the Gaussian mechanism (Balle and Wang 2018, Theorems 5 and 8).

With ``mu`` the sensitivity divided by the noise's standard deviation, the mechanism is (epsilon,
delta)-DP if and only if ``Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu) <= delta``.
The textbook ``sqrt(2 ln(1.25/delta))/epsilon`` is valid only below epsilon = 1, and is not used.

Results are rounded to the safe side: ``mu`` down, epsilon up.
"""

import math
from collections.abc import Callable
from functools import lru_cache

from wg_core.errors import ConfigError

EPSILON_LIMIT = 1e4  # Largest epsilon that is computed; larger values are meaningless


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return the exact delta of Gaussian noise at ``epsilon``; ``mu`` is sensitivity / sigma."""
    from scipy.special import erfcx, ndtr

    _check_in_range(mu >= 0, "mu", mu)
    _check_in_range(epsilon >= 0, "epsilon", epsilon)
    if mu == 0:
        return 0.0
    low = mu / 2 - epsilon / mu
    high = mu / 2 + epsilon / mu
    # exp(epsilon) Phi(-high) without overflow: epsilon - high^2/2 = -low^2/2.
    density = math.exp(-(low**2) / 2) / 2
    lower_term = density * float(erfcx(-low / _SQRT_2)) if low < 0 else float(ndtr(low))
    return max(0.0, lower_term - density * float(erfcx(high / _SQRT_2)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the smallest epsilon at which a Gaussian mechanism is (epsilon, delta)-DP.

    Args:
        mu: Sensitivity divided by standard deviation, non-negative.
        delta: Delta in (0, 1).

    Returns:
        Epsilon, rounded up; infinity above ``EPSILON_LIMIT``.
    """
    check_delta(delta)
    _check_in_range(mu >= 0, "mu", mu)
    if gaussian_delta(mu, 0.0) <= delta:
        return 0.0
    if gaussian_delta(mu, EPSILON_LIMIT) > delta:
        return math.inf
    return _bisect_last_true(lambda e: gaussian_delta(mu, e) > delta, 0.0, EPSILON_LIMIT)[1]


@lru_cache(64)
def largest_mu(epsilon: float, delta: float) -> float:
    """Return the largest sensitivity / sigma of (epsilon, delta)-DP Gaussian noise, rounded down.

    Raises:
        ConfigError: ``epsilon`` is not in (0, 10^4] or ``delta`` not in (0, 1).
    """
    check_epsilon(epsilon)
    check_delta(delta)
    top = 1.0
    while gaussian_delta(top, epsilon) <= delta:
        top *= 2
    return _bisect_last_true(lambda m: gaussian_delta(m, epsilon) <= delta, 0.0, top)[0]


def check_epsilon(epsilon: float) -> None:
    """Check that a number is an allowed epsilon.

    Raises:
        ConfigError: The number is not in (0, 10^4].
    """
    _check_in_range(0 < epsilon <= EPSILON_LIMIT, "epsilon", epsilon)


def check_delta(delta: float) -> None:
    """Check that a number is an allowed delta.

    Raises:
        ConfigError: The number is not in (0, 1).
    """
    _check_in_range(0 < delta < 1, "delta", delta)


_SQRT_2 = math.sqrt(2)


def _bisect_last_true(
    predicate: Callable[[float], bool], low: float, high: float
) -> tuple[float, float]:
    """Return two adjacent floats in [low, high], of which only the first fulfils ``predicate``."""
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return low, high
        if predicate(middle):
            low = middle
        else:
            high = middle


def _check_in_range(is_in_range: bool, name: str, value: float) -> None:
    if not is_in_range:
        raise ConfigError(f"{name}: {value!r} is out of range")
