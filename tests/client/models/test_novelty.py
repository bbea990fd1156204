"""Records unlike the plant's own are told from known ones, and how often it errs is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_client.fitting.sure_calls import UNREACHABLE_THRESHOLD, sure_call_threshold
from wg_client.models import novelty
from wg_client.models.calls import VerdictRule
from wg_client.models.novelty import NoveltyTest
from wg_client.models.predict import Prediction
from wg_common.inference.family_head import FeatureLayout
from wg_core.errors import DecodeError

K, D = 4, 24
MEANS = 3 * np.random.default_rng(0).normal(size=(K + 1, D))


def draw(labels: list[int], each: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    y = np.repeat(labels, each)
    return MEANS[y] + np.random.default_rng(seed).normal(size=(len(y), D)), y


def fitted(labels: list[int], each: int) -> NoveltyTest:
    found = novelty.fit_novelty_test(draw(labels, each, 1)[0], None, None)
    assert found is not None
    return found


@pytest.mark.parametrize("known", [[0], [0, 1, 2, 3]])
def test_a_class_that_was_never_seen_is_new_and_further_records_of_known_ones_are_not(
    known: list[int],
) -> None:
    found = fitted(known, 40)
    new, own = found.likeness(draw([K], 50, 2)[0]), found.likeness(draw(known, 100, 3)[0])
    assert (new <= 0.05).mean() > 0.95
    assert (own <= 0.05).mean() < 0.12


def test_likeness_of_further_records_is_even(  # a share p of them has a likeness of p or less
) -> None:
    own = fitted([0, 1, 2, 3], 50).likeness(draw([0, 1, 2, 3], 200, 4)[0])
    for share in (0.1, 0.25, 0.5, 0.75):
        assert (own <= share).mean() == pytest.approx(share, abs=0.08)


def test_blocks_say_as_much_as_each_other_whatever_their_scale() -> None:
    layout = FeatureLayout(2, (10, 12))
    x, new = draw([0, 1, 2, 3], 40, 1)[0], draw([K], 50, 2)[0]
    found = novelty.fit_novelty_test(x, layout, None)
    louder = np.repeat([5.0, 1.0, 1e4], [2, 10, 12])
    again = novelty.fit_novelty_test(x * louder, layout, None)
    assert found is not None and again is not None
    assert (found.likeness(new) <= 0.05).mean() > 0.9
    np.testing.assert_array_equal(found.likeness(new), again.likeness(new * louder))


def test_a_block_with_small_distances_counts_as_much_as_one_with_large_distances() -> None:
    rng = np.random.default_rng(7)
    direction = np.eye(12)[0]
    narrow = direction + 0.03 * rng.normal(size=(60, 12))  # like the plant's own all but in detail
    strange = direction + 0.2 * rng.normal(size=(60, 12))
    wide, ordinary = rng.normal(size=(60, 12)), rng.normal(size=(60, 12))
    found = novelty.fit_novelty_test(
        np.hstack([np.zeros((60, 1)), narrow, wide]), FeatureLayout(1, (12, 12)), None
    )
    assert found is not None
    new = found.likeness(np.hstack([np.zeros((60, 1)), strange, ordinary]))
    assert (new <= 0.05).mean() > 0.8


def test_folded_rows_keep_their_distances() -> None:
    x = np.random.default_rng(3).normal(size=(40, 9000)).astype(np.float32)
    found = novelty.fit_novelty_test(x, FeatureLayout(1000, (5000, 3000)), None)
    assert found is not None and found.bank.shape == (40, novelty.COORDINATES_LIMIT)
    raw = np.split(x, [1000, 6000], axis=1)[1:]
    parts = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in raw]
    exact = np.linalg.norm(parts[0][:, None] - parts[0], axis=2) ** 2
    exact += np.linalg.norm(parts[1][:, None] - parts[1], axis=2) ** 2
    z = found.bank_coordinates(x)
    folded = np.linalg.norm(z[:, None] - z, axis=2) ** 2
    off = ~np.eye(40, dtype=bool)
    assert np.abs(folded[off] / exact[off] - 1).mean() < 0.06


def test_records_of_one_unit_say_nothing_of_another() -> None:
    rng = np.random.default_rng(8)
    centres = rng.normal(size=(30, D))
    units = np.repeat(np.arange(30), 10)
    x = centres[units] + 0.01 * rng.normal(size=(300, D))
    further = rng.normal(size=(200, D))
    by_unit = novelty.fit_novelty_test(x, None, [str(unit) for unit in units])
    by_record = novelty.fit_novelty_test(x, None, None)
    assert by_unit is not None and by_record is not None
    assert (by_unit.likeness(further) <= 0.05).mean() < 0.3
    assert (by_record.likeness(further) <= 0.05).mean() > 0.9


def test_one_record_scores_and_has_no_likeness_and_none_has_nothing() -> None:
    x = draw([0], 1, 1)[0]
    found = novelty.fit_novelty_test(x, None, None)
    assert found is not None and np.isnan(found.likeness(x)).all()
    assert np.isfinite(found.score(x)).all()
    assert novelty.fit_novelty_test(x[:0], None, None) is None


def test_constant_features_never_break_it() -> None:
    for layout in (None, FeatureLayout(1, (4,))):
        found = novelty.fit_novelty_test(np.ones((9, 5)), layout, None)
        assert found is not None and np.isfinite(found.score(np.zeros((2, 5)))).all()


def test_its_size_is_bounded_whatever_the_plant_has() -> None:
    rng = np.random.default_rng(5)
    found = novelty.fit_novelty_test(
        rng.normal(size=(2500, 3000)), FeatureLayout(100, (900, 2000)), None
    )
    assert found is not None
    assert sum(value.nbytes for value in found.tensors().values()) < 8_400_000


def test_a_file_s_tensors_are_read_again_and_others_are_refused() -> None:
    found = fitted([0, 1], 10)
    again = novelty.novelty_test_from_tensors(found.tensors(), "novelty")
    x = draw([0], 5, 9)[0]
    np.testing.assert_array_equal(found.likeness(x), again.likeness(x))
    wrong = [
        {},
        found.tensors() | {"more": found.mean},
        found.tensors() | {"mean": found.mean[:-1]},
        found.tensors() | {"blocks": found.blocks[:0]},
        found.tensors() | {"blocks": np.array([0, -3], np.float32)},
        found.tensors() | {"blocks": np.array([0, D], np.float32)},
        found.tensors() | {"blocks": np.array([0, 0.5], np.float32)},
        found.tensors() | {"blocks": np.array([0, 1e30], np.float32)},
        found.tensors() | {"bank": found.bank[:, :-1]},
        found.tensors() | {"bank": found.bank[:0]},
        found.tensors() | {"scores": found.scores * np.float32(np.nan)},
        found.tensors() | {"scores": found.scores[None]},
    ]
    for tensors in wrong:
        with pytest.raises(DecodeError, match="novelty"):
            novelty.novelty_test_from_tensors(tensors, "novelty")


def test_calls_that_are_sure_are_wrong_no_more_often_than_allowed() -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 3, 4000)
    logits = 2 * np.eye(3)[labels] + rng.normal(0, 1.5, (4000, 3))
    least = sure_call_threshold(logits[None, :2000], labels[:2000], 0.1)
    chances = np.exp(logits[2000:]) / np.exp(logits[2000:]).sum(axis=1, keepdims=True)
    sure = chances.max(axis=1) >= least
    wrong = chances.argmax(axis=1)[sure] != labels[2000:][sure]
    assert 0.2 < sure.mean() < 0.95
    assert wrong.mean() < 0.13


def test_records_of_classes_that_a_plant_has_none_of_count_as_sure_and_wrong() -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 3, 4000)
    logits = 4 * np.eye(3)[labels] + rng.normal(0, 1.5, (4000, 3))
    seen, least = (sure_call_threshold(logits[None], labels, 0.1, mass) for mass in (0.0, 0.05))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sure = chances.max(axis=1) >= least
    wrong = 0.95 * np.mean(sure & (chances.argmax(axis=1) != labels)) + 0.05
    assert seen < least < 1 and wrong <= 0.1 * (0.95 * sure.mean() + 0.05)
    assert (
        sure_call_threshold(logits[None], labels, 0.1, 0.25) == UNREACHABLE_THRESHOLD
    )  # more than may be wrong


def test_no_call_of_a_class_without_a_record_here_is_sure() -> None:
    judge = VerdictRule(least_sure_probability=0.5, unseen_labels=("dent",))
    calls = {
        label: judge._call_word(
            Prediction(name="", label=label, probability=0.99, probabilities=()), is_new=False
        )
        for label in ("dent", "scratch")
    }
    assert calls == {"dent": "unsure", "scratch": "sure"}


def test_few_or_bad_records_make_no_call_sure() -> None:
    logits = np.eye(2)[[0, 1, 0]][None] * 5
    assert (
        sure_call_threshold(logits, np.array([0, 1, 0]), 0.1) == UNREACHABLE_THRESHOLD
    )  # three right prove too little
    assert (
        sure_call_threshold(np.tile(logits, (1, 10, 1)), np.tile([1, 0, 1], 10), 0.1)
        == UNREACHABLE_THRESHOLD
    )
