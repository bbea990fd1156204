"""The head that a plant completes: the server's class means, finished with the plant's own records.

A delivered head has the noise of the plant's own release in it, though the plant holds the records
themselves. So a package also says what is known *without* this plant, and the plant adds its exact
records, which cost nothing (``wg_common.class_means``). There is nothing to choose: no recipe, no
penalty. Out-of-fold predictions tell what it is worth, as for every other entrant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wg_client.baseline import Fitted
from wg_client.finetune import Finetuned
from wg_client.folds import Folds, select
from wg_client.heads import Floats, Ints, LinearHead
from wg_common import class_means
from wg_common.class_means import Posterior

_LEFT_OUT = 8
"""Classes that are left out in turn, at most."""


def complete(posterior: Posterior, features: Floats, labels: Ints) -> LinearHead:
    """The completed head of records ``[n, d]``, with or without labels (-1)."""
    return LinearHead(*class_means.complete(posterior, features, labels))


def fit_completed(
    posterior: Posterior, features: Floats, labels: Ints, folds: Folds, *, unseen: bool
) -> Finetuned:
    """Complete a head and judge it out of fold.

    Args:
        posterior: From the server.
        features: float64 ``[n, d]`` of all local records.
        labels: ``[n]``, -1 without a label; at least one has one.
        folds: Of the labelled records, in their order.
        unseen: Whether declared classes have no records: then each class in turn is left out.
    """
    known = np.flatnonzero(labels >= 0)
    bare = np.flatnonzero(labels < 0)
    y = labels[known]

    def without(held: NDArray[np.intp], label: int | None = None) -> LinearHead:
        """Completed without some labelled records, and without those of one class."""
        train = np.setdiff1d(np.arange(len(y)), held)
        rows = known[train if label is None else train[y[train] != label]]
        rows = np.concatenate([rows, bare])
        return complete(posterior, features[rows], labels[rows])

    def predict(_: NDArray[np.intp], held: NDArray[np.intp]) -> list[Floats]:
        return [without(held).logits(features[known[held]])]

    head = complete(posterior, features, labels)
    predictions = np.full(folds.assignment.shape, -1, dtype=np.int64)
    losses, factor = np.zeros(folds.assignment.shape), 1.0
    if folds.usable:
        selection = select(predict, y, folds, np.zeros(1))
        predictions, losses = selection.predictions, selection.record_losses
        factor = float(selection.factors[0])
    fitted = Fitted(head.scaled(factor), predictions, losses, {"temperature": f"{1 / factor:.4g}"})
    recalls: list[float] = []
    lost: list[float] = []
    seen = np.unique(y)
    if unseen and folds.usable and len(seen) > 2:
        chosen = seen[np.linspace(0, len(seen) - 1, min(_LEFT_OUT, len(seen))).round().astype(int)]
        for label in chosen:
            mine = np.flatnonzero(y == label)
            rest = np.flatnonzero((folds.assignment[0] == 0) & (y != label))
            logits = without(rest, int(label)).logits(features[known])
            recalls.append(float((logits[mine].argmax(axis=1) == label).mean()))
            if len(rest):
                masked = logits[rest].copy()
                masked[:, label] = -np.inf
                right = masked.argmax(axis=1) == y[rest]
                lost.append(float(np.mean(right & (logits[rest].argmax(axis=1) == label))))
    return Finetuned(fitted, np.array(recalls), float(np.mean(lost)) if lost else 0.0)
