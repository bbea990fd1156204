"""How fast each start learns: accuracy on records held out, against steps of local training.

The last layer is trained on the plant's records from random weights and from delivered ones, with
the same steps on the same folds. One step is one of Nesterov's accelerated gradient method on the
log loss (Nesterov 1983, *Soviet Math. Dokl.* 27(2)) at step size ``1 / L``, L the largest curvature
of the loss on these records: no constant is tuned for or against a start. Features are centred on
the training records. What a start looks like on a fold comes from the other folds (``held_out``).

Gradients lie in the span of the training records, so that a step costs ``[n, n]`` times ``[n, K]``
whatever the number of features. Classes without records keep their rows.

Not guaranteed: that a start that learns faster ends higher; which model is kept is decided by
``gain``. Of whole networks only the last layer is trained here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods.base import LabelledRecords, Model
from wg_client.methods.names import GENERATED, LOCAL, RANDOM
from wg_client.selection.model_selection import Outcome

STEPS = (0, 1, 2, 5, 10, 20, 50, 100, 200)
STARTS = (RANDOM, GENERATED)
_RECORDS = 500
"""Records that curves are drawn from, at most; it is a picture, and time grows with the square."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One start.

    Attributes:
        name: Of the method whose weights it starts from.
        accuracy: Share of held-out records that are right, at each of ``STEPS``.
        judged: Whether no release of these records had a part in the start.
    """

    name: str
    accuracy: tuple[float, ...]
    judged: bool


def curves(outcome: Outcome) -> tuple[Curve, ...]:
    """A curve of each start that there is; none without records to hold out."""
    records = outcome.records
    if not records.folds.usable or LOCAL not in outcome.models:
        return ()
    found = []
    for name in STARTS:
        model = outcome.models.get(name)
        if model is not None:
            found.append(Curve(name, _accuracy(model, records), model.judged))
    return tuple(found)


def _accuracy(model: Model, records: LabelledRecords) -> tuple[float, ...]:
    folds = records.folds
    chosen = np.linspace(0, len(folds.rows) - 1, min(_RECORDS, len(folds.rows))).astype(np.intp)
    fold, rows = folds.assignment[0, chosen], folds.rows[chosen]
    features, labels = records.features(model.trunk)[rows], records.labels[rows]
    right = np.zeros(len(STEPS))
    for out in range(folds.count):
        held = fold == out
        if not held.any() or held.all():
            continue
        held_out = model.fitted.held_out
        head = model.fitted.head if held_out is None else held_out(0, out)
        right += _right(head, features[~held], labels[~held], features[held], labels[held])
    return tuple(float(share) for share in right / len(rows))


def _right(head: LinearHead, x: Floats, y: Ints, held: Floats, wanted: Ints) -> Floats:
    """Number of held-out records that are right at each of ``STEPS``.

    Args:
        head: Of K classes, to start from.
        x: Features ``[n, d]`` to train on.
        y: Their labels.
        held: Features ``[h, d]`` held out.
        wanted: Their labels.
    """
    centre = x.mean(axis=0)
    inner = np.c_[x - centre, np.ones(len(x))]  # a bias is a feature that is always 1
    outer = np.c_[held - centre, np.ones(len(held))] @ inner.T
    gram = inner @ inner.T
    rows, dense = np.unique(y, return_inverse=True)
    target = np.eye(len(rows))[dense]
    start, given = head.logits(x)[:, rows], head.logits(held)
    largest = float(np.linalg.eigvalsh(gram)[-1])
    step = 2.0 * len(x) / largest if largest > 0 else 0.0  # the softmax curves by 1/2 at most
    weights = ahead = np.zeros_like(target)
    counts = []
    for done in range(STEPS[-1] + 1):
        if done in STEPS:
            logits = given.copy()
            logits[:, rows] += outer @ weights
            counts.append(float((logits.argmax(axis=1) == wanted).sum()))
        slope = (softmax(start + gram @ ahead, axis=1) - target) / len(x)
        following = ahead - step * slope
        ahead = following + done / (done + 3) * (following - weights)
        weights = following
    return np.array(counts)


def reached(found: Sequence[Curve]) -> tuple[float, int, int] | None:
    """The highest accuracy that both starts reach, and the steps to it, delivered and random.

    None where there is no delivered start.
    """
    named = {curve.name: curve.accuracy for curve in found}
    if GENERATED not in named or RANDOM not in named:
        return None
    level = min(max(named[GENERATED]), max(named[RANDOM]))

    def steps(name: str) -> int:
        pairs = zip(STEPS, named[name], strict=True)
        return next(step for step, value in pairs if value >= level)

    return level, steps(GENERATED), steps(RANDOM)
