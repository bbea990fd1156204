"""A delivered head seen from the plant: its scale, its fit, and the ways to train on from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.linear_head import (
    Floats,
    Ints,
    LinearHead,
    best_temperature,
    fit_lda,
    log_loss,
    scaling,
)
from wg_client.fitting.logistic import fit_logistics
from wg_common.inference.discriminants import centred

RowIndex = NDArray[np.intp]


Origin = Callable[[Floats, Ints], LinearHead]
"""(features, labels) of training records -> the head over all K classes that they train on from.

Without any record: the head as delivered.
"""


def fixed(head: LinearHead) -> Origin:
    """The origin of a head that no local record changes."""
    return lambda features, labels: head


def normalised(origin: Origin) -> Origin:
    """The same, with centred logits of unit root mean square on the training records."""

    def scaled(features: Floats, labels: Ints) -> LinearHead:
        head = origin(features, labels)
        weight, bias = centred(head.weight, head.bias)
        size = float(np.sqrt(np.mean((features @ weight.T + bias) ** 2)))
        return LinearHead(weight, bias).scaled(1.0 / size if size > 1e-9 else 0.0)

    return scaled


def delivered_loss(head: LinearHead, features: Floats, labels: Ints) -> float:
    """Log loss in nats of a delivered head on local records, at its best temperature."""
    logits = head.logits(features)
    return float(log_loss(logits * best_temperature(logits, labels), labels).sum())


LOGISTIC = "logistic"
LDA = "lda"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to train on from a delivered head: logits = s * delivered + local part.

    Attributes:
        kind: Of the local part: ``LOGISTIC``, fitted around s * delivered, or ``LDA``, fitted by
            itself: a product of experts.
        strength: C, or the shrinkage.
        scale: s; at 0 the delivered head is ignored.
        prior: Nats of evidence it must show beyond the default.
    """

    kind: str
    strength: float
    scale: float
    prior: float

    @property
    def name(self) -> str:
        """For the manifest."""
        return f"{self.kind}-{self.strength:g}"

    @property
    def unseen_scale(self) -> float:
        """Scale of the rows of classes without records; s, unless that is 0."""
        return self.scale or 1.0


RECIPES = (
    *(
        Recipe(LOGISTIC, c, s, p + q)
        for c, p in ((0.003, 0.5), (0.03, 0.0), (0.3, 0.5))
        for s, q in ((0.0, 1.0), (0.7, 0.0), (1.5, 0.0), (3.0, 0.5))
    ),
    *(
        Recipe(LDA, shrinkage, s, 0.5 + q)
        for shrinkage in (0.2, 0.5)
        for s, q in ((0.0, 1.0), (1.5, 0.0), (3.0, 0.0), (6.0, 0.5))
    ),
)
"""What cross-validation chooses from."""


def local_parts(
    recipes: Sequence[Recipe], features: Floats, labels: Ints, given: Floats
) -> tuple[list[LinearHead], RowIndex]:
    """Fit the local parts of recipes on records ``[n, d]`` and their delivered logits ``[n, K]``.

    Returns:
        Each part as a head on unscaled features, over the classes that occur, and these.
    """
    scaled = scaling(features)
    rows, found = np.unique(labels, return_inverse=True)
    x, dense = scaled.apply(features), found.astype(np.int64)
    logistic = [recipe for recipe in recipes if recipe.kind == LOGISTIC]
    fitted = iter(
        fit_logistics(
            x,
            dense,
            len(rows),
            [recipe.strength for recipe in logistic],
            [recipe.scale * given[:, rows] for recipe in logistic],
        )
    )
    shrinkages = {recipe.strength for recipe in recipes if recipe.kind == LDA}
    # The same at every scale.
    discriminants = {s: fit_lda(x, dense, len(rows), s) for s in sorted(shrinkages)}
    heads = [
        next(fitted) if recipe.kind == LOGISTIC else discriminants[recipe.strength]
        for recipe in recipes
    ]
    return [scaled.unscale(head) for head in heads], rows
