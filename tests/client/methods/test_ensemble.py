"""The mean of two fitted heads, even or by their losses."""

from __future__ import annotations

import numpy as np
import pytest
from tests.client.posteriors import posterior
from tests.client.selected import selected

from wg_client.fitting.finetune import constant_base_fitter, fit_finetuned
from wg_client.fitting.fitted_model import FittedModel
from wg_client.fitting.folds import Folds, stratified_folds
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, log_loss
from wg_client.fitting.local_models import fit_local_only
from wg_client.fitting.model_averages import LOSS_WEIGHT, average_models
from wg_client.methods.ensemble import mean_aligned_base_head
from wg_client.methods.method_names import LOCAL_ONLY, POOLED_FINETUNED
from wg_common.inference.posterior import Posterior

K, D = 4, 12


def _records(seed: int, each: int) -> tuple[Floats, Ints]:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(K), each)
    return np.eye(K, D)[y] * 1.5 + rng.normal(size=(len(y), D)), y


def _both(x: Floats, y: Ints, folds: Folds, shares: Floats | None = None) -> list[FittedModel]:
    one = fit_local_only(x, y, K, folds)
    two = fit_finetuned(
        constant_base_fitter(LinearHead(np.eye(K, D), np.zeros(K))), x, y, folds, unseen_mass=0
    )
    found = average_models((one, two), folds, shares)
    assert found is not None
    return [one, two, found]


@pytest.mark.parametrize("shares", [None, np.array([1.0, 2.0])])
def test_its_logits_are_the_mean_of_both_at_their_temperature(shares: Floats | None) -> None:
    x, y = _records(1, 8)
    folds = stratified_folds(y, np.random.default_rng(0))
    one, two, found = _both(x, y, folds, shares)
    by_loss = np.exp([-LOSS_WEIGHT * fitted.losses.mean() for fitted in (one, two)])
    weights = None if shares is None else shares * by_loss
    mean = np.average([one.head.logits(x), two.head.logits(x)], axis=0, weights=weights)
    logits = found.head.logits(x)
    np.testing.assert_allclose(logits, np.ptp(logits) / np.ptp(mean) * mean, rtol=1e-6, atol=1e-8)


def test_its_losses_are_out_of_fold() -> None:
    """Labels of one fold change; what the average says of the records of that fold does not."""
    x, y = _records(2, 6)
    folds = stratified_folds(y, np.random.default_rng(1))
    held = folds.fold_of_record[0] == 1
    one, two = (_both(x, each, folds)[2].logits for each in (y, np.where(held, (y + 1) % K, y)))
    assert one is not None and two is not None
    np.testing.assert_allclose(one[0, held], two[0, held], atol=1e-9)


def test_on_average_it_is_better_than_either() -> None:
    gains = []
    tx, ty = _records(99, 500)
    for seed in range(12):
        x, y = _records(seed, 8)
        folds = stratified_folds(y, np.random.default_rng(seed))
        rough = np.eye(K, D) + 0.35 * np.random.default_rng(100 + seed).normal(size=(K, D))
        one = fit_local_only(x, y, K, folds)
        two = fit_finetuned(
            constant_base_fitter(LinearHead(rough, np.zeros(K))), x, y, folds, unseen_mass=0
        )
        mean = average_models((one, two), folds)
        assert mean is not None
        losses = [float(log_loss(head.head.logits(tx), ty).mean()) for head in (one, two, mean)]
        gains.append((losses[0] + losses[1]) / 2 - losses[2])
    assert np.mean(gains) > 0.01


def test_without_folds_there_is_none() -> None:
    x, y = _records(3, 1)
    folds = Folds(np.zeros((1, len(y)), dtype=np.int64), 4, np.arange(len(y)))
    one = fit_local_only(x, y, K, folds)
    two = fit_finetuned(mean_aligned_base_head(_flat(), x[:0]), x, y, folds, unseen_mass=0)
    assert average_models((one, two), folds) is None


def _flat() -> Posterior:
    weighted = np.concatenate([np.zeros((D, 1)), 1.5 * np.eye(K, D).T], axis=1)
    return posterior(np.tile(np.eye(K + 1), (D, 1, 1)), weighted)


@pytest.mark.parametrize("each", [[5] * K, [5, 5, 5, 0]])
def test_only_where_every_class_has_records(each: list[int]) -> None:
    rng = np.random.default_rng(5)
    y = np.repeat(np.arange(K), each)
    x = np.eye(K, D)[y] * 1.5 + rng.normal(size=(len(y), D))
    models = selected(x, y, [], K, posterior=_flat()).models
    local, found = (
        models[LOCAL_ONLY].fitted_model.logits,
        models[POOLED_FINETUNED].fitted_model.logits,
    )
    assert local is not None and found is not None
    never = local[..., -1].max() < -100
    assert never == (min(each) == 0)
    # Half of it is local-only: what that never names it would not name.
    assert found[..., -1].min() > -100
