"""The head that a plant completes: the server's class means, finished with the plant's own records.

A delivered head has the noise of the plant's own release in it, though the plant holds the records
themselves. So a package also says what is known *without* this plant, and the plant adds its exact
records, which cost nothing (``wg_common.inference.posterior``). There is nothing to choose: no
recipe, no penalty. Out-of-fold predictions tell what it is worth, as for every other entrant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.delivered import Origin
from wg_client.fitting.finetune import Finetuned
from wg_client.fitting.folds import Folds, select
from wg_client.fitting.leave_class_out import LeftOut, as_delivered
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.fitting.local_models import Fitted
from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import Posterior

_LEFT_OUT = 8
"""Classes that are left out in turn, at most."""


def complete(posterior: Posterior, features: Floats, labels: Ints) -> LinearHead:
    """The completed head of local features ``[n, D]``, with or without labels (-1).

    Other sites have said something of the released features only, which come first.
    """
    released = features[:, : len(posterior.within)]
    head = LinearHead(*posteriors.complete(posterior, released, labels))
    return head.padded(features.shape[1])


def moving(posterior: Posterior, bare: Floats) -> Origin:
    """What other sites know of classes, around the mean of the records that are trained on.

    Args:
        posterior: From the server.
        bare: Local features ``[m, D]`` of records without a label, which have a part in the mean.
    """
    move = posteriors.mover(posterior)

    def origin(features: Floats, labels: Ints) -> LinearHead:
        both = np.concatenate([features, bare])[:, : len(posterior.within)]
        said = np.concatenate([labels, np.full(len(bare), -1)])
        return LinearHead(*move(both, said)).padded(features.shape[1])

    return origin


def fit_completed(
    posterior: Posterior, features: Floats, labels: Ints, folds: Folds, *, unseen: bool
) -> Finetuned:
    """Complete a head and judge it out of fold.

    Args:
        posterior: From the server.
        features: float64 ``[n, D]`` of all local records.
        labels: ``[n]``, -1 without a label; at least one has one.
        folds: Of the labelled records, in their order.
        unseen: Whether declared classes have no records: then some classes are left out in turn.
    """
    known = np.flatnonzero(labels >= 0)
    bare = np.flatnonzero(labels < 0)
    y = labels[known]

    def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[Floats]:
        rows = np.concatenate([known[train], bare])
        return [complete(posterior, features[rows], labels[rows]).logits(features[known[held]])]

    head = complete(posterior, features, labels)
    predictions = np.full(folds.assignment.shape, -1, dtype=np.int64)
    losses, factor = np.zeros(folds.assignment.shape), 1.0
    if folds.usable:
        selection = select(predict, y, folds, np.zeros(1))
        predictions, losses = selection.predictions, selection.record_losses
        factor = float(selection.factors[0])
    fitted = Fitted(head.scaled(factor), predictions, losses, {"temperature": f"{1 / factor:.4g}"})
    left_out = LeftOut.none()
    if unseen and folds.usable:
        left_out = _left_out(posterior, features, labels, folds, head)
    return Finetuned(fitted, left_out.recalls, left_out.lost, counts=1.0)


def _left_out(
    posterior: Posterior, features: Floats, labels: Ints, folds: Folds, head: LinearHead
) -> LeftOut:
    """Each of some seen classes completed without its records; the others without one fold."""
    known = labels >= 0
    x, y = features[known], labels[known]
    seen = np.unique(y)
    if len(seen) <= 2:
        blank = complete(posterior, features[~known], labels[~known])
        return as_delivered(blank.logits(x), head.logits(x), y)
    held = folds.assignment[0] == 0
    recalls, lost = [], []
    for label in seen[np.linspace(0, len(seen) - 1, min(_LEFT_OUT, len(seen))).round().astype(int)]:
        rest = held & (y != label)
        use = ~known
        use[known] = ~held & (y != label)
        logits = complete(posterior, features[use], labels[use]).logits(x)
        recalls.append(float((logits[y == label].argmax(axis=1) == label).mean()))
        masked = logits.copy()
        masked[:, label] = -np.inf
        taken = (masked.argmax(axis=1) == y) & (logits.argmax(axis=1) == label)
        lost += [float(taken[rest].mean())] if rest.any() else []
    return LeftOut(0.0, 0.0, np.array(recalls), float(np.mean(lost)) if lost else 0.0)
