"""The plant's own model: an average over blocks of features and over learners."""

from __future__ import annotations

import numpy as np
import pytest

from wg_client.fitting.folds import Folds, stratified_folds
from wg_client.fitting.linear_head import Floats, Ints, log_loss
from wg_client.fitting.local_models import fit_local_only

K, BLOCKS = 3, (6, 10)


def _records(each: int = 10, seed: int = 0) -> tuple[Floats, Ints]:
    """Four features that say nothing, and two blocks that say something of the class each."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), each)
    features = rng.normal(size=(len(labels), 20))
    features[:, 4:7] += np.eye(K)[labels]
    features[:, 10:13] += np.eye(K)[labels]
    return features, labels


def test_what_stands_before_the_blocks_is_not_seen() -> None:
    x, labels = _records()
    fitted = fit_local_only(
        x, labels, K, stratified_folds(labels, np.random.default_rng(1)), BLOCKS
    )
    assert (fitted.head.weight[:, :4] == 0).all()
    assert (np.abs(fitted.head.weight[:, 4:]) > 0).all()
    assert fitted.settings["learner"] == "lda-0.2+ridge-0.1+logistic-0.3"


def test_the_average_over_blocks_is_better_than_a_block() -> None:
    test, truth = _records(each=300, seed=99)
    losses: list[list[float]] = []
    for seed in range(10):
        x, labels = _records(each=8, seed=seed)
        folds = stratified_folds(labels, np.random.default_rng(seed))
        views = ((slice(4, 20), BLOCKS), (slice(4, 10), ()), (slice(10, 20), ()))
        losses.append(
            [
                float(log_loss(fitted.head.logits(test[:, seen]), truth).mean())
                for seen, blocks in views
                for fitted in [fit_local_only(x[:, seen], labels, K, folds, blocks)]
            ]
        )
    both, first, second = np.mean(losses, axis=0)
    assert both < min(first, second)


@pytest.mark.parametrize("trunks", [(), (1, 1)])
def test_labels_of_a_fold_have_no_part_in_what_is_said_of_it(trunks: tuple[int, ...]) -> None:
    x, labels = _records(each=6)
    folds = stratified_folds(labels, np.random.default_rng(1))
    held = folds.fold_of_record[0] == 1
    changed = np.where(held, (labels + 1) % K, labels)
    before, after = (fit_local_only(x, y, K, folds, BLOCKS, trunks) for y in (labels, changed))
    assert before.logits is not None and after.logits is not None
    np.testing.assert_allclose(before.logits[0, held], after.logits[0, held], atol=1e-9)


@pytest.mark.parametrize("records", [1, 2])
def test_few_records_are_learnt_from_without_folds(records: int) -> None:
    x, labels = _records(each=1)
    folds = Folds(np.zeros((1, records), dtype=np.int64), 5, np.arange(records))
    fitted = fit_local_only(x[:records], labels[:records], K, folds, BLOCKS)
    assert fitted.out_of_fold is None
    assert (fitted.head.logits(x[:records]).argmax(axis=1) == labels[:records]).all()


def test_records_that_are_all_alike_say_how_frequent_classes_are() -> None:
    labels = np.array([0, 0, 0, 1, 1, 0])
    x = np.ones((6, 20))
    fitted = fit_local_only(
        x, labels, K, stratified_folds(labels, np.random.default_rng(1)), BLOCKS
    )
    assert (fitted.head.logits(x).argmax(axis=1) == 0).all()


def test_further_directions_without_a_record_change_nothing() -> None:
    x, labels = _records()
    folds = stratified_folds(labels, np.random.default_rng(1))
    wider = np.hstack([x, np.zeros((len(x), 50))])
    one = fit_local_only(x, labels, K, folds, BLOCKS)
    two = fit_local_only(wider, labels, K, folds, (*BLOCKS[:1], BLOCKS[1] + 50))
    np.testing.assert_allclose(one.head.logits(x), two.head.logits(wider), atol=1e-8)


def test_blocks_of_one_trunk_count_alike_and_trunks_of_several_by_loss() -> None:
    x, labels = _records()
    folds = stratified_folds(labels, np.random.default_rng(1))
    counts: tuple[tuple[int, ...], ...] = (), (2,), (1, 1)
    plain, single, double = (fit_local_only(x, labels, K, folds, BLOCKS, n).losses for n in counts)
    assert (plain == single).all() and (plain != double).any()


@pytest.mark.parametrize("count", [1, 2, 4, 12])
@pytest.mark.parametrize("blocks", [(3, 3), (0, 6), (0,), ()])
def test_records_that_do_not_vary_break_nothing(count: int, blocks: tuple[int, ...]) -> None:
    labels = np.arange(count) % K
    folds = stratified_folds(labels, np.random.default_rng(1))
    for x in (np.ones((count, 6)), np.tile([1.0, 1.0, 1.0, 2.0, 0.0, 5.0], (count, 1))):
        fitted = fit_local_only(x, labels, K, folds, blocks)
        assert np.isfinite(fitted.head.weight).all() and np.isfinite(fitted.head.bias).all()
