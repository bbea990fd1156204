"""T-BLUP: the best linear prediction of class means from the noisy statistics of several sites.

Model, coordinate by coordinate in the eigenbasis of the between-class covariance T::

    mean of class k at site m = g_m + delta_k + eta_mk,   delta ~ N(0, T),   eta ~ N(0, ratio * T)
    observed = mean + noise,   noise variance = (dp / n^2 + within / n) / P(present)

The mixed-model equations (Henderson 1975) give g and delta at once; a class that the site itself
has never seen is filled from the other sites. The head is linear discriminant analysis with the
public within-class covariance; class deviations are brought to nearly equal length, since noise
shrinks rare classes more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_server.generator.evidence import SiteEvidence

Floats = NDArray[np.float64]

SITE_RATIO = 0.3
_EIGENVALUE_FLOOR = 0.25
_RIDGE = 2.0
_EVEN = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Priors:
    """Second moments of public data, fitted without the families that they are used on.

    Attributes:
        basis: Eigenvectors of T in columns, ``[d, d]``.
        between: Its eigenvalues, raised and with the trace kept, ``[d]``.
        within: Within-class variance along each eigenvector, ``[d]``.
        site: Variance of sites' means along each eigenvector, ``[d]``.
        whitener: Inverse of the ridged within-class covariance, ``[d, d]``.
        scale: Typical length of a discriminant row, by which heads are normalised.
    """

    basis: Floats
    between: Floats
    within: Floats
    site: Floats
    whitener: Floats
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What T-BLUP makes of the evidence.

    Attributes:
        centre: The site's own mean, ``[d]``.
        deviations: Class deviations from it, ``[K, d]``, before lengths are evened.
        variance: Mean posterior variance of their entries, ``[K]``.
        weight: Rows of the head, ``[K, d]``, centred over classes, mean length 1.
        bias: Of ``features - centre``, ``[K]``.
        spread: Posterior variance of deviations along each eigenvector, ``[K, d]``.
        centre_spread: That of the site's mean, ``[d]``.
    """

    centre: Floats
    deviations: Floats
    variance: Floats
    weight: Floats
    bias: Floats
    spread: Floats
    centre_spread: Floats


def fit_priors(
    features: Sequence[NDArray[np.floating]], labels: Sequence[NDArray[np.int64]]
) -> Priors:
    """Fit priors on public tasks.

    Args:
        features: One ``[n, d]`` a task.
        labels: One ``[n]`` a task.
    """
    within, between, centres = [], [], []
    for x, y in zip(features, labels, strict=True):
        classes = int(y.max()) + 1
        hot = np.eye(classes)[y]
        means = hot.T @ x / hot.sum(axis=0)[:, None]
        rest = x - means[y]
        centre = means.mean(axis=0)
        away = means - centre
        within.append(rest.T @ rest / max(len(x) - classes, 1))
        between.append(away.T @ away / max(classes - 1, 1))
        centres.append(centre)
    sw, t = np.mean(within, axis=0), np.mean(between, axis=0)
    values, basis = np.linalg.eigh(t)
    raised = np.maximum(values, _EIGENVALUE_FLOOR * values.mean())
    raised *= values.sum() / raised.sum()
    d = len(sw)
    whitener = np.linalg.inv(sw + _RIDGE * np.trace(sw) / d * np.eye(d))
    lengths = np.sqrt(np.trace(whitener @ t @ whitener))
    return Priors(
        basis=basis,
        between=raised,
        within=np.einsum("ij,ik,kj->j", basis, sw, basis),
        site=np.square(np.array(centres) @ basis).mean(axis=0),
        whitener=whitener,
        scale=float(lengths),
    )


