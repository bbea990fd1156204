"""Do no harm: the rule's arithmetic, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wg_client.acceptance import PRIOR_VARIANCE, Evidence, compare, keep, unseen_mass
from wg_client.config import AcceptanceConfig
from wg_client.heads import Ints

CONFIG = AcceptanceConfig()
NONE = np.zeros(0)


def _compare(
    challenger: Ints, local: Ints, labels: Ints, config: AcceptanceConfig = CONFIG
) -> Evidence:
    return compare(
        "x", challenger, local, labels, config, nats=5.0, mass=0.0, recalls=NONE, lost=0.0
    )


def test_the_gain_is_the_formula_of_the_module() -> None:
    labels = np.zeros(20, dtype=np.int64)
    local = np.array([[0] * 10 + [1] * 10])
    challenger = np.array([[0] * 16 + [1] * 4])
    found = compare(
        "x",
        challenger,
        local,
        labels,
        CONFIG,
        nats=5.0,
        mass=0.2,
        recalls=np.array([0.5, 1.0]),
        lost=0.03,
    )
    difference = np.array([0.0] * 10 + [1.0] * 6 + [0.0] * 4)
    recall = 1.5 / 3
    gain = 0.8 * (6 / 30 - 0.03) + 0.2 * recall / 2
    variance = 0.8**2 * (np.sum((difference - 0.3) ** 2) + 10 * PRIOR_VARIANCE) / 30**2
    variance += 0.2**2 * recall * (1 - recall) / 3 / 4
    assert found.gain == pytest.approx(gain)
    assert found.sd == pytest.approx(np.sqrt(variance))
    assert found.lower == pytest.approx(gain - 0.5 * np.sqrt(variance))


@given(st.integers(1, 60), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_a_challenger_that_is_never_better_is_never_accepted(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    local = rng.integers(0, 3, (2, n))
    worse = np.where(local == labels, rng.integers(0, 3, (2, n)), local)
    assert not _compare(worse, local, labels).accepted
    assert not _compare(local, local, labels).accepted


@given(st.integers(2, 60), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_one_more_right_answer_never_lowers_the_gain(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    local, challenger = rng.integers(0, 3, (1, n)), rng.integers(0, 3, (1, n))
    better = challenger.copy()
    better[0, int(rng.integers(n))] = labels[0]
    better = np.where(better == challenger, challenger, labels)
    assert _compare(better, local, labels).gain >= _compare(challenger, local, labels).gain


def test_more_caution_and_more_doubt_accept_less() -> None:
    labels = np.zeros(30, dtype=np.int64)
    local = np.array([[0] * 20 + [1] * 10])
    challenger = np.array([[0] * 22 + [1] * 8])
    assert _compare(challenger, local, labels).accepted
    assert not _compare(challenger, local, labels, AcceptanceConfig(caution=3)).accepted
    doubtful = AcceptanceConfig(prior_records=1000)
    assert _compare(challenger, local, labels, doubtful).gain < 0.01


def test_one_lucky_record_is_not_enough() -> None:
    labels = np.zeros(20, dtype=np.int64)
    local = np.array([[0] * 10 + [1] * 10])
    challenger = np.array([[0] * 11 + [1] * 9])
    assert _compare(challenger, local, labels).gain > 0
    assert not _compare(challenger, local, labels, AcceptanceConfig(caution=1)).accepted


def test_a_gain_in_accuracy_needs_log_loss_on_its_side_where_all_classes_are_seen() -> None:
    labels = np.zeros(10, dtype=np.int64)
    local = np.array([[0] * 5 + [1] * 5])
    challenger = np.array([[0] * 8 + [1] * 2])

    def accepted(nats: float, mass: float) -> bool:
        found = compare(
            "x",
            challenger,
            local,
            labels,
            CONFIG,
            nats=nats,
            mass=mass,
            recalls=np.full(3, 0.5),
            lost=0.0,
        )
        return found.accepted

    assert accepted(1.0, 0.0) and not accepted(0.9, 0.0)
    assert accepted(-5.0, 0.2)  # local-only cannot predict the unseen classes: gain decides


def test_unseen_classes_count_as_the_policy_says() -> None:
    assert unseen_mass(CONFIG, declared=10, seen=10) == 0
    assert unseen_mass(CONFIG, declared=10, seen=8) == pytest.approx(0.2)
    assert unseen_mass(AcceptanceConfig(unseen_share=0), declared=10, seen=8) == 0
    labels = np.zeros(30, dtype=np.int64)
    equal = np.zeros((1, 30), dtype=np.int64)
    found = compare(
        "x", equal, equal, labels, CONFIG, nats=5.0, mass=0.2, recalls=np.full(8, 0.9), lost=0.0
    )
    assert found.accepted and found.gain == pytest.approx(0.2 * 7.2 / 9 / 2)


def test_the_largest_lower_bound_is_kept_or_nothing() -> None:
    def evidence(name: str, lower: float) -> Evidence:
        return Evidence(
            name=name, gain=0, sd=0, lower=lower, accepted=lower > 0, nats=0, unseen_recall=0
        )

    assert keep([evidence("a", 0.01), evidence("b", 0.02), evidence("c", -1)]) == "b"
    assert keep([evidence("a", 0.0), evidence("c", -1)]) is None
    assert keep([]) is None
