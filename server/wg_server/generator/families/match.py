"""The family of the zoo that a plant is of, if the operator has data of this kind of plant.

Bayes' rule over families and "none of them". What speaks for a family are the site's mean and its
class deviations, each against how far sister sites of one family lie apart in the zoo and against
what any plant may look like, with the known noise of the releases; and the class names. A new
camera can move a site's mean anywhere, so evidence against a family is bounded.

Of whole networks, a clear match lets the family's networks carry all (``share`` near 1):
networks of one base and one family average well, those of different families do not. Not
guaranteed: that a family found by its names and its light is the right one; the plant tests what it
gets on its own records.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from wg_server.generator.prior.blup import SITE_RATIO, Prediction, Priors

Floats = NDArray[np.float64]

LOOKED_AT = 12
"""Entries that are compared exactly, the most promising ones."""
_TEMPER = 0.5
"""Weight of each nat: coordinates are not independent, nor exactly normal."""
_NAMES = 10.0
"""Nats of a family that has all of the plant's class names; with the square of their share."""
_COMMON = 3.0
"""Nats off for each time that e times as many families have as many of these names."""
_MOVED = 0.1
"""Probability that a new camera or another light has made a sister's mean like any plant's."""
_OTHERWISE = 1e-4
"""Probability that a sister's classes are like any plant's."""
_TURNED = 0.1
"""The same where its mean has been moved: what moves the mean turns classes too."""
WORTH = 0.05
"""Probability of a move from which on weights that have seen other cameras go first: they cost a
point or two where the camera is the same, and are worth many where it is not (decisions/0089)."""
_RELATED = 0.5
"""Probability that a plant is of some family of the zoo, before anything is known."""
_SAME = 1e3


