"""The family of the zoo that a plant belongs to, where the operator has data of its kind.

Bayes' rule over the families of the zoo and "none of them". The evidence is the plant's mean and
its class deviations, each compared with how far sites of one family differ in the zoo and with how
far any two sites do, with the known noise of the releases; and the class names, which may be equal,
or mean the same in other words or another language (``prior.names``). Log likelihoods are tempered,
since coordinates are neither independent nor exactly normal. Domain shift (another camera or light)
can move a site's mean anywhere, so that the evidence against a family is bounded.

The networks and heads of a clear match (``share`` near 1) are delivered as they are: networks of
one base and one family average well, those of different families do not. Not guaranteed: that the
family is the right one. The plant tests what it gets on its own records.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

from wg_common.inference.posterior import Means
from wg_server.generator.prior.blup import SITE_RATIO, Priors
from wg_server.generator.prior.names import log_ratio

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHORTLIST = 12  # Entries whose families are compared exactly, the most promising ones
LIKELY = 0.5
"""Probability of a family from which on a plant is taken to belong to it."""
_TEMPER = 0.5  # Exponent of the likelihoods
_NAMES = 10.0
"""Log odds for a family with all of the plant's class names; with the square of their share."""
_COMMON = 3.0
"""Log odds less for each time that e times as many families have as many of these names."""
_SHIFT = 0.1
"""Prior probability that domain shift has made the mean of a same-family site like any site's."""
_OTHER_CLASSES = 1e-4
"""Prior probability that the classes of a same-family site are like any site's."""
_OTHER_CLASSES_SHIFTED = 0.1
"""The same where its mean has shifted, since what shifts the mean changes classes too."""
_MOST = 0.5  # Share of a plant's names above which an own family's names are the plant's
_RELATED = 0.5  # Prior probability that a plant is of some family of the zoo
_SAME_NAME = 1e3
"""Added to the log odds of a pair of classes with one name, so that it is matched first."""


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Tasks of the zoo among which the family is sought. E entries, R classes of all of them.

    Attributes:
        deviations: Class deviations of the entries' tasks, ``[R, d]``.
        entry: Number of the entry of each class, ascending, ``[R]``.
        names: Class names, R of them.
        centres: Tasks' means, ``[E, d]``.
        families: Family of each entry.
    """

    deviations: Floats
    entry: Ints
    names: tuple[str, ...]
    centres: Floats
    families: tuple[str, ...]

    @property
    def bounds(self) -> NDArray[np.intp]:
        """Number of each entry's first class, and of all classes, ``[E + 1]``."""
        return np.searchsorted(self.entry, np.arange(len(self.centres) + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How sites of the zoo differ, along the priors' eigenvectors.

    Attributes:
        mean: Mean of sites' means, ``[d]``.
        between: Their variance over all sites, ``[d]``.
        within: Their variance between sites of one family, ``[d]``.
        classes: Variance of a class's deviation between sites of one family, ``[d]``.
    """

    mean: Floats
    between: Floats
    within: Floats
    classes: Floats


@dataclass(frozen=True, slots=True, eq=False)
class FamilyMatch:
    """The family that a plant most likely belongs to. E entries of it.

    Attributes:
        share: Probability that the plant is of this family.
        entries: Numbers of its entries, ``[E]``.
        weights: Of the entries, sum 1, ``[E]``.
        matched: Row of the index for each of the plant's classes, ``[E, K]``.
    """

    share: float
    entries: Ints
    weights: Floats
    matched: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Plant:
    """What is observed of the plant, along the eigenvectors. K classes.

    Attributes:
        deviations: Of its classes, ``[K, d]``.
        noise: Variance of the noise on them, ``[K, d]``.
        centre: Its mean, ``[d]``.
        centre_noise: Variance of the noise on it, ``[d]``.
        usual: Variance of the deviation of any class, ``[d]``.
    """

    deviations: Floats
    noise: Floats
    centre: Floats
    centre_noise: Floats
    usual: Floats


def measure(entries: Entries, priors: Priors) -> Spread:
    """How much sites differ; where no family has two sites, a share of all variance stands in."""
    centres, deviations = entries.centres @ priors.basis, entries.deviations @ priors.basis
    starts = entries.bounds
    sites: dict[str, list[int]] = {}
    for number, family in enumerate(entries.families):
        sites.setdefault(family, []).append(number)
    within, classes = [], []
    for numbers in sites.values():
        class_names = entries.names[starts[numbers[0]] : starts[numbers[0] + 1]]
        peers = [n for n in numbers if entries.names[starts[n] : starts[n + 1]] == class_names]
        if len(peers) > 1:
            within.append(centres[peers].var(axis=0, ddof=1))
            stacked = np.stack([deviations[starts[n] : starts[n + 1]] for n in peers])
            classes.append(stacked.var(axis=0, ddof=1).mean(axis=0))
    between = centres.var(axis=0) + 1e-9
    return Spread(
        mean=centres.mean(axis=0),
        between=between,
        within=np.mean(within, axis=0) if within else SITE_RATIO * between,
        classes=np.mean(classes, axis=0) if classes else SITE_RATIO * priors.between,
    )


def match_family(
    entries: Entries,
    spread: Spread,
    priors: Priors,
    estimate: Means,
    labels: Sequence[str],
    *,
    without: Collection[int] = (),
) -> FamilyMatch | None:
    """The family that a plant most likely belongs to; None if no entry may be found.

    Args:
        spread: From ``measure``.
        labels: The plant's class names, K.
        without: Numbers of entries that may not be found.
    """
    usual = priors.between * (1 + SITE_RATIO)
    plant = _Plant(
        *_observed(estimate.deviations @ priors.basis, estimate.spread, usual),
        *_observed(estimate.centre @ priors.basis, estimate.centre_spread, priors.site),
        usual,
    )
    rows, centres = entries.deviations @ priors.basis, entries.centres @ priors.basis
    odds = _class_odds(plant, rows, spread)
    name_ratio, alike, share = _names_in_common(entries, labels)
    starts, gone = entries.bounds, set(without)
    names = _name_odds(entries, share, gone)
    rough = _TEMPER * np.maximum.reduceat(odds, starts[:-1], axis=1).sum(axis=0)
    rough = np.maximum(rough, np.log(_OTHER_CLASSES_SHIFTED))
    rough += np.maximum(_TEMPER * _mean_odds(plant, centres, spread), np.log(_SHIFT))
    rough += names
    rough[sorted(gone)] = -np.inf
    likely = [n for n in np.argsort(-rough, kind="stable")[:SHORTLIST] if n not in gone]
    if not likely:
        return None
    families = {entries.families[n] for n in likely}
    chosen = [n for n, f in enumerate(entries.families) if f in families and n not in gone]
    scores, matched = [], []
    for number in chosen:
        mine = np.arange(starts[number], starts[number + 1])
        pairs = mine[_assign(odds[:, mine] + np.minimum(name_ratio[:, mine], _SAME_NAME))]
        named = alike[np.arange(len(labels)), pairs]
        score = _compare(plant, spread, centres[number], rows[pairs], named, len(mine))
        scores.append(score + float(names[number]))
        matched.append(pairs)
    return _choose(entries, np.array(chosen), np.array(scores), np.array(matched), gone)


def match_own_first(
    entries: Entries,
    spread: Spread,
    priors: Priors,
    estimate: Means,
    labels: Sequence[str],
    *,
    own_entries: Collection[int],
    without: Collection[int] = (),
) -> FamilyMatch | None:
    """A plant's family among those of own records that have most of its names, or else among all.

    Rendered families are many and share their names, and no real plant is of one. Where names say
    nothing, they are what keeps a plant of another kind from an own family that is a little like
    it.

    Args:
        own_entries: Numbers of the entries of own records.
        without: As of ``match_family``, which has the other arguments.
    """
    arguments = (entries, spread, priors, estimate, labels)
    _, _, share = _names_in_common(entries, labels)
    named = {number for number in own_entries if share[number] > _MOST} - set(without)
    if named:
        family_match = match_family(*arguments, without=set(range(len(share))) - named)
        if family_match is not None and family_match.share >= LIKELY:
            return family_match
    return match_family(*arguments, without=without)


def _names_in_common(entries: Entries, labels: Sequence[str]) -> tuple[Floats, Floats, Floats]:
    """Log ratios that names mean the same, probabilities of it, and shares of names in common.

    The first two are ``[K, R]``; a share ``[E]`` is of the plant's names.
    """
    name_ratio = log_ratio(labels, entries.names)
    alike = np.where(name_ratio == 0, 0.0, expit(name_ratio))
    return name_ratio, alike, np.maximum.reduceat(alike, entries.bounds[:-1], axis=1).mean(axis=0)


def _compare(
    plant: _Plant, spread: Spread, centre: Floats, deviations: Floats, named: Floats, size: int
) -> float:
    """Log likelihood ratio of one entry's family, with or without domain shift.

    Args:
        centre: The entry's mean, ``[d]``.
        deviations: Deviations of its classes that are matched with the plant's, ``[K, d]``.
        named: Probability that each has the name of the plant's class, ``[K]``.
    """
    mean = deviations.mean(axis=0)
    plant_deviations = plant.deviations - plant.deviations.mean(axis=0)
    classes = _log_normal(plant_deviations, deviations - mean, spread.classes + plant.noise)
    classes -= _log_normal(
        plant_deviations, np.zeros_like(plant_deviations), plant.usual + plant.noise
    )
    # Pairs were chosen for their likelihood where names do not say which.
    chosen = float(np.log(np.arange(size, 0, -1)[: int((named < 0.5).sum())]).sum())
    likelihood = float(classes.sum()) - chosen
    site = float(_mean_odds(plant, (centre + mean)[None], spread)[0])
    share = float(named.mean())
    unshifted = (
        np.log1p(-_SHIFT) + _TEMPER * site + _class_evidence(likelihood, _OTHER_CLASSES, share)
    )
    shifted = np.log(_SHIFT) + _class_evidence(likelihood, _OTHER_CLASSES_SHIFTED, share)
    return float(np.logaddexp(unshifted, shifted))


def _class_evidence(likelihood: float, floor: float, named: float) -> float:
    """Log odds of a family from its classes: tempered, bounded below, and above 0 only by names.

    Pairs of classes that were found by search are no evidence for a family: of positive log odds
    the share counts that is matched by name.
    """
    odds = float(np.logaddexp(np.log1p(-floor) + _TEMPER * likelihood, np.log(floor)))
    return odds * named if odds > 0 else odds


def _name_odds(entries: Entries, share: Floats, gone: set[int]) -> Floats:
    """Log odds ``[E]`` from the share of the plant's class names: less if many families have it."""
    best: dict[str, float] = {}
    for number, family in enumerate(entries.families):
        if number not in gone:
            best[family] = max(best.get(family, 0.0), float(share[number]))
    families = (np.array(list(best.values()))[None] >= share[:, None]).sum(axis=1)
    odds = _NAMES * share**2 - _COMMON * np.log(np.maximum(families, 1))
    return np.asarray(np.maximum(odds, 0.0))


def _choose(
    entries: Entries, chosen: Ints, scores: Floats, matched: Ints, gone: set[int]
) -> FamilyMatch:
    """The most probable family: its likelihood is the mean over its sites."""
    of = np.array([entries.families[n] for n in chosen])
    names = sorted(set(of.tolist()))
    total = len({f for n, f in enumerate(entries.families) if n not in gone})
    top = max(float(scores.max()), 0.0)
    mass = np.array([np.exp(scores[of == name] - top).mean() for name in names])
    none = np.exp(-top) * total * (1 - _RELATED) / _RELATED
    best = int(np.argmax(mass))
    mine = of == names[best]
    # Entries whose classes were matched otherwise than the likeliest's cannot be averaged with it.
    called = np.array(entries.names)[matched]  # [E, K]
    mine &= (called == called[np.argmax(np.where(mine, scores, -np.inf))]).all(axis=1)
    weights = np.exp(scores[mine] - scores[mine].max())
    return FamilyMatch(
        share=float(mass[best] / (mass.sum() + none)),
        entries=chosen[mine],
        weights=weights / weights.sum(),
        matched=matched[mine],
    )


def _observed(mean: Floats, spread: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """The observation and its noise variance behind a posterior with a prior of mean zero."""
    variance = np.minimum(spread, 0.999 * prior)
    gain = prior / (prior - variance)
    return mean * gain, variance * gain


def _class_odds(plant: _Plant, rows: Floats, spread: Spread) -> Floats:
    """Log odds ``[K, R]`` that a class is that of a row, against any class."""
    deviations = plant.deviations
    near, far = spread.classes + plant.noise, plant.usual + plant.noise  # [K, d]
    square = (deviations**2 / near).sum(axis=1)[:, None] + (1 / near) @ (rows**2).T
    square -= 2 * (deviations / near) @ rows.T
    null = (deviations**2 / far + np.log(far) - np.log(near)).sum(axis=1)
    return np.asarray(-0.5 * square + 0.5 * null[:, None])


def _mean_odds(plant: _Plant, centres: Floats, spread: Spread) -> Floats:
    """Log odds ``[E]`` that the plant's mean is that of a site of each family, against any site."""
    noise = plant.centre_noise
    near = _log_normal(plant.centre, centres, spread.within + noise).sum(axis=1)
    far = _log_normal(plant.centre, spread.mean, spread.between + noise).sum()
    return np.asarray(near - far)


def _log_normal(value: Floats, mean: Floats, variance: Floats) -> Floats:
    return np.asarray(-0.5 * ((value - mean) ** 2 / variance + np.log(variance)))


def _assign(odds: Floats) -> Ints:
    """A row for each class: one each, and where rows are too few the likeliest again."""
    best = odds.argmax(axis=1)
    class_numbers, row_numbers = linear_sum_assignment(-odds)
    best[class_numbers] = row_numbers
    return np.asarray(best, dtype=np.int64)
