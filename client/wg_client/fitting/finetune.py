"""Local training that starts at delivered weights and can always walk away from them.

The delivered head enters with a scale s, beside a local part: either a logistic regression with
the delivered logits as an offset, whose penalty pulls towards them, or linear discriminants
fitted by themselves, whose log odds add to the delivered ones. At s = 0 the delivered head is
ignored. Cross-validation chooses among these recipes with a prior (design: generator, "measured
ourselves").

Classes without local records are not trained: a softmax over the seen classes only is fitted, and
the unseen classes keep their delivered rows, at the same scale, with one common bias. How they
would do is measured by *leave-class-out*: each seen class in turn is treated as if it had no
records. With m the share of unseen classes that the acceptance policy declares, recipe and
bias minimise the log loss of a mixture: m of left-out records, 1 - m of the others. It is an
optimistic figure: the left-out class did shape the statistics that the delivered head was made
from, and one class less competes with it. ``acceptance`` counts a part of the recall for that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.delivered import RECIPES, Origin, Recipe, local_parts, normalised
from wg_client.fitting.folds import Folds, select
from wg_client.fitting.leave_class_out import SHAPED, LeftOut, as_delivered, leave_out
from wg_client.fitting.linear_head import NEVER, Floats, Ints, LinearHead
from wg_client.fitting.local_models import Fitted


@dataclass(frozen=True, slots=True, eq=False)
class Finetuned:
    """A fine-tuned model.

    Attributes:
        fitted: The head and its out-of-fold predictions among the seen classes.
        recalls: Leave-class-out recall of each seen class that was tried; empty if none was.
        lost: Accuracy on seen classes lost to the unseen ones, by leave-class-out.
        counts: Share of the recalls that counts (docs/decisions/0090, 0091).
        blended: Whether the head is averaged with local-only's.
    """

    fitted: Fitted
    recalls: Floats
    lost: float
    counts: float = SHAPED
    blended: bool = False


def fit_finetuned(
    origin: Origin,
    features: Floats,
    labels: Ints,
    folds: Folds,
    *,
    unseen_mass: float,
) -> Finetuned:
    """Train on from a head on the plant's records.

    Args:
        origin: Of K classes; ``delivered.fixed`` for a delivered head.
        features: Float64 ``[n, d]`` of labelled records, n at least 1.
        labels: ``[n]``.
        folds: From ``folds.stratified``.
        unseen_mass: Share m of future records that belong to classes without local records.
    """
    delivered, origin = origin, normalised(origin)
    start = origin(features, labels)
    seen = np.unique(labels)
    unseen = np.setdiff1d(np.arange(len(start.bias)), seen)

    def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[Floats]:
        results: list[Floats] = []
        head = origin(features[train], labels[train])
        parts, rows = local_parts(
            RECIPES, features[train], labels[train], head.logits(features[train])
        )
        given = head.logits(features[held])
        for recipe, part in zip(RECIPES, parts, strict=True):
            # Classes seen at the plant but not in this fold keep their delivered rows; classes
            # that the plant has never seen are judged by leave-class-out, not here.
            logits = recipe.unseen_scale * given
            logits[:, rows] = recipe.scale * given[:, rows] + part.logits(features[held])
            logits[:, unseen] = NEVER
            results.append(logits)
        return results

    prior = np.array([recipe.prior for recipe in RECIPES])
    recipe, left_out = RECIPES[int(np.argmin(prior))], LeftOut.none()
    predictions = np.full(folds.assignment.shape, -1, dtype=np.int64)
    losses = np.zeros(folds.assignment.shape)
    factor, held_logits = 1.0, None
    held_out: Callable[[int, int], LinearHead] | None = None
    if folds.usable:
        trials = [LeftOut.none()] * len(RECIPES)
        if len(unseen) and len(seen) > 2:
            trials = leave_out(origin, features, labels, folds, RECIPES, unseen_mass)
        prior = prior + len(labels) * np.array([trial.loss for trial in trials])
        selection = select(predict, labels, folds, prior)
        predictions, losses = selection.predictions, selection.record_losses
        held_logits = selection.logits
        recipe, left_out = RECIPES[selection.chosen], trials[selection.chosen]
        factor = float(selection.factors[selection.chosen])

        def without(repeat: int, fold: int) -> LinearHead:
            train = folds.assignment[repeat] != fold
            choice = selection.choices[repeat, fold]
            x, y = features[train], labels[train]
            head = _final(origin(x, y), x, y, RECIPES[choice], 0.0)
            return head.scaled(selection.factors[choice])

        held_out = without
    head = _final(start, features, labels, recipe, left_out.bias)
    if folds.usable and len(unseen) and len(seen) <= 2:
        # Before any local record has moved it: a head around these would know them by that alone.
        before = delivered(features[:0], labels[:0]).logits(features)
        left_out = as_delivered(before, head.logits(features), labels)
    settings = {
        "local_part": recipe.name,
        "offset_scale": repr(recipe.scale),
        "unseen_bias": f"{left_out.bias:.4g}",
    }
    fitted = Fitted(head, predictions, losses, settings, factor, held_out, held_logits)
    return Finetuned(fitted, left_out.recalls, left_out.lost)


def _final(
    start: LinearHead, features: Floats, labels: Ints, recipe: Recipe, bias: float
) -> LinearHead:
    (part,), rows = local_parts((recipe,), features, labels, start.logits(features))
    weight = recipe.unseen_scale * start.weight
    constant = recipe.unseen_scale * start.bias + bias
    weight[rows] = recipe.scale * start.weight[rows] + part.weight
    constant[rows] = recipe.scale * start.bias[rows] + part.bias
    return LinearHead(weight, constant)
