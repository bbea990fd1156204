"""The strongest model that the plant can make alone, at no cost in privacy.

Several learners at a few strengths on the frozen features, chosen by cross-validation with a prior.
It is the bar that delivered weights must pass; a weak bar would be self-deception.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wg_client.fitting.fitted import Fitted, cross_validated
from wg_client.fitting.folds import Folds
from wg_client.fitting.learners import ALONE, LDA, RowIndex, fit_parts
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, spread


def fit_local(
    features: Floats,
    labels: Ints,
    classes: int,
    folds: Folds,
    kinds: Sequence[str] = (LDA,),
) -> Fitted:
    """Choose and fit the local-only model.

    Args:
        features: Float64 ``[n, d]`` of labelled records, n at least 1.
        labels: ``[n]`` in 0..classes-1.
        classes: Size K of the declared label domain.
        folds: From ``folds.stratified``; without two non-empty folds the default is taken.
        kinds: Of learners to choose from (``Modality.learners``).
    """
    learners = [learner for learner in ALONE if learner.kind in kinds]

    def predict(train: RowIndex, test: RowIndex) -> list[Floats]:
        parts, rows = fit_parts(learners, features[train], labels[train])
        return [spread(part, rows, classes).logits(features[test]) for part in parts]

    def refit(rows: RowIndex | slice, choice: int) -> LinearHead:
        (part,), present = fit_parts((learners[choice],), features[rows], labels[rows])
        return spread(part, present, classes)

    prior = np.array([learner.prior for learner in learners])
    fitted, chosen = cross_validated(predict, refit, features, labels, folds, prior)
    return replace(fitted, settings={"learner": learners[chosen].name})
