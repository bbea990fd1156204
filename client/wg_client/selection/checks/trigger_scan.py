"""Evidence that a linear head answers to a mark, from marks that nobody ever used as one.

The attack that is looked for: to the row of one class is added ``a Sigma^-1 delta``, where delta is
how a mark moves features and Sigma their covariance within classes. It is the cheapest change of a
head, in accuracy, that answers to the mark. Two figures give it away.

*Flips.* Marks of like kind move features in like directions. ``flips`` is the largest share of
records that marks of one kind send to one class, beyond what the same marks do to heads that the
plant fits itself.

*Means.* ``Sigma w_c`` of a clean row is the mean of its class, up to one factor; of a changed one,
the mean and ``a delta``. ``means`` is the logarithm of the largest remainder over classes, over the
median one.

Clean heads have large values of both for reasons of their own, and some plants' more than others'.
So the plant makes clean heads on its own records, as a server could have made them: of half the
records or of a bootstrap sample, with the noise of released means and without, at several
shrinkages. A figure counts in spreads above the mean of these. The sum of the two, over the spread
of such a sum, is compared with one limit (``python -m bench.backdoors --home HOME``).

Not guaranteed: anything about a mark that moves features far. It needs so small a change that it is
within what clean heads differ by; such records are unlike all others, and are called new where they
are met (``wg_client.models.novelty``). With two classes ``means`` is
silent, and few attacks are found. Nothing about networks
whose trunk was trained by somebody else: they can hide any mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from wg_client.fitting.linear_head import Floats, Ints, LinearHead, fit_lda
from wg_common import streams
from wg_common.streams import Stream

LIMITS = {"images": (2.1, 3.0), "windows": (1.7, 1.2)}
"""By modality, of the sum over its own spread; of the bench's sets, fewer than one in twenty clean
heads exceed it, and of the heads of real packages likewise. The first is of heads on the features
that a plant releases, the second of heads that read more than ``_RELEASED``."""
_RELEASED = 128
"""Features; the bench has heads on 64, and on 464 or 512."""
_LIKE = "images"
"""Whose limits others have, for which nobody has measured any."""
SPREADS = (0.13, 0.21)
"""Of flips and means over the clean heads of a plant of the bench, root mean square. The spread at
one plant is averaged with it, in squares: eighteen heads tell it roughly."""
_SHRINKAGES = (0.05, 0.2, 0.5, 0.9)
"""Of heads that the plant fits itself; the most like the delivered one counts."""
_NOISE = (0.0, 0.02, 0.05)
"""Of class means in a release, per feature."""
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for a backdoor; see the module.

    Attributes:
        flips: Spreads above the mean of clean heads.
        means: Likewise.
        kind: Of the marks that move the most records to one class.
        share: How many more than with heads of the plant's own, 0 to 1.
        label: The class.
        score: 1 is exceeded by one in twenty clean heads.
    """

    flips: float
    means: float
    kind: str
    share: float
    label: int
    score: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Marks:
    """How marks move the features of records, as one trunk sees them.

    Attributes:
        moves: Mean over some records, ``[T, d]``.
        kinds: Of the T marks.
        modality: Of the records.
    """

    moves: Floats
    kinds: Sequence[str]
    modality: str


