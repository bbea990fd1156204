"""What events cost: composed (epsilon, delta) by dp-accounting's privacy loss distributions.

Always for adding or removing one privacy unit. All Gaussians are one Gaussian with the summed
``mu^2`` (exact: Dong, Roth and Su 2022), and DP-SGD runs of equal (q, sigma) are
one run, so that a thousand releases cost as much to account as a handful. Distributions are
rounded pessimistically: the figure is an upper bound.
"""

import functools
import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from wg_core.errors import PolicyRefused
from wg_core.privacy import calibration
from wg_core.privacy.events import (
    MU_SQUARED_UNIT,
    NOISE_MULTIPLIER_MINIMUM,
    RUNS_LIMIT,
    STEPS_LIMIT,
    PrivacyEvent,
)

_INTERVAL = 2e-4
"""Discretisation of privacy losses; with connected dots the error is of second order in it."""

_SIZE_LIMIT = 150.0
"""Size in mu above which epsilon is far beyond any use (10^4), and is called infinite."""

_RELEASES_LIMIT = 1 << 20

_ONE = threading.Lock()
"""Threads that ask the same question at once wait for the first one's answer."""


@dataclass(frozen=True, slots=True)
class Collapsed:
    """Events with equal ones merged.

    Attributes:
        mu_squared: Sum over all Gaussian releases, exact.
        runs: (sampling probability, noise multiplier) and total steps of DP-SGD, sorted.
    """

    mu_squared: Fraction
    runs: tuple[tuple[float, float, int], ...]

    @property
    def size(self) -> float:
        """About the mu of everything; it scales the discretisation, and is no guarantee.

        DP-SGD by its central limit (Bu, Dong, Long and Su 2020) or without the gain from
        sampling, whichever is less.
        """
        runs = (
            steps * min(q * q * math.expm1(sigma**-2), sigma**-2) for q, sigma, steps in self.runs
        )
        return math.sqrt(self.mu_squared + sum(runs))


@dataclass(frozen=True, slots=True)
class Cost:
    """What one more event would cost at a given delta.

    Attributes:
        alone: Epsilon of the event by itself.
        before: Epsilon of everything so far.
        after: Epsilon of everything so far and the event.
    """

    alone: float
    before: float
    after: float


def collapse(events: Iterable[PrivacyEvent]) -> Collapsed:
    """Merge events without loss.

    Raises:
        PolicyRefused: A DP-SGD run has noise below a tenth of its clipping norm, or there are more
            steps or kinds of runs than are accounted for.
    """
    units = 0
    runs: dict[tuple[float, float], int] = {}
    for event in events:
        if event.mechanism == "gaussian":
            units += int(event.mu_squared)
            continue
        key = float(event.sampling_probability), float(event.noise_multiplier)
        if key[1] < NOISE_MULTIPLIER_MINIMUM:
            raise PolicyRefused(
                f"noise multiplier {event.noise_multiplier}: "
                f"less than {NOISE_MULTIPLIER_MINIMUM} is refused"
            )
        runs[key] = runs.get(key, 0) + event.steps
        if runs[key] > STEPS_LIMIT or len(runs) > RUNS_LIMIT:
            raise PolicyRefused(
                f"DP-SGD: {runs[key]} steps in {len(runs)} kinds of runs; at most {STEPS_LIMIT}"
                f" steps of a kind, and {RUNS_LIMIT} kinds, are accounted for"
            )
    merged = tuple((q, sigma, steps) for (q, sigma), steps in sorted(runs.items()))
    return Collapsed(units * MU_SQUARED_UNIT, merged)


def epsilon(events: Sequence[PrivacyEvent], delta: float) -> float:
    """Epsilon of all events together, at ``delta``.

    Args:
        events: In any order.
        delta: In (0, 1).

    Returns:
        An upper bound, for Gaussians within 1e-6 of the exact value as long as that is below 10;
        0 for no events, and infinite above about 10^4.

    Raises:
        ConfigError: ``delta`` is out of range.
        PolicyRefused: See ``collapse``.
    """
    calibration.check_delta(delta)
    found = collapse(events)
    if not found.mu_squared and not found.runs:
        return 0.0
    with _ONE:
        return _epsilon(found, delta)


def distinguished(events: Sequence[PrivacyEvent]) -> float:
    """How often the best guess whether one given unit was in is right, at even odds; at most 1.

    ``(1 + delta) / 2`` at epsilon 0, since that delta is the total variation between releases with
    and without the unit: no test does better (Le Cam). One half for no events.

    Raises:
        PolicyRefused: See ``collapse``.
    """
    found = collapse(events)
    if not found.mu_squared and not found.runs:
        return 0.5
    accountant = _accountant(found)
    return 1.0 if accountant is None else (1 + min(float(accountant.get_delta(0.0)), 1.0)) / 2


@functools.lru_cache(maxsize=256)
def _epsilon(found: Collapsed, delta: float) -> float:
    """Epsilon of merged events; the same question is asked before and after each charge."""
    accountant = _accountant(found)
    return math.inf if accountant is None else float(accountant.get_epsilon(delta))


def _accountant(found: Collapsed) -> Any:
    """The accountant of merged events; None where they are far beyond any use."""
    size = found.size
    if size > _SIZE_LIMIT:
        return None
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(
        dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
        value_discretization_interval=_INTERVAL * max(1.0, size),
    )
    if found.mu_squared:
        accountant.compose(dp_accounting.GaussianDpEvent(1 / math.sqrt(found.mu_squared)))
    for q, sigma, steps in found.runs:
        step = dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(sigma))
        accountant.compose(step, steps)
    return accountant


def cost(spent: Sequence[PrivacyEvent], event: PrivacyEvent, delta: float) -> Cost:
    """What ``event`` would cost on top of what is spent: the question before a charge."""
    return Cost(
        alone=epsilon([event], delta),
        before=epsilon(spent, delta),
        after=epsilon([*spent, event], delta),
    )


def releases_left(
    spent: Sequence[PrivacyEvent], event: PrivacyEvent, cap_epsilon: float, delta: float
) -> int:
    """How many more events like ``event`` fit under a cap; at most 2^20 is answered.

    A run of DP-SGD may not pass ``events.STEPS_LIMIT`` steps, however many fit.
    """

    def fits(count: int) -> bool:
        if event.steps * count > STEPS_LIMIT:
            return False
        return epsilon([*spent, *repeated(event, count)], delta) <= cap_epsilon

    if not fits(1):
        return 0
    low, high = 1, 2
    while high <= _RELEASES_LIMIT and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def repeated(event: PrivacyEvent, count: int) -> list[PrivacyEvent]:
    """One event that stands for ``count`` times ``event``, as a list."""
    if event.mechanism == "gaussian":
        return [PrivacyEvent(mechanism="gaussian", mu_squared=str(int(event.mu_squared) * count))]
    return [
        PrivacyEvent(
            mechanism="dp-sgd",
            sampling_probability=event.sampling_probability,
            noise_multiplier=event.noise_multiplier,
            steps=event.steps * count,
        )
    ]
