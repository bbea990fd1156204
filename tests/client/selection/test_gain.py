"""The estimated gain over local-only and the interval of accuracy: arithmetic and properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wg_client.fitting.leave_class_out import LeaveClassOutResult
from wg_client.fitting.linear_head import Floats
from wg_client.fitting.network_replacement import clustered_standard_error
from wg_client.fitting.trunk_features import TrunkFeatures
from wg_client.methods.base import PlantRecords
from wg_client.selection.gain import (
    SITE_VARIANCE_SHARE,
    EstimatedGain,
    PairedDifferences,
    UnseenClassShare,
    estimate_accuracy,
    estimate_gain,
)

NOTHING = LeaveClassOutResult()


def _gain(losses: Floats, right: Floats | None = None) -> EstimatedGain:
    right = np.full(len(losses), 0.01) if right is None else right
    return estimate_gain(
        PairedDifferences(losses, right, np.arange(len(losses))), 5, UnseenClassShare(), NOTHING
    )


def test_the_gain_is_the_formula_of_the_module() -> None:
    losses, right = np.array([0.5, 0.1, -0.2, 0.4]), np.array([1.0, 0, 0, 0])
    without = LeaveClassOutResult(losses=np.array([0.4, 0.6]), recalls=np.array([0.9, 0.7]))
    mass, classes = 0.25, 2
    found = estimate_gain(
        PairedDifferences(losses, right, np.arange(4)),
        5,
        UnseenClassShare(share=mass, class_count=classes),
        without,
    )
    told = np.array([np.log(classes / mass) - 0.4, np.log(classes / mass) - 0.6, 0.0])
    seen = losses.mean() + np.log(1 / (1 - mass))
    assert found.log_loss == pytest.approx((1 - mass) * seen + mass * told.mean())
    variance = (1 + 5 / 4) * ((1 - mass) * losses.std(ddof=1)) ** 2 / 4 + (
        mass * told.std()
    ) ** 2 / 3
    assert found.log_loss_se == pytest.approx(np.sqrt(variance))
    assert found.unseen_recall == pytest.approx(1.6 / 3)
    assert found.accuracy_gain == pytest.approx((1 - mass) * 0.25 + mass * 1.6 / 3)


@given(st.integers(2, 60), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_a_model_that_is_never_better_is_never_kept(n: int, seed: int) -> None:
    losses = -np.random.default_rng(seed).exponential(size=n)
    assert not _gain(losses).is_significant(1.0) and not _gain(losses).is_significant(0.0)
    assert not _gain(np.zeros(n)).is_significant(0.0)


def test_more_standard_errors_keep_less_and_fewer_right_answers_nothing() -> None:
    losses = np.array([0.5] * 20 + [0.0] * 10)
    assert _gain(losses).is_significant(1.0) and not _gain(losses).is_significant(10.0)
    assert not _gain(losses, np.full(30, -0.1)).is_significant(1.0)
    assert _gain(losses, np.array([1.0, 1.0, -1.0] + [0.0] * 27)).is_significant(1.0)
    as_many = _gain(losses, np.array([1.0, -1.0] + [0.0] * 28))
    assert not as_many.is_significant(1.0)
    assert as_many.is_significant(0.0)  # a head of the plant's own kind
    assert not _gain(losses, np.array([1.0, -1.0, -1.0] + [0.0] * 27)).is_significant(0.0)
    assert not _gain(np.array([3.0] + [0.0] * 19)).is_significant(1.0)  # one lucky record


def test_one_record_shows_nothing() -> None:
    assert not _gain(np.ones(1)).is_significant(1.0)


def test_records_of_one_unit_count_as_one() -> None:
    values = np.repeat(np.array([0.0, 1.0, 0.0, 1.0, 1.0]), 8)
    units = np.repeat(np.arange(5), 8)
    alone = clustered_standard_error(values, np.arange(40))
    assert clustered_standard_error(values, units) == pytest.approx(
        values[::8].std(ddof=1) / np.sqrt(5)
    )
    assert clustered_standard_error(values, units) > 2 * alone


def _mass(seen: int) -> float:
    trunk = TrunkFeatures(np.zeros((seen, 2)))
    return PlantRecords(
        all_labels=np.arange(seen), class_count=10, encoder_features=trunk
    ).unseen_mass


def test_each_unseen_class_counts_as_an_average_one() -> None:
    assert _mass(10) == 0
    assert _mass(8) == pytest.approx(0.2)


def _with_unseen(loss: float) -> EstimatedGain:
    without = LeaveClassOutResult(losses=np.full(4, loss), recalls=np.full(4, np.exp(-loss)))
    return estimate_gain(
        PairedDifferences(np.zeros(40), np.zeros(40), np.arange(40)),
        5,
        UnseenClassShare(share=0.2, class_count=2),
        without,
    )


def test_who_knows_classes_without_is_kept_and_who_says_even_odds_among_all_is_not() -> None:
    assert _with_unseen(0.2).is_significant(1.0)
    even = estimate_gain(
        # even odds over ten classes, local-only over eight
        PairedDifferences(np.full(40, np.log(8) - np.log(10)), np.zeros(40), np.arange(40)),
        5,
        UnseenClassShare(share=0.2, class_count=2),
        LeaveClassOutResult(losses=np.full(8, np.log(10)), recalls=np.full(8, 0.1)),
    )
    assert even.log_loss == pytest.approx(0.0, abs=1e-9)
    assert not even.is_significant(1.0)


@given(st.integers(1, 300), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_the_interval_holds_its_estimate_and_stays_in_range(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    right = (rng.random(n) < rng.random()).astype(np.float64)
    found = estimate_accuracy(right, np.sort(rng.integers(0, n, n)))
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.high - found.low > 0.01  # a site changes, however many records there are


def test_an_interval_is_wider_on_fewer_records_and_on_fewer_units() -> None:
    def width(right: Floats, each: int) -> float:
        found = estimate_accuracy(right, np.arange(len(right)) // each)
        return found.high - found.low

    right = np.tile(np.repeat([1.0, 1, 1, 0], 5), 5)
    assert width(right[:20], 1) > width(right, 1)
    assert width(right, 5) > width(right, 1)
    assert estimate_accuracy(np.ones(1000), np.arange(1000)).low < 1 - SITE_VARIANCE_SHARE
    # Ten records that are right say no more than ten: 95 % of sites so good or better (beta).
    assert 0.6 < estimate_accuracy(np.ones(10), np.arange(10)).low < 0.85


def test_what_a_fold_more_brings_raises_the_upper_end_alone() -> None:
    right, groups = np.tile([1.0, 1, 0, 1], 10), np.arange(40)
    plain, rising = estimate_accuracy(right, groups), estimate_accuracy(right, groups, 0.04)
    assert (rising.low, rising.mean) == (plain.low, plain.mean)
    assert rising.high == pytest.approx(plain.high + 0.04)
    assert estimate_accuracy(right, groups, 0.5).high == 1


@pytest.mark.parametrize("new", [30, 1000])
def test_intervals_hold_what_is_counted_at_sites_that_change(new: int) -> None:
    """Accuracy spread as the module says: at least 92 % of 400 intervals hold the count.

    A binomial of 400 draws at 95 % is below 92 % with probability 0.01; seeds are fixed.
    """
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        p = rng.uniform(0.5, 0.99)
        spread = 1 / SITE_VARIANCE_SHARE - 1
        later = rng.beta(p * spread, (1 - p) * spread)
        found = estimate_accuracy(
            (rng.random(60) < p).astype(np.float64), np.arange(60), new_count=new
        )
        held += found.low <= rng.binomial(new, later) / new <= found.high
    assert held >= 0.92 * 400
