"""The even mean of two fitted heads."""

from __future__ import annotations

import numpy as np
import pytest
from tests.client.selected import selected

from wg_client.fitting.finetune import fit_finetuned, fixed
from wg_client.fitting.folds import Folds, stratified
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, log_loss
from wg_client.fitting.local_models import fit_local
from wg_client.methods.ensemble import averaged, mean_aligned
from wg_client.methods.names import ENSEMBLE
from wg_common.inference.posterior import Posterior

K, D = 4, 12


def _records(seed: int, each: int) -> tuple[Floats, Ints]:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(K), each)
    return np.eye(K, D)[y] * 1.5 + rng.normal(size=(len(y), D)), y


def test_its_logits_are_the_mean_of_both_at_their_temperature() -> None:
    x, y = _records(1, 8)
    folds = stratified(y, np.random.default_rng(0))
    one = fit_local(x, y, K, folds)
    two = fit_finetuned(fixed(LinearHead(np.eye(K, D), np.zeros(K))), x, y, folds, unseen_mass=0)
    found = averaged(one, two, y)
    assert found is not None
    mean = (one.head.logits(x) * one.factor + two.head.logits(x) * two.factor) / 2
    logits = found.head.logits(x)
    ratio = np.ptp(logits) / np.ptp(mean)
    np.testing.assert_allclose(logits, ratio * mean, rtol=1e-6, atol=1e-8)
    assert found.losses.shape == found.predictions.shape == folds.assignment.shape


def test_its_losses_are_out_of_fold() -> None:
    """Labels of one fold change; what the average says of the records of that fold does not."""
    x, y = _records(2, 6)
    folds = stratified(y, np.random.default_rng(1))
    held = folds.assignment[0] == 1
    changed = y.copy()
    changed[held] = (y[held] + 1) % K

    def judged(labels: Ints) -> Ints:
        one = fit_local(x, labels, K, folds)
        origin = fixed(LinearHead(np.eye(K, D), np.zeros(K)))
        two = fit_finetuned(origin, x, labels, folds, unseen_mass=0)
        found = averaged(one, two, labels)
        assert found is not None
        return np.asarray(found.predictions[0], dtype=np.int64)

    # Recipes are chosen by the other folds' scores, whose training sets hold the changed labels:
    # nearly all answers stay, and training on the changed labels would turn nearly all.
    assert (judged(y)[held] == judged(changed)[held]).mean() > 0.6
    assert (judged(changed)[held] == changed[held]).mean() < 0.5


def test_on_average_it_is_better_than_either() -> None:
    gains = []
    tx, ty = _records(99, 500)
    for seed in range(12):
        x, y = _records(seed, 4)
        folds = stratified(y, np.random.default_rng(seed))
        rough = np.eye(K, D) + 0.35 * np.random.default_rng(100 + seed).normal(size=(K, D))
        one = fit_local(x, y, K, folds)
        two = fit_finetuned(fixed(LinearHead(rough, np.zeros(K))), x, y, folds, unseen_mass=0)
        mean = averaged(one, two, y)
        assert mean is not None
        losses = [
            float(log_loss(head.head.logits(tx) * head.factor, ty).mean())
            for head in (one, two, mean)
        ]
        gains.append((losses[0] + losses[1]) / 2 - losses[2])
    assert np.mean(gains) > 0.01


def test_without_folds_there_is_none() -> None:
    x, y = _records(3, 1)
    folds = Folds(np.zeros((1, len(y)), dtype=np.int64), 4)
    one = fit_local(x, y, K, folds)
    two = fit_finetuned(mean_aligned(_flat(), x[:0]), x, y, folds, unseen_mass=0)
    assert averaged(one, two, y) is None


def _flat() -> Posterior:
    ones = np.ones(D)
    precision = np.tile(np.eye(K + 1), (D, 1, 1))
    weighted = np.concatenate([np.zeros((D, 1)), 1.5 * np.eye(K, D).T], axis=1)
    return Posterior(np.eye(D), ones, 0.1 * ones, ones, np.eye(D), precision, weighted)


@pytest.mark.parametrize(
    ("each", "others", "free"),
    [([5] * K, True, True), ([5, 5, 5, 0], True, False), ([5] * K, False, False)],
)
def test_only_where_every_class_has_records_and_then_without_a_margin(
    each: list[int], others: bool, free: bool
) -> None:
    rng = np.random.default_rng(5)
    y = np.repeat(np.arange(K), each)
    x = np.eye(K, D)[y] * 1.5 + rng.normal(size=(len(y), D))
    outcome = selected(x, y, [], K, posterior=_flat(), others_released=others)
    found = outcome.comparisons
    assert found[ENSEMBLE].margin == (0.0 if free else 0.5)
    said = {finding.model: finding.passed for finding in outcome.findings}
    assert said[ENSEMBLE] == (found[ENSEMBLE].lower > 0)
    assert all(item.margin == 0.5 for name, item in found.items() if name != ENSEMBLE)