class RetrievalIndex(Protocol):
    """Tasks of the zoo among which kin is looked for. E entries, R classes of all of them."""

    @property
    def deviations(self) -> Floats:
        """Class deviations of the entries' tasks, ``[R, d]``."""

    @property
    def entry(self) -> NDArray[np.int64]:
        """Number of the entry of each class, ascending, ``[R]``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, R of them."""

    @property
    def centres(self) -> Floats:
        """Tasks' means, ``[E, d]``."""

    @property
    def families(self) -> tuple[str, ...]:
        """Family of each entry."""


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How entries of a shelf differ, along the priors' eigenvectors.

    Attributes:
        mean: Mean of sites' means, ``[d]``.
        between: Their variance over families, ``[d]``.
        within: Their variance between sister sites, ``[d]``.
        classes: Variance of a class's deviation between sister sites, ``[d]``.
    """

    mean: Floats
    between: Floats
    within: Floats
    classes: Floats


@dataclass(frozen=True, slots=True, eq=False)
class FamilyMatch:
    """The family that a plant is most likely of. E entries of it.

    Attributes:
        share: Probability that the plant is of this family.
        moved: If it is: probability that another camera or light has moved its mean.
        entries: Numbers of its entries, ``[E]``.
        weights: Of the entries, sum 1, ``[E]``.
        matched: Row of the shelf for each of the plant's classes, ``[E, K]``.
    """

    share: float
    moved: float
    entries: NDArray[np.int64]
    weights: Floats
    matched: NDArray[np.int64]

    def mean(self, values: NDArray[np.generic]) -> Floats:
        """Weighted mean over entries of something of theirs, ``[E, ...]``."""
        return np.asarray(np.tensordot(self.weights, values.astype(np.float64), axes=1))


def measure(retrieval_index: RetrievalIndex, priors: Priors) -> Spread:
    """How far sister sites of the zoo lie apart; where it has none, a share of all variance."""
    centres, deviations = (
        retrieval_index.centres @ priors.basis,
        retrieval_index.deviations @ priors.basis,
    )
    within, classes = [], []
    starts = np.searchsorted(retrieval_index.entry, np.arange(len(centres) + 1))
    sites: dict[str, list[int]] = {}
    for number, family in enumerate(retrieval_index.families):
        sites.setdefault(family, []).append(number)
    for numbers in sites.values():
        first = retrieval_index.names[starts[numbers[0]] : starts[numbers[0] + 1]]
        same = [n for n in numbers if retrieval_index.names[starts[n] : starts[n + 1]] == first]
        if len(same) > 1:
            within.append(centres[same].var(axis=0, ddof=1))
            stacked = np.stack([deviations[starts[n] : starts[n + 1]] for n in same])
            classes.append(stacked.var(axis=0, ddof=1).mean(axis=0))
    between = centres.var(axis=0) + 1e-9
    return Spread(
        mean=centres.mean(axis=0),
        between=between,
        within=np.mean(within, axis=0) if within else SITE_RATIO * between,
        classes=np.mean(classes, axis=0) if classes else SITE_RATIO * priors.between,
    )


def match_family(
    retrieval_index: RetrievalIndex,
    spread: Spread,
    priors: Priors,
    estimate: Prediction,
    labels: Sequence[str],
    *,
    without: Collection[int] = (),
) -> FamilyMatch | None:
    """The family that a plant is most likely of; None where the shelf has nothing to offer.

    Args:
        retrieval_index: Where to look.
        spread: Of this shelf.
        priors: Of class deviations, and the coordinates.
        estimate: T-BLUP's prediction for the plant.
        labels: The plant's class names, K.
        without: Numbers of entries that may not be found.
    """
    usual = priors.between * (1 + SITE_RATIO)
    seen, noise = _observed(estimate.deviations @ priors.basis, estimate.spread, usual)
    centre, centre_noise = _observed(
        estimate.centre @ priors.basis, estimate.centre_spread, priors.site
    )
    rows = retrieval_index.deviations @ priors.basis
    pairs = _pairs(seen, noise, rows, spread.classes, usual)  # [K, R]
    place: dict[str, list[int]] = {name: [] for name in labels}
    for number, name in enumerate(retrieval_index.names):
        if name in place:
            place[name].append(number)
    same = np.zeros(pairs.shape, dtype=bool)
    for row, name in enumerate(labels):
        same[row, place[name]] = True
    starts = np.searchsorted(retrieval_index.entry, np.arange(len(retrieval_index.centres) + 1))
    centres = retrieval_index.centres @ priors.basis
    gone = set(without)
    rough = _TEMPER * np.maximum.reduceat(pairs, starts[:-1], axis=1).sum(axis=0)
    rough = np.maximum(rough, np.log(_TURNED))
    rough += np.maximum(_TEMPER * _odds(centre, centre_noise, centres, spread), np.log(_MOVED))
    names = _names(
        retrieval_index, np.maximum.reduceat(same, starts[:-1], axis=1).mean(axis=0), gone
    )
    rough += names
    rough[sorted(gone)] = -np.inf
    chosen = [n for n in np.argsort(-rough, kind="stable")[:LOOKED_AT] if n not in gone]
    if not chosen:
        return None
    family_of = {retrieval_index.families[n] for n in chosen}
    chosen = [n for n, f in enumerate(retrieval_index.families) if f in family_of and n not in gone]
    scores, matched, moves = [], [], []
    for number in chosen:
        mine = np.arange(starts[number], starts[number + 1])
        best = _match(pairs[:, mine] + _SAME * same[:, mine])
        matched.append(mine[best])
        away = rows[matched[-1]]
        mean = centres[number] + away.mean(axis=0)
        own = seen - seen.mean(axis=0)
        free = ~same[np.arange(len(labels)), matched[-1]]
        classes = _log_normal(own, away - away.mean(axis=0), spread.classes + noise)
        classes -= _log_normal(own, np.zeros_like(own), usual + noise)
        guessed = float(np.log(np.arange(len(mine), 0, -1)[: int(free.sum())]).sum())
        site = float(_odds(centre, centre_noise, mean[None], spread)[0])
        likeness = float(classes.sum()) - guessed
        shared = float((~free).mean())
        there = np.log1p(-_MOVED) + _TEMPER * site + _told(likeness, _OTHERWISE, shared)
        elsewhere = np.log(_MOVED) + _told(likeness, _TURNED, shared)
        either = float(np.logaddexp(there, elsewhere))
        moves.append(float(np.exp(elsewhere - either)))
        scores.append(either + float(names[number]))
    return _choose(
        retrieval_index, np.array(chosen), np.array(scores), np.array(matched), moves, gone
    )


def _names(retrieval_index: RetrievalIndex, share: Floats, gone: set[int]) -> Floats:
    """Nats ``[E]`` for a share of the plant's class names: few where many families have them."""
    best: dict[str, float] = {}
    for number, family in enumerate(retrieval_index.families):
        if number not in gone:
            best[family] = max(best.get(family, 0.0), float(share[number]))
    all_shares = np.array(list(best.values()))
    families = (all_shares[None] >= share[:, None]).sum(axis=1)
    nats = _NAMES * share**2 - _COMMON * np.log(np.maximum(families, 1))
    return np.asarray(np.maximum(nats, 0.0))


