"""The strongest model that the plant can make alone, at no cost in privacy.

Shrunk linear discriminants, ridge regression and logistic regression on the frozen features, each
at a few strengths, chosen by cross-validation with a prior. It is the bar that delivered weights
must pass; a weak bar would be self-deception.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.folds import Folds, select
from wg_client.fitting.linear_head import (
    Floats,
    Ints,
    LinearHead,
    fit_lda,
    fit_ridge,
    scaling,
    spread,
)
from wg_client.fitting.logistic import fit_logistics

LDA = "lda"
RIDGE = "ridge"
LOGISTIC = "logistic"


@dataclass(frozen=True, slots=True)
class Learner:
    """One way to fit a head, and the nats of evidence it must show beyond the default.

    Attributes:
        kind: ``LDA``, ``RIDGE`` or ``LOGISTIC``.
        strength: Shrinkage, penalty or C, in this order.
        prior: Nats.
    """

    kind: str
    strength: float
    prior: float

    @property
    def name(self) -> str:
        """For the manifest."""
        return f"{self.kind}-{self.strength:g}"


LEARNERS = (
    Learner(LDA, 0.5, 0.0),
    Learner(LDA, 0.9, 0.5),
    Learner(LDA, 0.2, 0.5),
    Learner(LDA, 0.05, 1.0),
    Learner(RIDGE, 10.0, 1.0),
    Learner(RIDGE, 100.0, 1.0),
    Learner(LOGISTIC, 0.01, 0.5),
    Learner(LOGISTIC, 0.1, 0.5),
    Learner(LOGISTIC, 1.0, 1.0),
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
        logits: Out-of-fold logits, scaled likewise, ``[repeats, n, K]``; None where nobody asks.
    """

    head: LinearHead
    predictions: Ints
    losses: Floats
    settings: dict[str, str]
    factor: float = 1.0
    held_out: Callable[[int, int], LinearHead] | None = None
    logits: Floats | None = None


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
        heads = _fit_all(LEARNERS, features[train], labels[train], classes)
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
        selection.logits,
    )


def _fit(learner: Learner, features: Floats, labels: Ints, classes: int) -> LinearHead:
    return _fit_all((learner,), features, labels, classes)[0]


def _fit_all(
    learners: Sequence[Learner], features: Floats, labels: Ints, classes: int
) -> list[LinearHead]:
    rows, found = np.unique(labels, return_inverse=True)
    scale = scaling(features)
    x, dense, k = scale.apply(features), found.astype(np.int64), len(rows)
    strengths = [learner.strength for learner in learners if learner.kind == LOGISTIC]
    logistic = iter(fit_logistics(x, dense, k, strengths, [np.zeros((len(x), k))] * len(strengths)))
    heads = []
    for learner in learners:
        if learner.kind == LDA:
            head = fit_lda(x, dense, k, learner.strength)
        elif learner.kind == RIDGE:
            head = fit_ridge(x, dense, k, learner.strength)
        else:
            head = next(logistic)
        heads.append(spread(scale.unscale(head), rows, classes))
    return heads
