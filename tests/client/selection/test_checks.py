"""Do no harm: the rule's arithmetic, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wg_client.fitting.leave_class_out import SHAPED
from wg_client.fitting.linear_head import Floats
from wg_client.selection.checks import (
    ACCURACY_OF_NAT,
    PRIOR_VARIANCE,
    Evidence,
    compare,
    keep,
    trusted,
    unseen_mass,
)
from wg_client.site.config import AcceptanceConfig

CONFIG = AcceptanceConfig()
NONE = np.zeros(0)


def _compare(
    challenger: Floats, local: Floats, config: AcceptanceConfig = CONFIG, mass: float = 0.0
) -> Evidence:
    return compare("x", challenger, local, config, mass=mass, recalls=NONE, lost=0.0)


def test_the_gain_is_the_formula_of_the_module() -> None:
    nats = np.array([0.0] * 10 + [1.0] * 6 + [-0.5] * 4)
    local = np.full((3, 20), 2.0)
    found = compare(
        "x",
        (2.0 - nats)[None],
        local,
        CONFIG,
        mass=0.2,
        recalls=np.array([0.5, 1.0]),
        lost=0.03,
    )
    difference = ACCURACY_OF_NAT * nats
    recall = 1.5 / 3
    gain = 0.8 * (difference.sum() / 30 - 0.03) + 0.2 * SHAPED * recall
    scatter = np.sum((difference - difference.mean()) ** 2)
    variance = 0.8**2 * (scatter + 10 * PRIOR_VARIANCE) / 30**2
    variance += (0.2 * SHAPED) ** 2 * recall * (1 - recall) / 3
    assert found.gain == pytest.approx(gain)
    assert found.sd == pytest.approx(np.sqrt(variance))
    assert found.lower == pytest.approx(gain - 0.5 * np.sqrt(variance))
    assert found.nats == pytest.approx(nats.sum())


@given(st.integers(1, 60), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_a_challenger_that_is_never_better_is_never_accepted(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    local = rng.exponential(size=(2, n))
    assert not _compare(local + rng.exponential(size=(2, n)), local).accepted
    assert not _compare(local, local).accepted


@given(st.integers(2, 60), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_one_better_answer_never_lowers_the_gain(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    local, challenger = rng.exponential(size=(1, n)), rng.exponential(size=(1, n))
    better = challenger.copy()
    better[0, int(rng.integers(n))] *= 0.5
    assert _compare(better, local).gain >= _compare(challenger, local).gain


def test_more_caution_and_more_doubt_accept_less() -> None:
    local = np.full((1, 30), 1.0)
    challenger = np.array([[0.5] * 20 + [1.0] * 10])
    assert _compare(challenger, local).accepted
    assert not _compare(challenger, local, AcceptanceConfig(caution=4)).accepted
    doubtful = AcceptanceConfig(prior_records=1000)
    assert _compare(challenger, local, doubtful).gain < 0.01


def test_one_lucky_record_is_not_enough() -> None:
    local = np.full((1, 20), 1.0)
    challenger = local.copy()
    challenger[0, 3] = 0.05
    found = _compare(challenger, local)
    assert found.gain > 0 and not found.accepted


def test_a_gain_seen_in_every_record_is_accepted_sooner_than_one_in_a_few() -> None:
    local = np.full((1, 20), 2.0)
    even, few = local - 0.2, local.copy()
    few[0, :2] -= 2.0
    assert _compare(even, local).gain == pytest.approx(_compare(few, local).gain)
    assert _compare(even, local).lower > _compare(few, local).lower


def test_unseen_classes_count_as_the_policy_says() -> None:
    assert unseen_mass(CONFIG, declared=10, seen=10) == 0
    assert unseen_mass(CONFIG, declared=10, seen=8) == pytest.approx(0.2)
    assert unseen_mass(AcceptanceConfig(unseen_share=0), declared=10, seen=8) == 0
    equal = np.ones((1, 30))
    found = compare("x", equal, equal, CONFIG, mass=0.2, recalls=np.full(8, 0.9), lost=0.0)
    assert found.accepted and found.gain == pytest.approx(0.2 * SHAPED * 7.2 / 9)
    whole = compare(
        "x", equal, equal, CONFIG, mass=0.2, recalls=np.full(8, 0.9), lost=0.0, counts=1.0
    )
    assert whole.gain == pytest.approx(found.gain / SHAPED)
    assert whole.unseen_recall == found.unseen_recall


def test_what_leaked_is_taken_off_each_record() -> None:
    local, challenger = np.full((1, 20), 1.0), np.full((1, 20), 0.8)
    found = compare("x", challenger, local, CONFIG, mass=0.0, recalls=NONE, lost=0.0, leak=0.15)
    assert found.nats == pytest.approx(20 * 0.05)
    assert found.gain == pytest.approx(_compare(local - 0.05, local).gain)


def test_one_seen_class_tells_whether_the_others_are_to_be_believed() -> None:
    for records in (1, 5, 40):
        chances = [trusted(recall, records) for recall in (0.0, 0.25, 0.5, 0.75, 1.0)]
        assert chances == sorted(chances) and chances[2] == pytest.approx(0.8)
    assert trusted(0.2, 5) < 0.05 < 0.95 < trusted(0.8, 5)
    assert trusted(0.8, 5) == trusted(0.8, 500)

    same, found = np.ones((1, 20)), np.array([0.8])
    gain = compare("x", same, same, CONFIG, mass=0.5, recalls=found, lost=0.0, pseudo=0.7).gain
    assert gain == pytest.approx(0.5 * SHAPED * (0.8 + 0.7) / 2)


def test_the_largest_lower_bound_is_kept_or_nothing() -> None:
    def evidence(name: str, lower: float) -> Evidence:
        return Evidence(
            name=name,
            gain=0,
            sd=0,
            lower=lower,
            caution=0.5,
            accepted=lower > 0,
            nats=0,
            unseen_recall=0,
        )

    assert keep([evidence("a", 0.01), evidence("b", 0.02), evidence("c", -1)]) == "b"
    assert keep([evidence("a", 0.0), evidence("c", -1)]) is None
    assert keep([]) is None
