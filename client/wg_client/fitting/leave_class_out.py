"""Leave-class-out: how classes without local records would fare, measured on those with some.

Each seen class in turn is treated as if it had no records: a model is fitted without it, and asked
for the records of this class and for held-out ones of the others. ``of_learners`` does so around a
base head, whose row the class keeps: a common bias of unseen classes, and the log loss of a mixture
of m records of the class left out and 1 - m others at that bias, follow. ``of_refits`` does so for
a model that needs no row and no bias.

With fewer than three seen classes none can be left out. Then the recall of the seen ones by the
head *as delivered* stands in (``of_delivered``; docs/decisions/0090).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, softmax

from wg_client.fitting.folds import Folds
from wg_client.fitting.learners import Learner, fit_parts
from wg_client.fitting.linear_head import Floats, Ints, LinearHead

SHAPED = 0.7
"""Share of the recall of classes left out that came true of delivered heads, on real data."""

_BIASES = np.concatenate([[-50.0], np.linspace(-10, 10, 81)])
"""Biases of unseen classes that are tried; the first means that they are never predicted."""
_CLASSES = 8
"""Classes that are left out in turn, at most."""
_SMALL, _FEW = 500, 4
"""Records beyond which a base head's learners leave out fewer classes, on one fold."""

BaseHead = Callable[[Floats, Ints], LinearHead]
"""(features, labels) of training records -> the head over all K classes that they train on from.

Without any record: the head as delivered.
"""
Mask = NDArray[np.bool_]


def _nothing() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False)
class LeaveClassOut:
    """What leave-class-out found; as it is made without arguments, nothing was tried.

    Attributes:
        loss: Nats a record that unseen classes cost, at the best bias.
        bias: The best bias of unseen classes.
        recalls: Recall of each class when left out.
        accuracy_cost: Accuracy on the other classes lost to the class left out.
        recall_weight: Share of the recalls that counts (docs/decisions/0090, 0091).
    """

    loss: float = 0.0
    bias: float = 0.0
    recalls: Floats = field(default_factory=_nothing)
    accuracy_cost: float = 0.0
    recall_weight: float = SHAPED


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """One class left out at one fold: masks ``[n]`` of labelled records."""

    label: int
    train: Mask
    own: Mask
    others: Mask


def _splits(labels: Ints, folds: Folds, limit: int, count: int) -> Iterator[list[_Split]]:
    """For each of ``limit`` seen classes its splits at ``count`` folds.

    At one fold all records of the class are asked for, since none was trained on.
    """
    tried = np.unique(labels)
    chosen = np.linspace(0, len(tried) - 1, min(limit, len(tried))).round().astype(np.intp)
    for label in tried[chosen]:
        own, splits = labels == label, []
        for fold in range(count):
            held = folds.assignment[0] == fold
            asked = own if count == 1 else held & own
            splits.append(_Split(label, ~held & ~own, asked, held & ~own))
        yield splits


def of_delivered(
    delivered: Floats, final: Floats, labels: Ints, recall_weight: float = SHAPED
) -> LeaveClassOut:
    """What a head that does not know local records says of them, and what the final one loses.

    Args:
        delivered: Logits of the head as delivered, over all declared classes, ``[n, K]``.
        final: Those of the final one.
        labels: ``[n]``.
        recall_weight: See ``LeaveClassOut``.
    """
    seen = np.unique(labels)
    right = delivered.argmax(axis=1) == labels
    recalls = class_means(right, labels)
    among = seen[final[:, seen].argmax(axis=1)] == labels
    cost = float(np.mean(among & ~np.isin(final.argmax(axis=1), seen)))
    return LeaveClassOut(recalls=recalls, accuracy_cost=cost, recall_weight=recall_weight)


def class_means(values: NDArray[np.generic], labels: Ints) -> Floats:
    """Mean of values ``[n]`` over the records of each seen class."""
    return np.array([values[labels == label].mean() for label in np.unique(labels)])


