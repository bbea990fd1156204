"""Local training that starts at delivered weights and can always walk away from them.

The delivered head enters a logistic regression as an offset with a scale s, and the penalty pulls
towards it: at s = 0 the delivered head is ignored, at a small C it is kept as it is. Cross-
validation chooses (C, s) with a prior (design: generator, "measured ourselves").

Classes without local records are not trained: a softmax over the seen classes only is fitted, and
the unseen classes keep their delivered rows, at the same scale, with one common bias. How they
would do is measured by *leave-class-out*: each seen class in turn is treated as if it had no
records. With m the share of unseen classes that the acceptance policy declares, (C, s) and the
bias minimise the log loss of a mixture: m of left-out records, 1 - m of the others. It is an
optimistic figure, since the left-out class did shape the statistics that the delivered head was
made from; ``acceptance`` halves the recall for that reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.baseline import Fitted
from wg_client.delivered import Start, normalise
from wg_client.folds import Folds, select
from wg_client.heads import NEVER, Floats, Ints, LinearHead, fit_logistic, scaling
from wg_client.left_out import LeftOut, leave_out

STRENGTHS = (0.003, 0.03, 0.3)
SCALES = (0.0, 0.7, 1.5, 3.0)
_STRENGTH_PRIOR = (0.5, 0.0, 0.5)
_SCALE_PRIOR = (1.0, 0.0, 0.0, 0.5)
GRID = tuple((c, s) for c in STRENGTHS for s in SCALES)
GRID_PRIOR = np.array([p + q for p in _STRENGTH_PRIOR for q in _SCALE_PRIOR])


@dataclass(frozen=True, slots=True, eq=False)
class Finetuned:
    """A fine-tuned model.

    Attributes:
        fitted: The head and its out-of-fold predictions among the seen classes.
        recalls: Leave-class-out recall of each seen class that was tried; empty if none was.
        lost: Accuracy on seen classes lost to the unseen ones, by leave-class-out.
    """

    fitted: Fitted
    recalls: Floats
    lost: float


def fit_finetuned(
    delivered: LinearHead,
    features: Floats,
    labels: Ints,
    folds: Folds,
    *,
    unseen_mass: float,
) -> Finetuned:
    """Fine-tune a delivered head on the plant's records.

    Args:
        delivered: Over the declared label domain of K classes.
        features: Float64 ``[n, d]`` of labelled records, n at least 1.
        labels: ``[n]``.
        folds: From ``folds.stratified``.
        unseen_mass: Share m of future records that belong to classes without local records.
    """
    classes = len(delivered.bias)
    start = normalise(delivered, features, labels)
    unseen = np.setdiff1d(np.arange(classes), start.rows)

    def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[Floats]:
        scale = scaling(features[train])
        x, y = scale.apply(features[train]), labels[train]
        given_train = start.head.logits(features[train])
        given_held = start.head.logits(features[held])
        results: list[Floats] = []
        warm: LinearHead | None = None
        for c, s in GRID:
            rows, dense = np.unique(y, return_inverse=True)
            part = fit_logistic(
                x, dense.astype(np.int64), len(rows), c, s * given_train[:, rows], warm
            )
            warm = part
            logits = (s if s else 1.0) * given_held
            logits[:, rows] = s * given_held[:, rows] + part.logits(scale.apply(features[held]))
            # Classes seen at the plant but not in this fold keep their delivered rows; classes
            # that the plant has never seen are judged by leave-class-out, not here.
            logits[:, unseen] = NEVER
            results.append(logits)
        return results

    c, s, bias = *GRID[int(np.argmin(GRID_PRIOR))], 0.0
    left_out = LeftOut.none()
    predictions = np.full(folds.assignment.shape, -1, dtype=np.int64)
    if folds.usable:
        trials = [LeftOut.none()] * len(GRID)
        if len(unseen) and len(start.rows) > 2:
            trials = [leave_out(start, features, labels, folds, c, s, unseen_mass) for c, s in GRID]
        prior = GRID_PRIOR + len(labels) * np.array([trial.loss for trial in trials])
        selection = select(predict, labels, folds, prior)
        predictions = selection.predictions
        (c, s), left_out = GRID[selection.chosen], trials[selection.chosen]
        bias = left_out.bias
    head = _final(start, features, labels, c, s, bias)
    settings = {"C": repr(c), "offset_scale": repr(s), "unseen_bias": f"{bias:.4g}"}
    return Finetuned(Fitted(head, predictions, settings), left_out.recalls, left_out.lost)


def _final(
    start: Start, features: Floats, labels: Ints, c: float, s: float, bias: float
) -> LinearHead:
    scale = scaling(features)
    rows, dense = np.unique(labels, return_inverse=True)
    offset = s * start.head.logits(features)[:, rows]
    part = fit_logistic(scale.apply(features), dense.astype(np.int64), len(rows), c, offset)
    part = scale.unscale(part)
    factor = s if s else 1.0
    weight, constant = factor * start.head.weight, factor * start.head.bias + bias
    weight[rows] = s * start.head.weight[rows] + part.weight
    constant[rows] = s * start.head.bias[rows] + part.bias
    return LinearHead(weight, constant)
