"""Leave-class-out: how classes without local records would fare, measured on those with some.

Each seen class in turn is treated as if it had no records: the others are trained without it, it
keeps its delivered row. A common bias, and the loss of a mixture of m left-out records and 1 - m
others at that bias, follow; ``finetune`` says what they are for.

With fewer than three seen classes none can be left out. Then the recall of the seen ones by the
head *as delivered* stands in (docs/decisions/0090).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, softmax

from wg_client.fitting.delivered import Origin, Recipe, local_parts
from wg_client.fitting.folds import Folds
from wg_client.fitting.linear_head import Floats, Ints

SHAPED = 0.7
"""Share h of the recall of left-out classes that counts, but for what is completed at the plant."""

_BIASES = np.concatenate([[-50.0], np.linspace(-10, 10, 81)])
"""Biases of unseen classes that are tried; the first means that they are never predicted."""
_SMALL = 500
"""Records up to which leave-class-out uses every fold and eight classes; beyond, one and four."""


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """What leave-class-out found under one recipe.

    Attributes:
        loss: Nats a record that unseen classes cost, at the best bias.
        bias: The best bias of unseen classes.
        recalls: Recall of each class when left out.
        lost: Accuracy on the other classes lost to the left-out one.
    """

    loss: float
    bias: float
    recalls: Floats
    lost: float

    @classmethod
    def none(cls) -> LeftOut:
        """Without unseen classes, or with too few seen ones to leave one out."""
        return cls(0.0, 0.0, np.zeros(0), 0.0)


def as_delivered(delivered: Floats, final: Floats, labels: Ints) -> LeftOut:
    """What a head that does not know local records says of them, and what the final one loses.

    Args:
        delivered: Logits of the head as delivered, over all declared classes, ``[n, K]``.
        final: Those of the final one.
        labels: ``[n]``.
    """
    seen = np.unique(labels)
    right = delivered.argmax(axis=1) == labels
    recalls = np.array([right[labels == label].mean() for label in seen])
    among = seen[final[:, seen].argmax(axis=1)] == labels
    lost = float(np.mean(among & ~np.isin(final.argmax(axis=1), seen)))
    return LeftOut(0.0, 0.0, recalls, lost)


def leave_out(
    origin: Origin,
    features: Floats,
    labels: Ints,
    folds: Folds,
    recipes: Sequence[Recipe],
    unseen_mass: float,
) -> list[LeftOut]:
    """Treat each seen class in turn as unseen, under each recipe."""
    small = len(labels) <= _SMALL
    tried = np.unique(labels)
    limit = 8 if small else 4
    if len(tried) > limit:
        tried = tried[np.linspace(0, len(tried) - 1, limit).round().astype(np.intp)]
    count = folds.count if small else 1
    tries = [
        _one_left_out(origin, features, labels, folds, recipes, label, count) for label in tried
    ]
    return [
        _summary([tried for tried in of_recipe if tried is not None], unseen_mass)
        for of_recipe in zip(*tries, strict=True)
    ]


def _summary(parts: list[_Part], unseen_mass: float) -> LeftOut:
    """What leaving out each of some classes says about a recipe."""
    if not parts:
        return LeftOut.none()
    losses = np.array([part.losses(unseen_mass) for part in parts]).mean(axis=0)
    best = int(np.argmin(losses))
    # What the other classes lose without any competition is in the folds' score already.
    base = float(np.mean([(1 - unseen_mass) * part.alone for part in parts]))
    recalls = np.array([part.recall(_BIASES[best]) for part in parts])
    lost = float(np.mean([part.lost(_BIASES[best]) for part in parts]))
    return LeftOut(float(losses[best]) - base, float(_BIASES[best]), recalls, lost)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One class left out: log odds against it, and how the others fared without it.

    Attributes:
        own: For its records: its logit minus the log-sum-exp of the seen classes' logits.
        own_margin: For its records: its logit minus the largest seen one.
        other: For the others' held-out records: as ``own``.
        other_margin: As ``own_margin``.
        right: Which of the others were right without it.
        chance: Probability of the true class of the others without it.
    """

    own: Floats
    own_margin: Floats
    other: Floats
    other_margin: Floats
    right: NDArray[np.bool_]
    chance: Floats

    @property
    def alone(self) -> float:
        """Mean log loss of the others without it."""
        return float(np.mean(_robust(self.chance)))

    def losses(self, unseen_mass: float) -> Floats:
        """Log loss of the mixture at each bias, ``[len(_BIASES)]``."""
        own = expit(self.own[:, None] + _BIASES)
        other = self.chance[:, None] * expit(-(self.other[:, None] + _BIASES))
        mixed: Floats = unseen_mass * _robust(own).mean(axis=0) + (1 - unseen_mass) * _robust(
            other
        ).mean(axis=0)
        return mixed

    def recall(self, bias: float) -> float:
        """Share of the left-out class that is predicted as such."""
        return float(np.mean(self.own_margin + bias > 0))

    def lost(self, bias: float) -> float:
        """Share of the others that were right, and are predicted as the left-out class."""
        return float(np.mean(self.right & (self.other_margin + bias > 0)))


def _robust(chance: Floats) -> Floats:
    """Log loss with 5 % of even odds between two answers."""
    return -np.log(0.95 * chance + 0.025)


def _one_left_out(
    origin: Origin,
    features: Floats,
    labels: Ints,
    folds: Folds,
    recipes: Sequence[Recipe],
    label: int,
    count: int,
) -> list[_Part | None]:
    found: list[list[tuple[Floats, Floats, Floats, Floats, NDArray[np.bool_], Floats]]]
    found = [[] for _ in recipes]
    for fold in range(count):
        held = folds.assignment[0] == fold
        train = ~held & (labels != label)
        rest = held & (labels != label)
        mine = labels == label if count == 1 else held & (labels == label)
        if not train.any() or not rest.any():
            continue
        given = origin(features[train], labels[train]).logits(features)
        parts, rows = local_parts(recipes, features[train], labels[train], given[train])
        truth = rows[None, :] == labels[rest][:, None]
        for recipe, part, kept in zip(recipes, parts, found, strict=True):
            seen = recipe.scale * given[:, rows] + part.logits(features)
            mark = recipe.unseen_scale * given[:, label]
            odds, margin = mark - logsumexp(seen, axis=1), mark - seen.max(axis=1)
            kept.append(
                (
                    odds[mine],
                    margin[mine],
                    odds[rest],
                    margin[rest],
                    rows[seen[rest].argmax(axis=1)] == labels[rest],
                    (softmax(seen[rest], axis=1) * truth).sum(axis=1),
                )
            )
    return [
        _Part(*(np.concatenate(columns) for columns in zip(*kept, strict=True)))
        if sum(len(row[0]) for row in kept)
        else None
        for kept in found
    ]
