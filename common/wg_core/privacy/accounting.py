"""Composed (epsilon, delta) cost of privacy events, by dp-accounting's loss distributions.

The neighbouring relation is always adding or removing one privacy unit. All Gaussians compose to
one Gaussian with the summed ``mu^2`` (exact: Dong, Roth and Su 2022), so that accounting for a
thousand releases costs as much as for one. Distributions are rounded pessimistically: each epsilon
is an upper bound.
"""

import functools
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from wg_core.privacy import calibration
from wg_core.privacy.events import MU_SQUARED_UNIT, PrivacyEvent

_MU_LIMIT = 150.0
"""Largest mu that is computed; above it epsilon is useless (10^4) and reported as infinite."""

_RELEASES_LIMIT = 1 << 20

_CACHE_LOCK = threading.Lock()
"""Lock that makes concurrent calls wait for the first, whose result is then in the cache."""


@dataclass(frozen=True, slots=True)
class EventCost:
    """Epsilon, at one delta, of a privacy event alone, of all events before it, and with it."""

    epsilon_alone: float
    epsilon_before: float
    epsilon_after: float


def total_mu_squared(events: Sequence[PrivacyEvent]) -> Fraction:
    """Return the exact sum of ``mu^2`` over privacy events."""
    return sum(int(event.mu_squared) for event in events) * MU_SQUARED_UNIT


def composed_epsilon(events: Sequence[PrivacyEvent], delta: float) -> float:
    """Return the composed epsilon of all privacy events at ``delta``.

    Args:
        events: Events in any order.
        delta: Delta in (0, 1).

    Returns:
        Upper bound on epsilon, within 1e-6 of the exact value below 10; 0 without events, and
        infinite above about 10^4.

    Raises:
        ConfigError: ``delta`` is out of range.
    """
    calibration.check_delta(delta)
    total = total_mu_squared(events)
    if not total:
        return 0.0
    with _CACHE_LOCK:
        return _epsilon_of_mu_squared(total, delta)


def best_guess_accuracy(events: Sequence[PrivacyEvent]) -> float:
    """Return the largest probability, at even prior odds, of guessing a unit's membership.

    This is ``(1 + d) / 2``, with d the delta at epsilon 0: the total variation distance between the
    releases with and without the unit (Le Cam). Without events it is one half.
    """
    total = total_mu_squared(events)
    if not total:
        return 0.5
    accountant = _gaussian_accountant(total)
    return 1.0 if accountant is None else (1 + min(float(accountant.get_delta(0.0)), 1.0)) / 2


@functools.lru_cache(maxsize=256)
def _epsilon_of_mu_squared(mu_squared: Fraction, delta: float) -> float:
    """Return the epsilon of a summed ``mu^2``; cached, since each charge needs it twice."""
    accountant = _gaussian_accountant(mu_squared)
    return math.inf if accountant is None else float(accountant.get_epsilon(delta))


def _gaussian_accountant(mu_squared: Fraction) -> Any:
    """Return a ``PLDAccountant`` of a Gaussian with summed ``mu^2``; None if mu is over 150."""
    # Interval of privacy losses; with connected dots the error is of second order in it.
    discretisation = 2e-4
    mu = math.sqrt(mu_squared)
    if mu > _MU_LIMIT:
        return None
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(
        dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
        value_discretization_interval=discretisation * max(1.0, mu),
    )
    accountant.compose(dp_accounting.GaussianDpEvent(1 / mu))
    return accountant


def event_cost(
    earlier_events: Sequence[PrivacyEvent], event: PrivacyEvent, delta: float
) -> EventCost:
    """Return the cost of one more privacy event after earlier ones, before it is charged."""
    return EventCost(
        epsilon_alone=composed_epsilon([event], delta),
        epsilon_before=composed_epsilon(earlier_events, delta),
        epsilon_after=composed_epsilon([*earlier_events, event], delta),
    )


def releases_left(
    earlier_events: Sequence[PrivacyEvent], event: PrivacyEvent, cap_epsilon: float, delta: float
) -> int:
    """Return how many more releases with a given privacy event fit under a cap, at most 2^20."""

    def fits(count: int) -> bool:
        return composed_epsilon([*earlier_events, repeat_event(event, count)], delta) <= cap_epsilon

    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= _RELEASES_LIMIT and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def repeat_event(event: PrivacyEvent, count: int) -> PrivacyEvent:
    """Return one privacy event with the composed cost of ``count`` equal ones."""
    return PrivacyEvent(mechanism="gaussian", mu_squared=str(int(event.mu_squared) * count))
