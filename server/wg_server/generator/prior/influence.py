"""How far one site's release can move another site's weights.

The mixed model of ``wg_common.inference.posterior`` has a variance for how class means of sites
differ, and one for the noise on them. A site whose classes lie elsewhere than those of all others,
because its labels are exchanged or because it is hostile, differs by more. For each pair of sites
the additional variance is estimated by the method of moments of random-effects meta-analysis
(DerSimonian and Laird 1986, *Controlled Clinical Trials* 7(3)), with a class in place of a study.
A site's own is the lower median over all other sites: fewer than half of them can neither make a
site look odd nor an odd site look usual. It is added to the site's noise, so that a site counts
less the more it disagrees, and its pull, the product of both, is bounded.

A site *stands behind* a class if a Bayes factor says that the site and the others mean one class by
the name rather than two. How many sites do is said to plants.

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

POSITIVE = 1.0
"""Natural logarithm of the Bayes factor from which on evidence is called positive (Kass and Raftery
1995, *Journal of the American Statistical Association* 90(430), section 3.2)."""

_THERE = 0.5  # Probability above which a class is compared


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a site's classes with those of its peers.

    Attributes:
        noise: Variance to be added to the noise on each entry of its means.
        odd: Whether its classes are, beyond chance, as far from the peers' as classes are from each
            other: it is to be left out.
        behind: Classes that it stands behind, ``[K]``; none for an odd site.
    """

    noise: float
    odd: bool
    behind: NDArray[np.bool_]


def agreement(priors: Priors, site: SiteEvidence, peers: Sequence[SiteEvidence]) -> Agreement:
    """Hold a site against its peers: by the lower median of the pairs with two classes in common.

    With fewer than two such peers nothing can be told.
    """
    pairs = [_excess_variance(priors, site, peer) for peer in peers]
    gaps = sorted(pair for pair in pairs if pair is not None)
    extra, error = gaps[(len(gaps) - 1) // 2] if len(gaps) > 1 else (0.0, 0.0)
    class_distance = 2 * float(priors.between.sum())  # of two classes
    noise = max(extra, 0.0) / len(priors.between)
    odd = extra > class_distance / 2 and extra > SURE * error
    stands = log_bayes_factors(priors, site, peers, noise) >= POSITIVE
    return Agreement(noise, odd, stands & (not odd))


def log_bayes_factors(
    priors: Priors, site: SiteEvidence, peers: Sequence[SiteEvidence], noise: float
) -> Floats:
    """Weigh that a site and its peers mean one class by a name against that they mean two, ``[K]``.

    With x the difference of the site's mean of a class from its peers', both about the means of the
    classes that they have in common, s its variance by the model if the class is one, and T that of
    class deviations: ``log N(x; 0, s) - log N(x; 0, s + 2 T)``, summed over the eigenvectors of T.
    Peers count by their precision, but none by more than the median one: fewer than half of them
    cannot speak for all. 0 for a class that no peer has.

    Args:
        noise: Variance by which the site disagrees with the peers in general, as of ``Agreement``.
    """
    size, d = site.means.shape
    total, weights, variance = np.zeros((size, d)), np.zeros(size), np.zeros((size, d))
    common = [_common_classes(site, peer) for peer in peers]
    precision = np.array(
        [np.where(both, 1 / _variance(priors, x), 0) for x, both in zip(peers, common, strict=True)]
    ).reshape(len(peers), size)
    finite_precision = np.where(precision > 0, precision, np.nan)
    median = np.array(
        [np.nanmedian(x) if np.isfinite(x).any() else 0.0 for x in finite_precision.T]
    )
    for peer, both, sure in zip(peers, common, precision, strict=True):
        if both.sum() < 2:
            continue
        weight = np.minimum(sure, median)
        total += weight[:, None] * _difference(priors, site, peer, both)
        variance += np.square(weight)[:, None] * (_directions(priors, peer) + noise)
        weights += weight
    has_peer = weights > 0
    scale = np.where(has_peer, weights, 1.0)[:, None]
    same_class = _directions(priors, site) + noise + variance / np.square(scale)
    ratio = 2 * priors.between / same_class
    evidence = np.log1p(ratio) - np.square(total / scale) / same_class * ratio / (1 + ratio)
    return np.where(has_peer, evidence.sum(axis=1) / 2, 0.0)


def _common_classes(site_a: SiteEvidence, site_b: SiteEvidence) -> NDArray[np.bool_]:
    """Classes that both sites have, ``[K]``; none if there is but one."""
    both = (site_a.present > _THERE) & (site_b.present > _THERE)
    return np.asarray(both & (both.sum() > 1))


def _difference(
    priors: Priors, site: SiteEvidence, peer: SiteEvidence, both: NDArray[np.bool_]
) -> Floats:
    """Differences of two sites' class means along the eigenvectors, ``[K, d]``.

    They are about the mean difference over common classes, which takes one of C degrees of freedom.
    """
    difference = (site.means - peer.means) @ priors.basis
    weight = np.where(both, 1 / (_variance(priors, site) + _variance(priors, peer)), 0.0)
    difference = difference - weight @ difference / weight.sum()
    classes = int(both.sum())
    return np.where(both[:, None], difference * np.sqrt(classes / (classes - 1)), 0.0)


def _directions(priors: Priors, site: SiteEvidence) -> Floats:
    """Variance that the model has for each class mean along each eigenvector, ``[K, d]``."""
    return np.asarray(site.noise[:, None] + priors.within / site.counts[:, None] + priors.ratio)


def _excess_variance(
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
