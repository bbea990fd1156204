"""How far one site's release can move another site's weights.

The model of ``wg_common.inference.posterior`` knows how much class means of sites differ, and what
noise is on them. A site whose classes lie elsewhere than everybody else's, exchanged labels for
one, has a variance that the model does not know of. It is estimated, for each pair of sites, by
what their class deviations differ beyond what noise and model explain (DerSimonian and Laird 1986,
*Controlled Clinical Trials* 7(3), with one study a class); of a site it is the lower median over
all others, so that fewer than half of them cannot make a site look odd, or an odd one agree. It is
added to the site's noise: the more a site disagrees with the others, the less it counts, and the
product of both, its pull, is bounded (``docs/decisions/0120``).

Nothing here looks at who a site is. Everything is post-processing of releases, and free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.posterior import SiteEvidence
from wg_server.generator.prior.blup import SITE_RATIO, Priors

Floats = NDArray[np.float64]

FEWEST = 3
"""Sites, the plant itself among them, of whom fewer say nothing about who is odd."""

SURE = 6.0
"""Standard errors above which what disagrees is no chance; doubled, since noise has directions."""

_THERE = 0.5
"""Probability above which a class is compared."""


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """Evidence of the other sites, as much as it counts.

    Attributes:
        others: Evidence of those that are used.
        used: Their numbers among the other sites.
        odd: Numbers of those that are left out.
    """

    others: tuple[SiteEvidence, ...]
    used: tuple[int, ...]
    odd: tuple[int, ...]


def weighed(priors: Priors, own: SiteEvidence, others: Sequence[SiteEvidence]) -> Weighed:
    """Evidence of other sites with the variance that all speak of added to their noise.

    A site whose classes are surely as far from the others' as classes are from each other says
    nothing of them, and is left out.

    Args:
        priors: Public second moments.
        own: The plant itself, whose evidence is compared and stays as it is.
        others: The other sites.
    """
    sites = [own, *others]
    every = tuple(range(len(others)))
    if sum(bool((site.present > _THERE).any()) for site in sites) < FEWEST:
        return Weighed(tuple(others), every, ())
    d = len(priors.between)
    apart = 2 * float(priors.between.sum())  # of two classes
    found, odd = [], []
    for number, site in enumerate(others):
        pairs = [_beyond(priors, site, each) for i, each in enumerate(sites) if i != number + 1]
        known = [pair for pair in pairs if pair is not None]
        extra, error = sorted(known)[(len(known) - 1) // 2] if len(known) > 1 else (0.0, 0.0)
        if extra > apart / 2 and extra > SURE * error:
            odd.append(number)
        found.append(replace(site, noise=site.noise + max(extra, 0.0) / d))
    used = tuple(number for number in every if number not in odd)
    return Weighed(tuple(found[number] for number in used), used, tuple(odd))


def _beyond(priors: Priors, one: SiteEvidence, two: SiteEvidence) -> tuple[float, float] | None:
    """Variance of class deviations between two sites that the model does not explain.

    Returns:
        Summed over the d entries: an estimate without bias, so that it may be negative, and its
        standard error where there is none. None if fewer than two classes are in common.
    """
    both = (one.present > _THERE) & (two.present > _THERE)
    if both.sum() < 2:
        return None
    expected = _variance(priors, one)[both] + _variance(priors, two)[both]
    weight = 1 / expected
    away = one.means[both] - two.means[both]
    away = away - weight @ away / weight.sum()  # where sites lie is another matter
    q = float((weight * np.square(away).sum(axis=1)).sum())
    free = len(expected) - 1
    scale = float(weight.sum() - np.square(weight).sum() / weight.sum())
    return (q - free) / scale, float(np.sqrt(2 * free / len(priors.between))) / scale


def _variance(priors: Priors, site: SiteEvidence) -> Floats:
    """Variance of each class mean about the site's mean and the class's, over all entries, [K]."""
    d = len(priors.between)
    own = SITE_RATIO * float(priors.between.sum())
    return np.asarray(own + d * site.noise + float(priors.within.sum()) / site.counts)
