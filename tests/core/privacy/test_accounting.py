"""Accounting: two code bases agree, and composition is exact."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_audit import composition
from wg_core.errors import ConfigError
from wg_core.privacy import accounting, calibration
from wg_core.privacy.events import MU_SQUARED_UNIT, PrivacyEvent, gaussian_event

DELTA = 1e-5


def gaussian(epsilon: float, delta: float = DELTA) -> PrivacyEvent:
    """A release calibrated to (epsilon, delta), of sensitivity 10^6 grid units."""
    return gaussian_event(10**12, 10**6 * (1 / calibration.largest_mu(epsilon, delta)))


def mixed(count: int) -> list[PrivacyEvent]:
    """``count`` releases of several sizes."""
    kinds = [gaussian(0.05), gaussian(0.1), gaussian(0.02)]
    return [kinds[i % len(kinds)] for i in range(count)]


def by_the_auditor(events: list[PrivacyEvent], delta: float) -> float:
    """Composed epsilon by the auditor's code."""
    return composition.gaussian_epsilon(sum(int(event.mu_squared) for event in events), delta)


@pytest.mark.parametrize("mu", [0.01, 0.14, 0.268, 0.72, 2.0, 5.0, 12.0, 30.0])
@pytest.mark.parametrize("delta", [1e-8, 1e-5, 1e-3])
def test_two_code_bases_agree_on_gaussians_to_a_thousandth(mu: float, delta: float) -> None:
    events = [gaussian_event(10**12, 10**6 / mu)]
    primary = accounting.composed_epsilon(events, delta)
    second = by_the_auditor(events, delta)
    assert abs(primary - second) <= 1e-3
    assert primary >= second * (1 - 1e-9)  # pessimistic


def test_a_thousand_releases_cost_the_same_by_both_code_bases() -> None:
    events = mixed(1000)
    second = by_the_auditor(events, DELTA)
    assert abs(accounting.composed_epsilon(events, DELTA) - second) <= 1e-3


def test_ten_releases_of_one_compose_to_three_point_six() -> None:
    assert accounting.composed_epsilon([gaussian(1.0)] * 10, DELTA) == pytest.approx(3.62, abs=0.01)


def test_nothing_costs_nothing() -> None:
    assert accounting.composed_epsilon([], DELTA) == 0.0
    assert by_the_auditor([], DELTA) == 0.0


def test_composition_is_exact() -> None:
    events = mixed(20)
    units = sum(int(event.mu_squared) for event in events)
    assert accounting.total_mu_squared(events) == units * MU_SQUARED_UNIT


def test_collapsed_gaussians_cost_what_the_single_ones_compose_to() -> None:
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    events = [gaussian(0.3), gaussian(0.7), gaussian(1.5)]
    slow = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for event in events:
        mu_squared = float(int(event.mu_squared) * MU_SQUARED_UNIT)
        slow.compose(dp_accounting.GaussianDpEvent(1 / math.sqrt(mu_squared)))
    assert accounting.composed_epsilon(events, DELTA) == pytest.approx(
        slow.get_epsilon(DELTA), abs=1e-5
    )


def test_add_remove_is_accounted_and_not_replacing() -> None:
    # For the same Gaussian, dp-accounting's two meanings of REPLACE_ONE differ; add/remove is 1.
    assert accounting.composed_epsilon([gaussian(1.0)], DELTA) == pytest.approx(1.0, abs=1e-5)


def test_cost_tells_alone_before_and_after() -> None:
    found = accounting.event_cost([gaussian(1.0)] * 2, gaussian(0.5), DELTA)
    assert found.epsilon_alone == pytest.approx(0.5, abs=1e-4)
    assert found.epsilon_before < found.epsilon_after < found.epsilon_before + found.epsilon_alone


def test_releases_left_is_the_largest_number_that_fits() -> None:
    spent = [gaussian(1.0), gaussian(0.2)]
    left = accounting.releases_left(spent, gaussian(1.0), 4.0, DELTA)
    assert left > 3
    assert accounting.composed_epsilon([*spent, *[gaussian(1.0)] * left], DELTA) <= 4.0
    assert accounting.composed_epsilon([*spent, *[gaussian(1.0)] * (left + 1)], DELTA) > 4.0


def test_no_release_is_left_when_the_cap_is_spent() -> None:
    assert accounting.releases_left([gaussian(1.0)], gaussian(1.0), 1.0, DELTA) == 0


def test_one_event_stands_for_many() -> None:
    event = gaussian(0.3)
    assert accounting.total_mu_squared(
        [accounting.repeat_event(event, 9)]
    ) == accounting.total_mu_squared([event] * 9)


@pytest.mark.parametrize("event", [gaussian_event(10**12, 1e3), gaussian_event(10**80, 1.0)])
def test_what_costs_beyond_all_use_is_infinite_and_takes_no_memory(event: PrivacyEvent) -> None:
    assert accounting.composed_epsilon([event], DELTA) == math.inf


@pytest.mark.parametrize("delta", [0.0, 1.0, math.nan])
def test_a_bad_delta_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError):
        accounting.composed_epsilon([gaussian(1.0)], delta)


@given(st.integers(1, 10**30), st.floats(1e-3, 1e30))
def test_an_event_never_understates_mu_squared(sensitivity_squared: int, sigma: float) -> None:
    exact = Fraction(sensitivity_squared) / Fraction(sigma) ** 2
    counted = int(gaussian_event(sensitivity_squared, sigma).mu_squared) * MU_SQUARED_UNIT
    assert exact <= counted < exact + MU_SQUARED_UNIT
