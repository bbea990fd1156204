"""The posterior head: class means as other sites know them, finished with the plant's own records.

Empirical Bayes. A delivered head has the noise of the plant's own release in it, though the plant
holds the records themselves. So a package also says what is known *without* this plant, and the
plant adds its exact records, which cost nothing (``wg_common.inference.posterior``). There is
nothing to choose: no learner, no penalty. Out-of-fold predictions tell what it is worth.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wg_client.fitting.fitted import Fitted, cross_validated
from wg_client.fitting.folds import Folds
from wg_client.fitting.learners import RowIndex
from wg_client.fitting.leave_class_out import LeaveClassOut, Mask, of_logits, of_refits
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods import names
from wg_client.methods.base import LabelledRecords, Model, Package
from wg_common.catalogue import POSTERIOR
from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import Posterior


class PosteriorHead:
    """See the module."""

    name = names.POSTERIOR_HEAD
    title = "posterior head (empirical Bayes)"
    reference = False

    def fit(self, records: LabelledRecords, package: Package) -> Model | None:
        """See ``Method``."""
        if package.posterior is None:
            return None
        trunk = records.public
        fitted = fit_posterior_head(
            package.posterior,
            records.features(trunk),
            records.labels,
            records.unlabelled(trunk),
            records.folds,
            unseen=records.unseen_mass > 0,
        )
        return Model(trunk=trunk, fitted=fitted, origin=POSTERIOR, unchecked_rank=2)


def posterior_head(
    posterior: Posterior, features: Floats, labels: Ints, unlabelled: Floats
) -> LinearHead:
    """The head of some labelled records and of others, which have a part in the plant's mean.

    Other sites have said something of the released features only, which come first.

    Args:
        posterior: From the server.
        features: Local features ``[n, D]``.
        labels: ``[n]``.
        unlabelled: Local features ``[m, D]``.
    """
    x = np.concatenate([features, unlabelled])[:, : len(posterior.within)]
    y = np.concatenate([labels, np.full(len(unlabelled), -1)])
    return LinearHead(*posteriors.posterior_head(posterior, x, y)).padded(features.shape[1])


def fit_posterior_head(
    posterior: Posterior,
    features: Floats,
    labels: Ints,
    unlabelled: Floats,
    folds: Folds,
    *,
    unseen: bool,
) -> Fitted:
    """Fit the head and judge it out of fold, where there are labels.

    Args:
        posterior: From the server.
        features: float64 ``[n, D]``.
        labels: ``[n]``.
        unlabelled: float64 ``[m, D]``.
        folds: Of the labelled records.
        unseen: Whether declared classes have no records: then some classes are left out in turn.
    """

    def refit(rows: RowIndex | Mask | slice, choice: int = 0) -> LinearHead:
        return posterior_head(posterior, features[rows], labels[rows], unlabelled)

    def predict(train: RowIndex, held: RowIndex) -> list[Floats]:
        return [refit(train).logits(features[held])]

    fitted, _ = cross_validated(predict, refit, features, labels, folds, np.zeros(1))
    found = LeaveClassOut()
    if unseen and folds.usable and len(np.unique(labels)) > 2:
        found = of_refits(refit, features, labels)
    elif unseen and folds.usable:
        found = of_logits(refit(slice(0)).logits(features), labels)
    return replace(fitted, leave_class_out=found)