def of_refits(
    refit: Callable[[Mask], LinearHead],
    features: Floats,
    labels: Ints,
    folds: Folds,
    recall_weight: float,
) -> LeaveClassOut:
    """Leave classes out of a model that is fitted without them as with them.

    Args:
        refit: Fits the model on some labelled records.
        features: ``[n, d]`` of labelled records; three seen classes at least.
        labels: ``[n]``.
        folds: Of the labelled records; one fold is used.
        recall_weight: See ``LeaveClassOut``.
    """
    recalls, costs = [], []
    for (split,) in _splits(labels, folds, _CLASSES, 1):
        logits = refit(split.train).logits(features)
        taken = logits.argmax(axis=1) == split.label
        recalls.append(float(taken[split.own].mean()))
        masked = logits.copy()
        masked[:, split.label] = -np.inf
        lost = (masked.argmax(axis=1) == labels) & taken
        costs += [float(lost[split.others].mean())] if split.others.any() else []
    cost = float(np.mean(costs)) if costs else 0.0
    return LeaveClassOut(0.0, 0.0, np.array(recalls), cost, recall_weight)


def of_learners(
    base: BaseHead,
    features: Floats,
    labels: Ints,
    folds: Folds,
    learners: Sequence[Learner],
    unseen_mass: float,
) -> list[LeaveClassOut]:
    """Leave classes out of what each learner makes of a base head."""
    limit, count = (_CLASSES, folds.count) if len(labels) <= _SMALL else (_FEW, 1)
    tries = [
        _asked(base, features, labels, learners, splits)
        for splits in _splits(labels, folds, limit, count)
    ]
    return [
        _summary([part for part in of_learner if part is not None], unseen_mass)
        for of_learner in zip(*tries, strict=True)
    ]


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
    right: Mask
    chance: Floats

    def losses(self, unseen_mass: float) -> Floats:
        """Log loss of the mixture at each bias, ``[len(_BIASES)]``."""
        own = expit(self.own[:, None] + _BIASES)
        other = self.chance[:, None] * expit(-(self.other[:, None] + _BIASES))
        mixed: Floats = unseen_mass * _robust(own).mean(axis=0) + (1 - unseen_mass) * _robust(
            other
        ).mean(axis=0)
        return mixed


def _robust(chance: Floats) -> Floats:
    """Log loss with 5 % of even odds between two answers."""
    return -np.log(0.95 * chance + 0.025)


def _summary(parts: Sequence[_Part], unseen_mass: float) -> LeaveClassOut:
    """What leaving out each of some classes says about a learner."""
    if not parts:
        return LeaveClassOut()
    losses = np.array([part.losses(unseen_mass) for part in parts]).mean(axis=0)
    best = int(np.argmin(losses))
    bias = float(_BIASES[best])
    # What the other classes lose without any competition is in the folds' score already.
    alone = [(1 - unseen_mass) * float(np.mean(_robust(part.chance))) for part in parts]
    recalls = np.array([float(np.mean(part.own_margin + bias > 0)) for part in parts])
    costs = [float(np.mean(part.right & (part.other_margin + bias > 0))) for part in parts]
    return LeaveClassOut(
        float(losses[best]) - float(np.mean(alone)), bias, recalls, float(np.mean(costs))
    )


def _asked(
    base: BaseHead,
    features: Floats,
    labels: Ints,
    learners: Sequence[Learner],
    splits: Sequence[_Split],
) -> list[_Part | None]:
    """One class left out, under each learner; None where no split has records to ask for."""
    found: list[list[tuple[Floats, ...]]] = [[] for _ in learners]
    for split in splits:
        train, own, others = split.train, split.own, split.others
        if not train.any() or not others.any():
            continue
        given = base(features[train], labels[train]).logits(features)
        parts, rows = fit_parts(learners, features[train], labels[train], given[train])
        truth = rows[None, :] == labels[others][:, None]
        for learner, part, kept in zip(learners, parts, found, strict=True):
            seen = learner.scale * given[:, rows] + part.logits(features)
            mark = learner.unseen_scale * given[:, split.label]
            odds, margin = mark - logsumexp(seen, axis=1), mark - seen.max(axis=1)
            right = rows[seen[others].argmax(axis=1)] == labels[others]
            chance = (softmax(seen[others], axis=1) * truth).sum(axis=1)
            kept.append((odds[own], margin[own], odds[others], margin[others], right, chance))
    return [
        _Part(*(np.concatenate(columns) for columns in zip(*kept, strict=True)))
        if sum(len(row[0]) for row in kept)
        else None
        for kept in found
    ]
