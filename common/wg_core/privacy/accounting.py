"""What events cost: composed (epsilon, delta) by dp-accounting's privacy loss distributions.

Always for adding or removing one privacy unit. All Gaussians are one Gaussian with the summed
``mu^2`` (exact: Dong, Roth and Su 2022), so that a thousand releases cost as much to account as
one. Distributions are rounded pessimistically: the figure is an upper bound.
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

_SIZE_LIMIT = 150.0
"""Size in mu above which epsilon is far beyond any use (10^4), and is called infinite."""

_RELEASES_LIMIT = 1 << 20

_ONE = threading.Lock()
"""Threads that ask the same question at once wait for the first one's answer."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one more event at a given delta.

    Attributes:
        alone: Epsilon of the event by itself.
        before: Epsilon of everything so far.
        after: Epsilon of everything so far and the event.
    """

    alone: float
    before: float
    after: float


def mu_squared(events: Sequence[PrivacyEvent]) -> Fraction:
    """The summed ``mu^2`` of events, exact."""
    return sum(int(event.mu_squared) for event in events) * MU_SQUARED_UNIT


def epsilon(events: Sequence[PrivacyEvent], delta: float) -> float:
    """Epsilon of all events together, at ``delta``.

    Args:
        events: In any order.
        delta: In (0, 1).

    Returns:
        An upper bound, within 1e-6 of the exact value as long as that is below 10; 0 for no events,
        and infinite above about 10^4.

    Raises:
        ConfigError: ``delta`` is out of range.
    """
    calibration.check_delta(delta)
    total = mu_squared(events)
    if not total:
        return 0.0
    with _ONE:
        return _epsilon(total, delta)


def best_guess_accuracy(events: Sequence[PrivacyEvent]) -> float:
    """Bound the chance, at even odds, that the best guess of one unit's membership is right.

    ``(1 + delta) / 2`` at epsilon 0, since that delta is the total variation between releases with
    and without the unit: no test does better (Le Cam). One half for no events.
    """
    total = mu_squared(events)
    if not total:
        return 0.5
    accountant = _accountant(total)
    return 1.0 if accountant is None else (1 + min(float(accountant.get_delta(0.0)), 1.0)) / 2


@functools.lru_cache(maxsize=256)
def _epsilon(total: Fraction, delta: float) -> float:
    """Epsilon of a summed ``mu^2``; the same question is asked before and after each charge."""
    accountant = _accountant(total)
    return math.inf if accountant is None else float(accountant.get_epsilon(delta))


def _accountant(total: Fraction) -> Any:
    """The accountant of a summed ``mu^2``; None where it is far beyond any use."""
    # Of privacy losses; with connected dots the error is of second order in it.
    discretisation = 2e-4
    mu = math.sqrt(total)
    if mu > _SIZE_LIMIT:
        return None
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(
        dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
        value_discretization_interval=discretisation * max(1.0, mu),
    )
    accountant.compose(dp_accounting.GaussianDpEvent(1 / mu))
    return accountant


def cost(earlier_events: Sequence[PrivacyEvent], event: PrivacyEvent, delta: float) -> Cost:
    """Return the cost of ``event`` on top of what is spent, before it is charged."""
    return Cost(
        alone=epsilon([event], delta),
        before=epsilon(earlier_events, delta),
        after=epsilon([*earlier_events, event], delta),
    )


def releases_left(
    earlier_events: Sequence[PrivacyEvent], event: PrivacyEvent, cap_epsilon: float, delta: float
) -> int:
    """Count the events like ``event`` that still fit under a cap, up to 2^20."""

    def fits(count: int) -> bool:
        return epsilon([*earlier_events, repeat_event(event, count)], delta) <= cap_epsilon

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
    """The event that stands for ``count`` times ``event``."""
    return PrivacyEvent(mechanism="gaussian", mu_squared=str(int(event.mu_squared) * count))
