"""Bound on the influence of one site's release on the weights of other sites.

The mixed model of ``wg_common.inference.posterior`` has one variance for differences of class means
between sites, and one for their noise. A site deviates more than these variances allow if its class
means lie elsewhere than those of all other sites, because its labels are exchanged or because it is
hostile. For each pair of sites, the excess variance is estimated by the method of moments of
random-effects meta-analysis (DerSimonian and Laird 1986, *Controlled Clinical Trials* 7(3)), with
classes in place of studies. The extra variance of a site is the lower median over its pairs: a
minority of sites can neither make a normal site an outlier nor an outlier normal. This variance
is added to the site's noise, so that a site has the less weight the more it disagrees, and its
influence (deviation times weight) is bounded.

A site *agrees* on a class if a Bayes factor favours that the site and its peers mean the same class
by the name. The number of such sites is reported to plants.

The identity of a site has no effect. The computation is post-processing of releases, and costs no
privacy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.posterior import SiteEvidence
from wg_server.generator.prior.blup import SITE_VARIANCE_RATIO, ModelVariances

Floats = NDArray[np.float64]

DISAGREEMENT_STANDARD_ERRORS = 6.0
"""Number of standard errors beyond which disagreement is not chance; twice the usual three,
because noise differs between directions."""

POSITIVE_LOG_BAYES_FACTOR = 1.0
"""Natural logarithm of the Bayes factor from which evidence is called positive (Kass and Raftery
1995, *Journal of the American Statistical Association* 90(430), section 3.2)."""

_PRESENCE_THRESHOLD = 0.5  # Probability of presence above which a class is compared


@dataclass(frozen=True, slots=True)
class PeerAgreement:
    """Agreement between the class means of a site and those of its peers.

    Attributes:
        extra_variance: Variance to be added to the noise on each entry of the site's class means.
        is_outlier: True if the class means differ significantly from those of peers, and by more
            than half the mean squared distance of two classes; such a site is left out.
        agreed_classes: Mask of the classes on which the site agrees with its peers, ``[K]``; all
            False for an outlier.
    """

    extra_variance: float
    is_outlier: bool
    agreed_classes: NDArray[np.bool_]


def compare_with_peers(
    priors: ModelVariances, site: SiteEvidence, peers: Sequence[SiteEvidence]
) -> PeerAgreement:
    """Compare a site's class means with those of its peers (other sites).

    The excess variance of a pair is the part of the squared differences between their class means
    that the model's variances and noise do not explain. The site's extra variance is the lower
    median of its excess variances with each peer that has at least two classes in common; it is 0
    if that median is negative, or with fewer than two such peers.
    """
    pairs = [_excess_variance_and_error(priors, site, peer) for peer in peers]
    gaps = sorted(pair for pair in pairs if pair is not None)
    extra, error = gaps[(len(gaps) - 1) // 2] if len(gaps) > 1 else (0.0, 0.0)
    class_distance = 2 * float(priors.between.sum())  # of two classes
    noise = max(extra, 0.0) / len(priors.between)
    odd = extra > class_distance / 2 and extra > DISAGREEMENT_STANDARD_ERRORS * error
    stands = log_bayes_factors(priors, site, peers, noise) >= POSITIVE_LOG_BAYES_FACTOR
    return PeerAgreement(noise, odd, stands & (not odd))


def log_bayes_factors(
    priors: ModelVariances, site: SiteEvidence, peers: Sequence[SiteEvidence], extra_variance: float
) -> Floats:
    """Return, for each class name, the log Bayes factor that site and peers mean the same, ``[K]``.

    Let x be the difference between the site's and the peers' mean of a class, both relative to the
    means of their common classes; s the model's variance of x for the same class; and T the
    variance of class deviations. The log factor is ``log N(x; 0, s) - log N(x; 0, s + 2 T)``,
    summed over the eigenvectors of T. Peers are weighted by precision, at most by the median
    precision, so that a minority cannot dominate. The log factor of a class without peers is 0.

    Args:
        extra_variance: Additional variance of the site, as in ``PeerAgreement``.
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
        variance += np.square(weight)[:, None] * (
            _variance_by_direction(priors, peer) + extra_variance
        )
        weights += weight
    has_peer = weights > 0
    scale = np.where(has_peer, weights, 1.0)[:, None]
    same_class = _variance_by_direction(priors, site) + extra_variance + variance / np.square(scale)
    ratio = 2 * priors.between / same_class
    evidence = np.log1p(ratio) - np.square(total / scale) / same_class * ratio / (1 + ratio)
    return np.where(has_peer, evidence.sum(axis=1) / 2, 0.0)


def _common_classes(site_a: SiteEvidence, site_b: SiteEvidence) -> NDArray[np.bool_]:
    """Return the mask of classes that two sites share, ``[K]``; all False if there is only one."""
    both = (site_a.presence_probabilities > _PRESENCE_THRESHOLD) & (
        site_b.presence_probabilities > _PRESENCE_THRESHOLD
    )
    return np.asarray(both & (both.sum() > 1))


def _mean_differences(
    priors: ModelVariances,
    site: SiteEvidence,
    peer: SiteEvidence,
    common_classes: NDArray[np.bool_],
) -> Floats:
    """Return the differences of two sites' class means along the eigenvectors, ``[K, d]``.

    Their weighted mean over the C common classes (mask ``common_classes``) is subtracted, and they
    are scaled by sqrt(C / (C - 1)) for the lost degree of freedom. Differences of other classes are
    0.
    """
    difference = (site.means - peer.means) @ priors.basis
    weight = np.where(
        common_classes,
        1 / (_class_mean_variance(priors, site) + _class_mean_variance(priors, peer)),
        0.0,
    )
    difference = difference - weight @ difference / weight.sum()
    classes = int(common_classes.sum())
    return np.where(common_classes[:, None], difference * np.sqrt(classes / (classes - 1)), 0.0)


def _variance_by_direction(priors: ModelVariances, site: SiteEvidence) -> Floats:
    """Return the model's variance of a site's class means along each eigenvector, ``[K, d]``."""
    return np.asarray(
        site.noise_variances[:, None] + priors.within / site.record_counts[:, None] + priors.ratio
    )


def _excess_variance_and_error(
    priors: ModelVariances, site_a: SiteEvidence, site_b: SiteEvidence
) -> tuple[float, float] | None:
    """Estimate the variance between two sites' class means beyond the model's, by moments.

    Returns:
        Unbiased estimate, summed over the d entries, which may be negative, and its standard error
        if the true value is 0. None if the sites have fewer than two classes in common.
    """
    both = (site_a.presence_probabilities > _PRESENCE_THRESHOLD) & (
        site_b.presence_probabilities > _PRESENCE_THRESHOLD
    )
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
        SITE_VARIANCE_RATIO * float(priors.between.sum())
        + d * site.noise_variances
        + float(priors.within.sum()) / site.record_counts
    )
