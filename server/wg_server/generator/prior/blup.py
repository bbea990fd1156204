"""BLUP of a plant's class means from the noisy statistics of several sites (T-BLUP).

BLUP is best linear unbiased prediction (Henderson 1975, *Biometrics* 31(2); Robinson 1991,
*Statistical Science* 6(1)). The model and its equations are in ``wg_common.inference.posterior``,
because plants solve them too, with their exact records. This module fits the variances of the model
on public tasks, and has the server's part: the evidence of the other sites is added and their means
are eliminated, then the plant's own noisy release is added. A class that the plant has never seen
is predicted from the other sites.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference import posterior as posteriors
from wg_common.inference.discriminants import class_means, ridged_inverse
from wg_common.inference.posterior import Posterior, PredictedMeans, SiteEvidence

Floats = NDArray[np.float64]

SITE_VARIANCE_RATIO = 0.15  # Ratio of the site-specific to the total variance of a class mean

_EIGENVALUE_FLOOR = 0.25  # Smallest eigenvalue of T, relative to the mean of its eigenvalues
COVARIANCE_RIDGE = 2.0
"""Multiple of the mean variance that is added to the diagonal of a within-class covariance before
its inversion."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelVariances:
    """Variances of the mixed model of class means, fitted on public tasks.

    T is the covariance, over d features, of class means about the mean of their task.

    Attributes:
        basis: Eigenvectors of T in columns, ``[d, d]``.
        between: Eigenvalues of T, ``[d]``; small ones are raised, the trace is preserved.
        within: Within-class variance along each eigenvector, ``[d]``.
        site: Variance of sites' means along each eigenvector, ``[d]``.
        whitener: Inverse of the within-class covariance after addition of a ridge, ``[d, d]``.
    """

    basis: Floats
    between: Floats
    within: Floats
    site: Floats
    whitener: Floats

    @property
    def ratio(self) -> Floats:
        """Variance of a class mean between sites, along each eigenvector, ``[d]``."""
        return SITE_VARIANCE_RATIO * self.between


@dataclass(frozen=True, slots=True, eq=False)
class ClassDeviationPrior:
    """Prior of the deviations of K class means from their common mean, from class names alone.

    Attributes:
        mean: Prior mean of each class deviation along each eigenvector of T, ``[K, d]``.
        variance: Prior variance of a class deviation along each eigenvector, ``[d]``.
    """

    mean: Floats
    variance: Floats


def fit_variances(
    features: Sequence[NDArray[np.floating]], labels: Sequence[NDArray[np.int64]]
) -> ModelVariances:
    """Fit the variances of the mixed model on public tasks.

    Args:
        features: Features of the records of each task, ``[n, d]``.
        labels: Class indices of the records of each task, ``[n]``.
    """
    within, between, centres = [], [], []
    for x, y in zip(features, labels, strict=True):
        classes = int(y.max()) + 1
        means = class_means(x, y, classes)
        residuals = x - means[y]
        centre = means.mean(axis=0)
        deviations = means - centre
        within.append(residuals.T @ residuals / max(len(x) - classes, 1))
        between.append(deviations.T @ deviations / max(classes - 1, 1))
        centres.append(centre)
    sw, t = np.mean(within, axis=0), np.mean(between, axis=0)
    values, basis = np.linalg.eigh(t)
    floored_values = np.maximum(values, _EIGENVALUE_FLOOR * values.mean())
    floored_values *= values.sum() / floored_values.sum()
    return ModelVariances(
        basis=basis,
        between=floored_values,
        within=np.einsum("ij,ik,kj->j", basis, sw, basis),
        site=np.square(np.array(centres) @ basis).mean(axis=0),
        whitener=ridged_inverse(sw, COVARIANCE_RIDGE),
    )


def site_equations(priors: ModelVariances, site: SiteEvidence) -> tuple[Floats, Floats]:
    """Return the terms that one site adds to the linear equations for K class deviations.

    The equations are separate for each of the d eigenvectors of T. The site's mean is an unknown,
    too, but only in the equations of this site; so it is eliminated, as a Schur complement.

    Args:
        priors: Variances of the mixed model.
        site: Class means of the site, with the variance of their noise.

    Returns:
        The site's part of the equations' matrices, ``[d, K, K]``, and of their right-hand sides,
        ``[d, K]``. These parts are added over sites.
    """
    d, size = len(priors.within), 1 + len(site.record_counts)
    system, right = np.zeros((d, size, size)), np.zeros((d, size))
    system[:, 0, 0] = 1 / priors.site
    posteriors.add_site_evidence(system, right, priors, site, 0)
    gain = system[:, 1:, 0] / system[:, :1, 0]  # [d, K]
    matrices = system[:, 1:, 1:] - gain[:, :, None] * system[:, None, 0, 1:]
    return matrices, right[:, 1:] - gain * right[:, :1]


def mixed_model_equations(
    priors: ModelVariances,
    matrices: Floats,
    right_sides: Floats,
    name_prior: ClassDeviationPrior | None = None,
) -> Posterior:
    """Return the posterior of a plant's mean and of K class deviations, given all other sites.

    Args:
        priors: Variances of the model.
        matrices: Sum of the matrices from ``site_equations`` over other sites, ``[d, K, K]``.
        right_sides: Sum of the right-hand sides from ``site_equations``, ``[d, K]``.
        name_prior: Prior from class names; None: class deviations with prior mean 0.
    """
    d, classes = right_sides.shape
    name_prior = name_prior or ClassDeviationPrior(np.zeros((classes, d)), priors.between)
    precision, right_side = np.zeros((d, 1 + classes, 1 + classes)), np.zeros((d, 1 + classes))
    precision[:, 0, 0] = 1 / priors.site
    precision[:, 1:, 1:] = matrices + np.eye(classes) / name_prior.variance[:, None, None]
    right_side[:, 1:] = right_sides + (name_prior.mean / name_prior.variance).T
    return Posterior(
        basis=priors.basis,
        within=priors.within,
        ratio=priors.ratio,
        between=name_prior.variance,
        covariance=np.asarray(np.linalg.inv(priors.whitener)),
        precision=precision,
        weighted=right_side,
        sites=np.zeros(classes),
    )


def posterior_from_sites(
    priors: ModelVariances,
    other_sites: Sequence[SiteEvidence],
    classes: int,
    name_prior: ClassDeviationPrior | None = None,
) -> Posterior:
    """Return the posterior of a plant's mean and K class deviations, given a few other sites."""
    d = len(priors.between)
    matrices, right = np.zeros((d, classes, classes)), np.zeros((d, classes))
    for site in other_sites:
        addition = site_equations(priors, site)
        matrices, right = matrices + addition[0], right + addition[1]
    return mixed_model_equations(priors, matrices, right, name_prior)


def predict_class_means(
    priors: ModelVariances,
    sites: Sequence[SiteEvidence],
    name_prior: ClassDeviationPrior | None = None,
) -> PredictedMeans:
    """Predict the class means of the first of ``sites`` from the evidence of all of them."""
    plant = sites[0]
    return posteriors.predict_class_means(
        posterior_from_sites(priors, sites[1:], len(plant.record_counts), name_prior), plant
    )
