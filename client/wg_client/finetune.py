"""Local training that starts at delivered weights and can always walk away from them.

The delivered head enters a logistic regression as an offset with a scale s, and the penalty pulls
towards it: at s = 0 the delivered head is ignored, at a small C it is kept as it is. Cross-
validation chooses (C, s) with a prior (design: generator, "measured ourselves").

Classes without local records are not trained: a softmax over the seen classes only is fitted, and
the unseen classes keep their delivered rows, at the same scale, with one common bias. That bias is
calibrated by *leave-class-out*: each seen class in turn is treated as if it had no records; the
bias maximises (1 - m) * accuracy on the others + m * recall of the left-out class, with m the
share of unseen classes that the acceptance policy declares. It is an optimistic figure, since the
left-out class did shape the statistics that the delivered head was made from; ``acceptance``
halves the recall for that reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.baseline import Fitted
from wg_client.folds import Folds, select
from wg_client.heads import (
    Floats,
    Ints,
    LinearHead,
    best_temperature,
    fit_logistic,
    log_loss,
    scaling,
)

STRENGTHS = (0.003, 0.03, 0.3)
SCALES = (0.0, 0.7, 1.5, 3.0)
_STRENGTH_PRIOR = (0.5, 0.0, 0.5)
_SCALE_PRIOR = (1.0, 0.0, 0.0, 0.5)
GRID = tuple((c, s) for c in STRENGTHS for s in SCALES)
GRID_PRIOR = np.array([p + q for p in _STRENGTH_PRIOR for q in _SCALE_PRIOR])
_LEAVE_OUT_LIMIT = 10
_NEVER_BIAS = -50.0


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A delivered head whose centred logits have unit root mean square on local records.

    Attributes:
        head: The delivered head, scaled.
        rows: Seen classes, sorted.
    """

    head: LinearHead
    rows: NDArray[np.intp]


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


def normalise(head: LinearHead, features: Floats, labels: Ints) -> Start:
    """Put a delivered head on the common scale of local records ``[n, d]``."""
    rows = np.unique(labels)
    logits = head.logits(features)
    logits = logits - logits.mean(axis=1, keepdims=True)
    size = float(np.sqrt(np.mean(logits**2)))
    factor = 1.0 / size if size > 1e-9 else 0.0
    centre = head.weight.mean(axis=0), head.bias.mean()
    return Start(
        LinearHead((head.weight - centre[0]) * factor, (head.bias - centre[1]) * factor), rows
    )


def delivered_loss(head: LinearHead, features: Floats, labels: Ints) -> float:
    """Log loss in nats of a delivered head on local records, at its best temperature."""
    logits = head.logits(features)
    return float(log_loss(logits * best_temperature(logits, labels), labels).sum())


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
            logits[:, unseen] = _NEVER_BIAS * 10
            results.append(logits)
        return results

    if folds.usable:
        selection = select(predict, labels, folds, GRID_PRIOR)
        chosen, predictions = selection.chosen, selection.predictions
    else:
        chosen = int(np.argmin(GRID_PRIOR))
        predictions = np.full(folds.assignment.shape, -1, dtype=np.int64)
    c, s = GRID[chosen]
    bias, recalls, lost = 0.0, np.zeros(0), 0.0
    if len(unseen):
        bias, recalls, lost = _calibrate(start, features, labels, folds, c, s, unseen_mass)
    head = _final(start, features, labels, c, s, bias)
    settings = {"C": repr(c), "offset_scale": repr(s), "unseen_bias": f"{bias:.4g}"}
    return Finetuned(Fitted(head, predictions, settings), recalls, lost)


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


def _calibrate(
    start: Start,
    features: Floats,
    labels: Ints,
    folds: Folds,
    c: float,
    s: float,
    unseen_mass: float,
) -> tuple[float, Floats, float]:
    """Bias of the unseen classes, leave-class-out recalls, and the accuracy the others lose."""
    if len(start.rows) < 3 or not folds.usable:
        return 0.0, np.zeros(0), 0.0
    left_out = start.rows
    if len(left_out) > _LEAVE_OUT_LIMIT:
        left_out = left_out[
            np.linspace(0, len(left_out) - 1, _LEAVE_OUT_LIMIT).round().astype(np.intp)
        ]
    wins, risks = [], []
    for label in left_out:
        margin, right = _leave_out(start, features, labels, folds, c, s, int(label))
        own = labels == label
        wins.append(margin[own])
        risks.append(margin[~own & right])
    others = [max(int((labels != label).sum()), 1) for label in left_out]
    grid = np.unique(-np.concatenate([*wins, *risks])) + 1e-9
    grid = np.concatenate([[_NEVER_BIAS], grid[:: max(len(grid) // 200, 1)]])

    def recall(bias: float) -> Floats:
        return np.array([float(np.mean(win + bias > 0)) for win in wins])

    def loss(bias: float) -> float:
        rows = zip(risks, others, strict=True)
        return float(np.mean([np.sum(risk + bias > 0) / count for risk, count in rows]))

    gains = [
        unseen_mass * float(recall(bias).mean()) - (1 - unseen_mass) * loss(bias) for bias in grid
    ]
    best = float(grid[int(np.argmax(gains))])
    return best, recall(best), loss(best)


def _leave_out(
    start: Start, features: Floats, labels: Ints, folds: Folds, c: float, s: float, label: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Margin of a class, treated as unseen, over the best seen one; and who was right without."""
    margin = np.zeros(len(labels))
    right = np.zeros(len(labels), dtype=bool)
    given = start.head.logits(features)
    for fold in range(folds.count):
        held = folds.assignment[0] == fold
        train = ~held & (labels != label)
        if not held.any() or not train.any():
            margin[held] = _NEVER_BIAS
            continue
        scale = scaling(features[train])
        rows, dense = np.unique(labels[train], return_inverse=True)
        part = fit_logistic(
            scale.apply(features[train]),
            dense.astype(np.int64),
            len(rows),
            c,
            s * given[train][:, rows],
        )
        logits = s * given[held][:, rows] + part.logits(scale.apply(features[held]))
        margin[held] = (s if s else 1.0) * given[held, label] - logits.max(axis=1)
        right[held] = rows[logits.argmax(axis=1)] == labels[held]
    return margin, right
