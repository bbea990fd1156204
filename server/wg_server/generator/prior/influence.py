"""How far one site's release can move another site's weights.

The mixed model of ``wg_common.inference.posterior`` has a variance for how class means of sites
differ, and one for the noise on them. A site whose classes lie elsewhere than those of all others,
because its labels are exchanged or because it is hostile, differs by more. For each pair of sites
the additional variance is estimated by the method of moments of random-effects meta-analysis
(DerSimonian and Laird 1986, *Controlled Clinical Trials* 7(3)), with a class in place of a study.
A site's own is the lower median over all other sites: fewer than half of them can neither make a
site look odd nor an odd site look usual. It is added to the site's noise, so that a site counts
less the more it disagrees, and its pull, the product of both, is bounded.

The identity of a site plays no part. All of this is post-processing of releases, and free.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.posterior import SiteEvidence
from wg_server.generator.prior.blup import SITE_RATIO, Priors

Floats = NDArray[np.float64]

SURE = 6.0
"""Standard errors from which on disagreement is not chance; doubled, as noise has directions."""

_THERE = 0.5  # Probability above which a class is compared


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far a site's classes are those of its peers.

    Attributes:
        noise: Variance to be added to the noise on each entry of its means.
        odd: Whether its classes are, beyond chance, as far from the peers' as classes are from each
            other: it is to be left out.
    """

    noise: float
    odd: bool


def agreement(priors: Priors, site: SiteEvidence, peers: Sequence[SiteEvidence]) -> Agreement:
    """Hold a site against its peers: by the lower median of the pairs with two classes in common.

    With fewer than two such peers nothing can be told.
    """
    pairs = [_beyond(priors, site, peer) for peer in peers]
    gaps = sorted(pair for pair in pairs if pair is not None)
    extra, error = gaps[(len(gaps) - 1) // 2] if len(gaps) > 1 else (0.0, 0.0)
    class_distance = 2 * float(priors.between.sum())  # of two classes
    return Agreement(
        max(extra, 0.0) / len(priors.between), extra > class_distance / 2 and extra > SURE * error
    )


def _beyond(
    priors: Priors, site_a: SiteEvidence, site_b: SiteEvidence
) -> tuple[float, float] | None:
    """Variance of class deviations between two sites beyond the model (moment estimate).

    Returns:
        Summed over the d entries: the unbiased estimate, which may be negative, and its standard
        error if the true value is 0. None if fewer than two classes are in common.
    """
    both = (site_a.present > _THERE) & (site_b.present > _THERE)
    if both.sum() < 2:
        return None
    expected = _variance(priors, site_a)[both] + _variance(priors, site_b)[both]
    weight = 1 / expected
    difference = site_a.means[both] - site_b.means[both]
    difference = difference - weight @ difference / weight.sum()  # sites' means may differ
    q = float((weight * np.square(difference).sum(axis=1)).sum())
    free = len(expected) - 1
    scale = float(weight.sum() - np.square(weight).sum() / weight.sum())
    return (q - free) / scale, float(np.sqrt(2 * free / len(priors.between))) / scale


def _variance(priors: Priors, site: SiteEvidence) -> Floats:
    """Variance that the model has for each class mean, summed over all entries, ``[K]``."""
    d = len(priors.between)
    return np.asarray(
        SITE_RATIO * float(priors.between.sum())
        + d * site.noise
        + float(priors.within.sum()) / site.counts
    )
