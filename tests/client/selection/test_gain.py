"""The estimated gain over local-only: its arithmetic, and its properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.leave_class_out import SHAPED, LeaveClassOut
from wg_client.fitting.linear_head import Floats
from wg_client.methods.base import LabelledRecords
from wg_client.selection.gain import (
    ACCURACY_OF_NAT,
    PRIOR_VARIANCE,
    Gain,
    class_agreement,
    estimated_gain,
)
from wg_client.site.config import AcceptanceConfig

CONFIG = AcceptanceConfig()
NOTHING = LeaveClassOut()


def _compare(challenger: Floats, local: Floats, config: AcceptanceConfig = CONFIG) -> Gain:
    prior = config.prior_records
    return estimated_gain(challenger, local, prior_records=prior, leave_class_out=NOTHING)


def _lower(challenger: Floats, local: Floats, caution: float = CONFIG.caution) -> float:
    found = _compare(challenger, local)
    return found.mean - caution * found.sd


def test_the_gain_is_the_formula_of_the_module() -> None:
    gains = np.array([0.0] * 10 + [1.0] * 6 + [-0.5] * 4)
    local = np.full((3, 20), 2.0)
    found = estimated_gain(
        (2.0 - gains)[None],
        local,
        prior_records=10,
        unseen_mass=0.2,
        leave_class_out=LeaveClassOut(recalls=np.array([0.5, 1.0]), accuracy_cost=0.03),
    )
    difference = ACCURACY_OF_NAT * gains
    recall = 1.5 / 3
    gain = 0.8 * (difference.sum() / 30 - 0.03) + 0.2 * SHAPED * recall
    scatter = np.sum((difference - difference.mean()) ** 2)
    variance = 0.8**2 * (scatter + 10 * PRIOR_VARIANCE) / 30**2
    variance += (0.2 * SHAPED) ** 2 * recall * (1 - recall) / 3
    assert found.mean == pytest.approx(gain)
    assert found.sd == pytest.approx(np.sqrt(variance))
    assert found.log_loss == pytest.approx(gains.sum())


@given(st.integers(1, 60), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_a_challenger_that_is_never_better_has_no_gain_above_its_margin(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    local = rng.exponential(size=(2, n))
    assert _lower(local + rng.exponential(size=(2, n)), local) <= 0
    assert _lower(local, local) <= 0


@given(st.integers(2, 60), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_one_better_answer_never_lowers_the_gain(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    local, challenger = rng.exponential(size=(1, n)), rng.exponential(size=(1, n))
    better = challenger.copy()
    better[0, int(rng.integers(n))] *= 0.5
    assert _compare(better, local).mean >= _compare(challenger, local).mean


def test_a_larger_margin_or_deviation_accepts_less() -> None:
    local = np.full((1, 30), 1.0)
    challenger = np.array([[0.5] * 20 + [1.0] * 10])
    assert _lower(challenger, local) > 0 > _lower(challenger, local, caution=4)
    doubtful = AcceptanceConfig(prior_records=1000)
    assert _compare(challenger, local, doubtful).mean < 0.01


def test_one_lucky_record_is_not_enough() -> None:
    local = np.full((1, 20), 1.0)
    challenger = local.copy()
    challenger[0, 3] = 0.05
    assert _compare(challenger, local).mean > 0 > _lower(challenger, local)


def test_a_gain_seen_in_every_record_is_accepted_sooner_than_one_in_a_few() -> None:
    local = np.full((1, 20), 2.0)
    even, few = local - 0.2, local.copy()
    few[0, :2] -= 2.0
    assert _compare(even, local).mean == pytest.approx(_compare(few, local).mean)
    assert _lower(even, local) > _lower(few, local)


def _mass(share: float, seen: int) -> float:
    labels = np.arange(seen)
    trunk = Trunk(np.zeros((seen, 2)))
    records = LabelledRecords(all_labels=labels, classes=10, public=trunk, unseen_share=share)
    return records.unseen_mass


def test_unseen_classes_count_as_the_policy_says() -> None:
    assert _mass(1.0, 10) == 0
    assert _mass(1.0, 8) == pytest.approx(0.2)
    assert _mass(0.0, 8) == 0
    equal, recalls = np.ones((1, 30)), np.full(8, 0.9)
    found, whole = (
        estimated_gain(
            equal,
            equal,
            prior_records=10,
            unseen_mass=0.2,
            leave_class_out=LeaveClassOut(recalls=recalls, recall_weight=weight),
        )
        for weight in (SHAPED, 1.0)
    )
    assert found.mean > 0.5 * found.sd
    assert found.mean == pytest.approx(0.2 * SHAPED * 7.2 / 9)
    assert whole.mean == pytest.approx(found.mean / SHAPED)
    assert whole.unseen_recall == found.unseen_recall


def test_optimism_is_taken_off_each_record() -> None:
    local, challenger = np.full((1, 20), 1.0), np.full((1, 20), 0.8)
    found = estimated_gain(
        challenger, local, prior_records=10, leave_class_out=NOTHING, optimism=0.15
    )
    assert found.log_loss == pytest.approx(20 * 0.05)
    assert found.mean == pytest.approx(_compare(local - 0.05, local).mean)


def test_one_seen_class_tells_whether_the_others_are_to_be_believed() -> None:
    for records in (1, 5, 40):
        chances = [class_agreement(recall, records) for recall in (0.0, 0.25, 0.5, 0.75, 1.0)]
        assert chances == sorted(chances) and chances[2] == pytest.approx(0.8)
    assert class_agreement(0.2, 5) < 0.05 < 0.95 < class_agreement(0.8, 5)
    assert class_agreement(0.8, 5) == class_agreement(0.8, 500)

    same = np.ones((1, 20))
    gain = estimated_gain(
        same,
        same,
        prior_records=10,
        unseen_mass=0.5,
        leave_class_out=LeaveClassOut(recalls=np.array([0.8])),
        prior_recall=0.7,
    ).mean
    assert gain == pytest.approx(0.5 * SHAPED * (0.8 + 0.7) / 2)
