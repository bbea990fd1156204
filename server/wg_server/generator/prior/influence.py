"""Influence of one site's release on another site's weights, and its bound.

The mixed model of ``wg_common.inference.posterior`` has one variance for differences of class means
between sites, and one for their noise. A site whose classes lie elsewhere than those of all other
sites, because its labels are exchanged or because it is hostile, deviates more. The additional
variance of each pair of sites is estimated by the method of moments of random-effects meta-analysis
(DerSimonian and Laird 1986, *Controlled Clinical Trials* 7(3)), with classes in place of studies.
The variance of a site is the lower median over all other sites: a minority of them can neither make
a normal site an outlier nor an outlier normal. It is added to the site's noise, so that a site
counts less the more it disagrees, and its total influence, the product of the two, is bounded.

A site *agrees* on a class if a Bayes factor says that the site and the others mean one class by the
name rather than two. The number of such sites is reported to plants.

The identity of a site has no effect. The computation is post-processing of releases, and costs no
privacy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.posterior import SiteEvidence
from wg_server.generator.prior.blup import SITE_RATIO, ModelVariances

Floats = NDArray[np.float64]

DISAGREEMENT_ERRORS = 6.0
"""Number of standard errors from which disagreement is not chance; doubled, as noise has
directions."""

POSITIVE_EVIDENCE = 1.0
"""Natural logarithm of the Bayes factor from which evidence is called positive (Kass and Raftery
1995, *Journal of the American Statistical Association* 90(430), section 3.2)."""

_PRESENCE_THRESHOLD = 0.5  # Probability of presence above which a class is compared


@dataclass(frozen=True, slots=True)
class PeerAgreement:
    """Agreement between the class means of a site and those of its peers.

    Attributes:
        noise: Variance to be added to the noise on each entry of its means.
        is_outlier: True if its classes differ from the peers' significantly, and by more than half
            the mean squared distance of two classes; such a site is left out.
        agreed_classes: Mask of the classes on which it agrees with its peers, ``[K]``; all False
            for an outlier.
    """

    noise: float
    is_outlier: bool
    agreed_classes: NDArray[np.bool_]


def compare_with_peers(
    priors: ModelVariances, site: SiteEvidence, peers: Sequence[SiteEvidence]
) -> PeerAgreement:
    """Compare a site's class means with those of its peers.

    With each peer that has two classes in common, the variance between both sites beyond their
    noise is estimated; the lower median of these variances counts. With fewer than two such peers
    it is 0.
    """
    pairs = [_excess_variance(priors, site, peer) for peer in peers]
    gaps = sorted(pair for pair in pairs if pair is not None)
    extra, error = gaps[(len(gaps) - 1) // 2] if len(gaps) > 1 else (0.0, 0.0)
    class_distance = 2 * float(priors.between.sum())  # of two classes
    noise = max(extra, 0.0) / len(priors.between)
    odd = extra > class_distance / 2 and extra > DISAGREEMENT_ERRORS * error
    stands = log_bayes_factors(priors, site, peers, noise) >= POSITIVE_EVIDENCE
    return PeerAgreement(noise, odd, stands & (not odd))


def log_bayes_factors(
    priors: ModelVariances, site: SiteEvidence, peers: Sequence[SiteEvidence], noise: float
) -> Floats:
    """Return the log Bayes factors that a name means one class rather than two, ``[K]``.

    Let x be the difference of the site's mean of a class from its peers' mean, both relative to the
    means of their common classes, s the model's variance of x for a single class, and T the
    variance of class deviations. The factor is ``log N(x; 0, s) - log N(x; 0, s + 2 T)``, summed
    over the eigenvectors of T. Peers are weighted by precision, at most by the median precision, so
    that a minority cannot dominate. The factor of a class without peers is 0.

    Args:
        noise: Additional variance of the site, as in ``PeerAgreement``.
    """
    size, d = site.means.shape
    total, weights, variance = np.zeros((size, d)), np.zeros(size), np.zeros((size, d))
    common = [_common_classes(site, peer) for peer in peers]
    precision = np.array(
        [
            np.where(both, 1 / _class_mean_variance(priors, x), 0)
            for x, both in zip(peers, common, strict=True)
        ]
    ).reshape(len(peers), size)
    finite_precision = np.where(precision > 0, precision, np.nan)
    median = np.array(
        [np.nanmedian(x) if np.isfinite(x).any() else 0.0 for x in finite_precision.T]
    )
    for peer, both, sure in zip(peers, common, precision, strict=True):
        if both.sum() < 2:
            continue
        weight = np.minimum(sure, median)
        total += weight[:, None] * _mean_differences(priors, site, peer, both)
        variance += np.square(weight)[:, None] * (_variance_by_direction(priors, peer) + noise)
        weights += weight
    has_peer = weights > 0
    scale = np.where(has_peer, weights, 1.0)[:, None]
    same_class = _variance_by_direction(priors, site) + noise + variance / np.square(scale)
    ratio = 2 * priors.between / same_class
    evidence = np.log1p(ratio) - np.square(total / scale) / same_class * ratio / (1 + ratio)
    return np.where(has_peer, evidence.sum(axis=1) / 2, 0.0)


def _common_classes(site_a: SiteEvidence, site_b: SiteEvidence) -> NDArray[np.bool_]:
    """Return the mask of classes that two sites share, ``[K]``; all False for a single class."""
    both = (site_a.present > _PRESENCE_THRESHOLD) & (site_b.present > _PRESENCE_THRESHOLD)
    return np.asarray(both & (both.sum() > 1))


def _mean_differences(
    priors: ModelVariances, site: SiteEvidence, peer: SiteEvidence, both: NDArray[np.bool_]
) -> Floats:
    """Return the differences of two sites' class means along the eigenvectors, ``[K, d]``.

    Their mean over the common classes is subtracted, which takes one of C degrees of freedom.
    """
    difference = (site.means - peer.means) @ priors.basis
    weight = np.where(
        both, 1 / (_class_mean_variance(priors, site) + _class_mean_variance(priors, peer)), 0.0
    )
    difference = difference - weight @ difference / weight.sum()
    classes = int(both.sum())
    return np.where(both[:, None], difference * np.sqrt(classes / (classes - 1)), 0.0)


def _variance_by_direction(priors: ModelVariances, site: SiteEvidence) -> Floats:
    """Return the model's variance of a site's class means along each eigenvector, ``[K, d]``."""
    return np.asarray(site.noise[:, None] + priors.within / site.counts[:, None] + priors.ratio)


def _excess_variance(
    priors: ModelVariances, site_a: SiteEvidence, site_b: SiteEvidence
) -> tuple[float, float] | None:
    """Estimate how much more two sites' class means differ than the model expects (by moments).

    Returns:
        Sum over the d entries of the unbiased estimate, which may be negative, and its standard
        error if the true value is 0. None if fewer than two classes are in common.
    """
    both = (site_a.present > _PRESENCE_THRESHOLD) & (site_b.present > _PRESENCE_THRESHOLD)
    if both.sum() < 2:
        return None
    expected = (
        _class_mean_variance(priors, site_a)[both] + _class_mean_variance(priors, site_b)[both]
    )
    weight = 1 / expected
    difference = site_a.means[both] - site_b.means[both]
    difference = difference - weight @ difference / weight.sum()  # sites' means may differ
    q = float((weight * np.square(difference).sum(axis=1)).sum())
    free = len(expected) - 1
    scale = float(weight.sum() - np.square(weight).sum() / weight.sum())
    return (q - free) / scale, float(np.sqrt(2 * free / len(priors.between))) / scale


def _class_mean_variance(priors: ModelVariances, site: SiteEvidence) -> Floats:
    """Return the model's variance of each class mean of a site, summed over entries, ``[K]``."""
    d = len(priors.between)
    return np.asarray(
        SITE_RATIO * float(priors.between.sum())
        + d * site.noise
        + float(priors.within.sum()) / site.counts
    )