def _choose(
    retrieval_index: RetrievalIndex,
    chosen: NDArray[np.int64],
    scores: Floats,
    matched: NDArray[np.int64],
    moves: Sequence[float],
    gone: set[int],
) -> FamilyMatch:
    """The family with the largest probability: the mean over its sites of their likelihood."""
    of = np.array([retrieval_index.families[n] for n in chosen])
    names = sorted(set(of.tolist()))
    total = len({f for n, f in enumerate(retrieval_index.families) if n not in gone})
    top = max(float(scores.max()), 0.0)
    mass = np.array([np.exp(scores[of == name] - top).mean() for name in names])
    none = np.exp(-top) * total * (1 - _RELATED) / _RELATED
    best = int(np.argmax(mass))
    mine = of == names[best]
    weights = np.exp(scores[mine] - scores[mine].max())
    return FamilyMatch(
        share=float(mass[best] / (mass.sum() + none)),
        moved=float(weights @ np.array(moves)[mine] / weights.sum()),
        entries=chosen[mine],
        weights=weights / weights.sum(),
        matched=matched[mine],
    )


def _observed(mean: Floats, spread: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """Observation and its noise variance that a posterior of a zero-mean prior stands for."""
    left = np.minimum(spread, 0.999 * prior)
    gain = prior / (prior - left)
    return mean * gain, left * gain


def _pairs(seen: Floats, noise: Floats, rows: Floats, same: Floats, usual: Floats) -> Floats:
    """Log odds ``[K, R]`` that a class is that of a row, against any class."""
    near, far = same + noise, usual + noise  # [K, d]
    square = (seen**2 / near).sum(axis=1)[:, None] + (1 / near) @ (rows**2).T
    square -= 2 * (seen / near) @ rows.T
    null = (seen**2 / far + np.log(far) - np.log(near)).sum(axis=1)
    return np.asarray(-0.5 * square + 0.5 * null[:, None])


def _odds(centre: Floats, noise: Floats, centres: Floats, spread: Spread) -> Floats:
    """Log odds ``[E]`` that a site's mean is that of a sister of each, against any site's."""
    near = _log_normal(centre, centres, spread.within + noise).sum(axis=1)
    return np.asarray(near - _log_normal(centre, spread.mean, spread.between + noise).sum())


def _log_normal(value: Floats, mean: Floats, variance: Floats) -> Floats:
    return np.asarray(-0.5 * ((value - mean) ** 2 / variance + np.log(variance)))


def _match(likeness: Floats) -> NDArray[np.int64]:
    """A row for each class: one each, and where rows are too few the likeliest again."""
    best = likeness.argmax(axis=1)
    one, two = linear_sum_assignment(-likeness)
    best[one] = two
    return np.asarray(best, dtype=np.int64)


def _told(likeness: float, floor: float, shared: float) -> float:
    """Nats that classes speak for a family.

    What a search among pairs of classes has found speaks for nobody: of likeness counts the share
    of classes that are matched by name.
    """
    nats = _bounded(likeness, floor)
    return nats * shared if nats > 0 else nats


def _bounded(nats: float, floor: float) -> float:
    """Tempered log odds; a sister looks like any plant with a probability of ``floor``."""
    return float(np.logaddexp(np.log1p(-floor) + _TEMPER * nats, np.log(floor)))
