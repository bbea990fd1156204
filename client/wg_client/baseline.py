"""The strongest model that the plant can make alone, at no cost in privacy.

Shrunk linear discriminants, ridge regression and logistic regression on the frozen features, each
at a few strengths, chosen by cross-validation with a prior. It is the bar that delivered weights
must pass; a weak bar would be self-deception.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.folds import Folds, select
from wg_client.heads import (
    Floats,
    Ints,
    LinearHead,
    fit_lda,
    fit_logistic,
    fit_ridge,
    scaling,
    spread,
)

Fit = Callable[[Floats, Ints, int], LinearHead]


@dataclass(frozen=True, slots=True)
class Learner:
    """One way to fit a head, and the nats of evidence it must show beyond the default."""

    name: str
    prior: float
    fit: Fit


def _lda(shrinkage: float) -> Fit:
    return lambda features, labels, classes: fit_lda(features, labels, classes, shrinkage)


def _ridge(penalty: float) -> Fit:
    return lambda features, labels, classes: fit_ridge(features, labels, classes, penalty)


def _logistic(c: float) -> Fit:
    return lambda features, labels, classes: fit_logistic(features, labels, classes, c)


LEARNERS = (
    Learner("lda-0.5", 0.0, _lda(0.5)),
    Learner("lda-0.9", 0.5, _lda(0.9)),
    Learner("lda-0.2", 0.5, _lda(0.2)),
    Learner("lda-0.05", 1.0, _lda(0.05)),
    Learner("ridge-10", 1.0, _ridge(10.0)),
    Learner("ridge-100", 1.0, _ridge(100.0)),
    Learner("logistic-0.01", 0.5, _logistic(0.01)),
    Learner("logistic-0.1", 0.5, _logistic(0.1)),
    Learner("logistic-1", 1.0, _logistic(1.0)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A model fitted on all labelled records, with its out-of-fold predictions.

    Attributes:
        head: Over the whole declared label domain.
        predictions: Out-of-fold class of each labelled record, int64 ``[repeats, n]``.
        losses: Their log loss, nats, ``[repeats, n]``; zeros if nothing was held out.
        settings: What cross-validation chose, for the manifest.
        factor: Factor on the head's logits with the least out-of-fold loss.
        held_out: (repeat, fold) -> the head that predicted this fold, its logits scaled likewise;
            None if nothing was held out.
    """

    head: LinearHead
    predictions: Ints
    losses: Floats
    settings: dict[str, str]
    factor: float = 1.0
    held_out: Callable[[int, int], LinearHead] | None = None


def fit_local(features: Floats, labels: Ints, classes: int, folds: Folds) -> Fitted:
    """Choose and fit the local-only model.

    Args:
        features: Float64 ``[n, d]`` of labelled records, n at least 1.
        labels: ``[n]`` in 0..classes-1.
        classes: Size K of the declared label domain.
        folds: From ``folds.stratified``; without two non-empty folds the default is taken.
    """
    if not folds.usable:
        nothing = np.full(folds.assignment.shape, -1, dtype=np.int64)
        head = _fit(LEARNERS[0], features, labels, classes)
        return Fitted(head, nothing, np.zeros(nothing.shape), {"learner": LEARNERS[0].name})

    def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[Floats]:
        heads = _fit_all(features[train], labels[train], classes)
        return [head.logits(features[held]) for head in heads]

    prior = np.array([learner.prior for learner in LEARNERS])
    selection = select(predict, labels, folds, prior)

    def held_out(repeat: int, fold: int) -> LinearHead:
        train = folds.assignment[repeat] != fold
        choice = selection.choices[repeat, fold]
        head = _fit(LEARNERS[choice], features[train], labels[train], classes)
        return head.scaled(selection.factors[choice])

    learner = LEARNERS[selection.chosen]
    return Fitted(
        _fit(learner, features, labels, classes),
        selection.predictions,
        selection.record_losses,
        {"learner": learner.name},
        float(selection.factors[selection.chosen]),
        held_out,
    )


def _fit_all(features: Floats, labels: Ints, classes: int) -> list[LinearHead]:
    return [_fit(learner, features, labels, classes) for learner in LEARNERS]


def _fit(learner: Learner, features: Floats, labels: Ints, classes: int) -> LinearHead:
    rows, dense = np.unique(labels, return_inverse=True)
    scale = scaling(features)
    head = learner.fit(scale.apply(features), dense.astype(np.int64), len(rows))
    return spread(scale.unscale(head), rows, classes)