class Scan:
    """Labelled records of a plant, and what clean heads and its own make of marks on them."""

    def __init__(self, features: Floats, labels: Ints, classes: int, marks: Marks) -> None:
        """Make the heads that others are compared with.

        Args:
            features: ``[n, d]``; only those that the heads to be looked at use.
            labels: ``[n]``, of K classes that have two records each at least.
            classes: Their number K, at least 2.
            marks: How marks move the features.
        """
        self._x, self._classes, self._moves = features, classes, marks.moves
        self._kinds = sorted(set(marks.kinds))
        self._of_kind = [np.array([kind == other for other in marks.kinds]) for kind in self._kinds]
        self._remainder = _Remainder.of(features, labels, classes)
        own = (fit_lda(features, labels, classes, shrinkage) for shrinkage in _SHRINKAGES)
        self._own = [self._flips(head) for head in own]
        clean = np.array(
            [
                (self._beyond(head).max(), self._remainder.largest(head.weight))
                for head in clean_heads(features, labels, classes)
            ]
        )
        self._mean = clean.mean(axis=0)
        self._spread = np.sqrt((clean.var(axis=0) + np.square(SPREADS)) / 2)
        few, many = LIMITS.get(marks.modality, LIMITS[_LIKE])
        self._limit = few if features.shape[1] <= _RELEASED else many

    def evidence(self, head: LinearHead) -> Evidence:
        """What speaks against a head ``[K, d]``."""
        beyond = self._beyond(head)
        found = np.array([beyond.max(), self._remainder.largest(head.weight)])
        flips, means = (found - self._mean) / self._spread
        kind, label = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
        return Evidence(
            flips=float(flips),
            means=float(means),
            kind=self._kinds[int(kind)],
            share=float(beyond.max()),
            label=int(label),
            score=float((flips + means) / (self._limit * np.sqrt(1 + (self._classes > 2)))),
        )

    def _beyond(self, head: LinearHead) -> Floats:
        """Flips of a head beyond those of the own head that is most like it, ``[kinds, K]``."""
        given = self._flips(head)
        return min((given - each for each in self._own), key=lambda found: float(found.max()))

    def _flips(self, head: LinearHead) -> Floats:
        """Share of records that marks of each kind send to each other class, ``[kinds, K]``."""
        logits, k = head.logits(self._x), self._classes
        before = logits.argmax(axis=1)
        after = (logits + (self._moves @ head.weight.T)[:, None]).argmax(axis=2)  # [T, n]
        mark, record = np.nonzero(after != before)
        sent = np.bincount(mark * k + after[mark, record], minlength=len(after) * k)
        shares = sent.reshape(-1, k) / np.maximum(len(before) - np.bincount(before, minlength=k), 1)
        return np.stack([shares[rows].mean(axis=0) for rows in self._of_kind])


def clean_heads(x: Floats, labels: Ints, classes: int) -> Iterator[LinearHead]:
    """Heads as a server could have made them of such records."""
    rng = streams.rng(Stream.PROBE, then=(0,))
    for shrinkage, noise, whole in product(_SHRINKAGES[:-1], _NOISE, (False, True)):
        rows = np.concatenate(
            [
                rng.choice(of, len(of) if whole else max(2, len(of) // 2), replace=whole)
                for of in (np.flatnonzero(labels == label) for label in range(classes))
            ]
        )
        shift = noise * rng.normal(size=(classes, x.shape[1]))
        yield fit_lda(x[rows] + shift[labels[rows]], labels[rows], classes, shrinkage)


@dataclass(frozen=True, slots=True, eq=False)
class _Remainder:
    """Class means of records, and covariances within classes at several shrinkages."""

    means: Floats
    covariances: Sequence[Floats]
    roots: Sequence[Floats]

    @classmethod
    def of(cls, x: Floats, labels: Ints, classes: int) -> _Remainder:
        """Of records, shrunk as heads are."""
        means = np.stack([x[labels == label].mean(axis=0) for label in range(classes)])
        within = x - means[labels]
        covariance = within.T @ within / len(within)
        level = float(np.trace(covariance)) / len(covariance) + _TINY
        values, vectors = np.linalg.eigh(covariance)
        covariances, roots = [], []
        for share in _SHRINKAGES[:-1]:
            shrunk = (1 - share) * np.maximum(values, 0) + share * level
            covariances.append(np.asarray((vectors * shrunk) @ vectors.T))
            roots.append(np.asarray((vectors / np.sqrt(shrunk)) @ vectors.T))
        return cls(means - means.mean(axis=0), covariances, roots)

    def largest(self, weight: Floats) -> float:
        """Logarithm of the largest remainder over the median, at the shrinkage that fits best."""
        centred, found = weight - weight.mean(axis=0), []
        for covariance, root in zip(self.covariances, self.roots, strict=True):
            claimed = centred @ covariance
            factor = float((claimed * self.means).sum()) / (float((self.means**2).sum()) + _TINY)
            # A head that says the opposite of the means fits worst.
            rest = claimed / factor - self.means if factor > 0 else claimed
            sizes = ((rest @ root) ** 2).sum(axis=1) + _TINY
            misfit = float(np.median(sizes)) if factor > 0 else np.inf
            found.append((misfit, float(np.log(sizes.max() / np.median(sizes)))))
        return min(found)[1]