def predict(priors: Priors, sites: Sequence[SiteEvidence]) -> Prediction:
    """Predict the head of the first site from the evidence of all.

    Args:
        priors: Public second moments.
        sites: The site itself, then the others.
    """
    means = np.stack([site.means for site in sites]) @ priors.basis  # [S, K, d]
    count, classes, d = means.shape
    present = np.stack([site.present for site in sites])
    n = np.stack([site.counts for site in sites])
    noise = np.stack([site.noise for site in sites])
    spread = (noise[..., None] + priors.within / n[..., None]) / np.maximum(present, 1e-6)[
        ..., None
    ]  # [S, K, d]
    ratio = SITE_RATIO * priors.between
    precision = np.where(present[..., None] > 1e-3, 1 / (spread + ratio), 0.0)
    size = count + classes
    system = np.zeros((d, size, size))
    right = np.zeros((d, size))
    site_rows, class_rows = np.arange(count), count + np.arange(classes)
    system[:, site_rows, site_rows] = precision.sum(axis=1).T + 1 / priors.site[:, None]
    system[:, class_rows, class_rows] = precision.sum(axis=0).T + 1 / priors.between[:, None]
    system[:, :count, count:] = precision.transpose(2, 0, 1)
    system[:, count:, :count] = precision.transpose(2, 1, 0)
    right[:, :count] = (precision * means).sum(axis=1).T
    right[:, count:] = (precision * means).sum(axis=0).T
    for row, site in enumerate(sites):
        if np.isfinite(site.domain_noise):
            _add_domain(system, right, priors, site, row, count, classes)
    inverse = np.linalg.inv(system)  # [d, S+K, S+K]
    solved = np.einsum("dij,dj->id", inverse, right)
    centre, delta = solved[0], solved[count:]
    keep = np.where(present[0][:, None] > 1e-3, ratio / (ratio + spread[0]), 0.0)
    deviations = delta + keep * (means[0] - centre - delta)
    variance = np.diagonal(inverse, axis1=1, axis2=2)[:, count:].T  # [K, d]
    variance = variance + (1 - keep) * ratio
    basis = priors.basis.T
    return _head(priors, centre @ basis, deviations @ basis, variance, inverse[:, 0, 0])


def confidence(priors: Priors, guess: Prediction) -> float:
    """How much the evidence says of the classes: 0 is nothing, 1 is all.

    The root of the share of the prior variance of class deviations that the evidence explains. A
    head is scaled by it, so that weights made from nothing prefer no class.
    """
    prior = float(priors.between.mean()) * (1 + SITE_RATIO)
    explained = 1 - float(guess.variance.mean()) / prior
    return float(np.sqrt(min(max(explained, 0.0), 1.0)))


def _head(
    priors: Priors, centre: Floats, deviations: Floats, spread: Floats, centre_spread: Floats
) -> Prediction:
    length = np.sqrt(np.einsum("kd,de,ke->k", deviations, priors.whitener, deviations))
    typical = float(np.sqrt(np.mean(length**2))) + 1e-12
    even = deviations / (length + _EVEN * typical)[:, None] * typical
    weight = even @ priors.whitener
    bias = -0.5 * np.einsum("kd,kd->k", even, weight)
    weight = weight - weight.mean(axis=0)
    bias = bias - bias.mean()
    size = float(np.sqrt(np.mean(np.sum(weight**2, axis=1)))) + 1e-12
    return Prediction(
        centre=centre,
        deviations=deviations,
        variance=spread.mean(axis=1),
        weight=weight / size,
        bias=bias / size,
        spread=spread,
        centre_spread=centre_spread,
    )


def _add_domain(
    system: Floats,
    right: Floats,
    priors: Priors,
    site: SiteEvidence,
    row: int,
    count: int,
    classes: int,
) -> None:
    """One more observation: the mean of all records is g plus the mean of the deviations."""
    share = 1 / classes
    variance = (
        site.domain_noise + priors.within / site.domain_count + 0.3 * priors.between * share
    )  # unequal class counts move it by some share of a deviation
    weight = 1 / variance  # [d]
    y = site.domain @ priors.basis
    system[:, row, row] += weight
    system[:, row, count:] += share * weight[:, None]
    system[:, count:, row] += share * weight[:, None]
    system[:, count:, count:] += share**2 * weight[:, None, None]
    right[:, row] += weight * y
    right[:, count:] += share * (weight * y)[:, None]
