"""A delivered head seen from the plant: its scale, its fit, and the ways to train on from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.heads import (
    Floats,
    Ints,
    LinearHead,
    best_temperature,
    fit_lda,
    fit_logistic,
    log_loss,
    scaling,
)

RowIndex = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A delivered head whose centred logits have unit root mean square on local records.

    Attributes:
        head: The delivered head, scaled.
        rows: Seen classes, sorted.
    """

    head: LinearHead
    rows: NDArray[np.intp]


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


FitPart = Callable[[Floats, Ints, int, Floats], LinearHead]
"""(scaled features, labels in 0..K-1, K, delivered logits as offset) -> what is added to them."""


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """One way to train on from a delivered head: logits = s * delivered + local part.

    Attributes:
        name: For the manifest.
        scale: s; at 0 the delivered head is ignored.
        prior: Nats of evidence it must show beyond the default.
        fit: Fits the local part.
    """

    name: str
    scale: float
    prior: float
    fit: FitPart

    @property
    def unseen_scale(self) -> float:
        """Scale of the rows of classes without records; s, unless that is 0."""
        return self.scale or 1.0

    def part(self, features: Floats, labels: Ints, given: Floats) -> tuple[LinearHead, RowIndex]:
        """Fit the local part on records and their delivered logits ``[n, K]``.

        Returns:
            The part as a head on unscaled features, over the classes that occur, and these.
        """
        scaled = scaling(features)
        rows, dense = np.unique(labels, return_inverse=True)
        offset = self.scale * given[:, rows]
        head = self.fit(scaled.apply(features), dense.astype(np.int64), len(rows), offset)
        return scaled.unscale(head), rows


def _logistic(c: float) -> FitPart:
    return lambda x, y, classes, offset: fit_logistic(x, y, classes, c, offset)


def _lda(shrinkage: float) -> FitPart:
    return lambda x, y, classes, offset: fit_lda(x, y, classes, shrinkage)


RECIPES = (
    *(
        Recipe(f"logistic-{c}", s, p + q, _logistic(c))
        for c, p in ((0.003, 0.5), (0.03, 0.0), (0.3, 0.5))
        for s, q in ((0.0, 1.0), (0.7, 0.0), (1.5, 0.0), (3.0, 0.5))
    ),
    *(
        Recipe(f"lda-{shrinkage}", s, 0.5 + q, _lda(shrinkage))
        for shrinkage in (0.2, 0.5)
        for s, q in ((0.0, 1.0), (1.5, 0.0), (3.0, 0.0), (6.0, 0.5))
    ),
)
"""What cross-validation chooses from. The LDA part is fitted by itself: a product of experts."""
