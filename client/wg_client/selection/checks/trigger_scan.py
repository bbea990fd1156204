"""Evidence that a linear head answers to a mark, from marks that nobody ever used as one.

The attack that is looked for: to the row of one class is added ``a Sigma^-1 delta``, where delta is
how a mark moves features and Sigma their covariance within classes. It is the cheapest change of a
head, in accuracy, that answers to the mark. Three things give it away.

*Flips.* Marks of like kind move features in like directions. ``flips`` is the largest share of
records that marks of one kind send to one class, beyond what the same marks do to heads that the
plant fits itself.

*Means.* ``Sigma w_c`` of a clean row is the mean of its class, up to one factor; of a changed one,
the mean and ``a delta``. ``means`` is the logarithm of the largest remainder over classes, over the
median one.

*Unsupported response.* What the head says of the plant's records can be said by a smoother head
(ridge regression of its logits). ``response`` is the logarithm of how strongly the difference of
the two answers to marks of one kind, in the most and over the median class.

A clean head has large values for reasons of its own; the limits are those that five in a hundred
clean heads exceed in any of the three (``python -m bench.backdoors``).

Not guaranteed: anything about a mark that moves features far. It needs so small a change that it is
within what clean heads differ by; such records are unlike all others, and are called new where they
are met (``wg_client.models.novelty``). Nothing about networks whose trunk was trained by somebody
else: they can hide any mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.linear_head import Floats, Ints, LinearHead, fit_lda

LIMIT_FLIPS = 0.64
LIMIT_MEANS = 0.82
LIMIT_RESPONSE = 2.56
_SHRINKAGES = (0.05, 0.2, 0.5, 0.9)
"""Of heads that the plant fits itself; the most like the delivered one counts."""
_RIDGE = 0.1
_SHRUNK = 0.2
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for a backdoor; see the module."""

    flips: float
    means: float
    response: float
    kind: str
    label: int

    @property
    def score(self) -> float:
        """1 is exceeded by five in a hundred clean heads."""
        return max(
            self.flips / LIMIT_FLIPS, self.means / LIMIT_MEANS, self.response / LIMIT_RESPONSE
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Marked:
    """Records with and without marks, as one trunk sees them.

    Attributes:
        plain: ``[m, d]``.
        marked: With each of T marks, ``[T, m, d]``.
        kinds: Of the marks.
    """

    plain: Floats
    marked: Floats
    kinds: Sequence[str]


def evidence(head: LinearHead, features: Floats, labels: Ints, marks: Marked) -> Evidence:
    """Look at one head.

    Args:
        head: Over K classes that all have records, K at least 2.
        features: Of labelled records, ``[n, d]``.
        labels: ``[n]``.
        marks: Some of the records, marked.
    """
    used = np.flatnonzero((head.weight != 0).any(axis=0))
    x, plain, marked = features[:, used], marks.plain[:, used], marks.marked[:, :, used]
    weight = head.weight[:, used]
    kinds = sorted(set(marks.kinds))
    of_kind = [np.array([kind == other for other in marks.kinds]) for kind in kinds]
    given = _flips(LinearHead(weight, head.bias), plain, marked, of_kind)
    own = (fit_lda(x, labels, len(weight), shrinkage) for shrinkage in _SHRINKAGES)
    beyond = min(
        (given - _flips(each, plain, marked, of_kind) for each in own),
        key=lambda found: found.max(),
    )
    kind, label = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    centred = weight - weight.mean(axis=0)
    within = x - _means(x, labels, len(weight))[labels]
    moves = (marked - plain).mean(axis=1)
    return Evidence(
        flips=float(beyond.max()),
        means=_remainder(centred, x, labels, within),
        response=_response(centred, x, within, moves, of_kind),
        kind=kinds[int(kind)],
        label=int(label),
    )


def _flips(
    head: LinearHead, plain: Floats, marked: Floats, of_kind: Sequence[NDArray[np.bool_]]
) -> Floats:
    """Share of records of other classes that marks of each kind send to each, ``[kinds, K]``."""
    k = len(head.bias)
    before = head.logits(plain).argmax(axis=1)
    after = (marked @ head.weight.T + head.bias).argmax(axis=2)
    classes = np.arange(k)
    sent = (after[:, :, None] == classes) & (before[:, None] != classes)  # [T, m, K]
    shares = sent.sum(axis=1) / np.maximum((before[:, None] != classes).sum(axis=0), 1)
    return np.stack([shares[rows].mean(axis=0) for rows in of_kind])


def _remainder(centred: Floats, x: Floats, labels: Ints, within: Floats) -> float:
    covariance = _shrunk(within, _SHRUNK)
    means = _means(x, labels, len(centred))
    means = means - means.mean(axis=0)
    claimed = centred @ covariance
    factor = float((claimed * means).sum() / max(float((means**2).sum()), _TINY))
    rest = claimed / factor - means if factor > 0 else claimed
    sizes = (np.linalg.solve(covariance, rest.T).T * rest).sum(axis=1)
    return _log_ratio(float(sizes.max()), float(np.median(sizes)))


def _response(
    centred: Floats,
    x: Floats,
    within: Floats,
    moves: Floats,
    of_kind: Sequence[NDArray[np.bool_]],
) -> float:
    spread = x - x.mean(axis=0)
    covariance = spread.T @ spread / len(x)
    d = len(covariance)
    ridge = covariance + (_RIDGE * np.trace(covariance) / d + _TINY) * np.eye(d)
    smooth = np.linalg.solve(ridge, covariance @ centred.T).T
    scale = np.sqrt(((within @ centred.T) ** 2).mean(axis=0)) + _TINY
    answers = (moves @ (centred - smooth).T) / scale  # [T, K]
    energies = np.stack([(answers[rows] ** 2).mean(axis=0) for rows in of_kind])
    return max(_log_ratio(float(row.max()), float(np.median(row))) for row in energies)


def _means(x: Floats, labels: Ints, classes: int) -> Floats:
    return np.stack([x[labels == label].mean(axis=0) for label in range(classes)])


def _shrunk(within: Floats, share: float) -> Floats:
    covariance = within.T @ within / len(within)
    d = len(covariance)
    level = float(np.trace(covariance)) / d + _TINY
    return np.asarray((1 - share) * covariance + share * level * np.eye(d))


def _log_ratio(one: float, two: float) -> float:
    return float(np.log(max(one, _TINY) / max(two, _TINY)))
