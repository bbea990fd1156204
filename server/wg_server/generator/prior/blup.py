"""BLUP of a plant's class means from the noisy statistics of several sites (T-BLUP).

Best linear unbiased prediction (Henderson 1975, *Biometrics* 31(2); Robinson 1991, *Statistical
Science* 6(1)). The model and its equations are in ``wg_common.inference.posterior``, because plants
solve them too, with their exact records. This module has the variances, which are fitted on public
tasks, and the server's side: the other sites are observed and eliminated, then the plant's own
noisy release is added. A class that the plant has never seen is predicted from the other sites.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference import posterior as posteriors
from wg_common.inference.discriminants import class_means, ridged_inverse
from wg_common.inference.posterior import Posterior, PredictedMeans, SiteEvidence

Floats = NDArray[np.float64]

SITE_RATIO = 0.15  # Ratio of the site-specific to the total variance of a class mean

_EIGENVALUE_FLOOR = 0.25  # Smallest eigenvalue of T, relative to their mean
COVARIANCE_RIDGE = 2.0
"""Share of the mean variance added to within-class covariances before they are inverted."""


@dataclass(frozen=True, slots=True, eq=False)
class ModelVariances:
    """Variances of the mixed model of class means, fitted on public tasks of other families.

    Attributes:
        basis: Eigenvectors of T in columns, ``[d, d]``.
        between: Eigenvalues of T, with small ones raised and the trace preserved, ``[d]``.
        within: Within-class variance along each eigenvector, ``[d]``.
        site: Variance of sites' means along each eigenvector, ``[d]``.
        whitener: Inverse of the ridged within-class covariance, ``[d, d]``.
    """

    basis: Floats
    between: Floats
    within: Floats
    site: Floats
    whitener: Floats

    @property
    def ratio(self) -> Floats:
        """Variance of the site-specific part of a class mean along each eigenvector, ``[d]``."""
        return SITE_RATIO * self.between


@dataclass(frozen=True, slots=True, eq=False)
class ClassDeviationPrior:
    """Prior of how a plant's class means deviate, from the class names alone.

    Attributes:
        mean: Mean of class deviations along each eigenvector, ``[K, d]``.
        between: Variance of class deviations about this mean along each eigenvector, ``[d]``.
    """

    mean: Floats
    between: Floats


def fit_variances(
    features: Sequence[NDArray[np.floating]], labels: Sequence[NDArray[np.int64]]
) -> ModelVariances:
    """Fit the variances on public tasks.

    Args:
        features: Features of each task, ``[n, d]``.
        labels: Labels of each task, ``[n]``.
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
    """Return the equations that one site adds on class deviations, its own mean eliminated.

    Sites are coupled only through the classes, so that each site has its own Schur complement.

    Returns:
        A matrix for each direction, ``[d, K, K]``, and right-hand sides, ``[d, K]``.
    """
    d, size = len(priors.within), 1 + len(site.counts)
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
    """Return the equations of a plant's mean and the class deviations, given other sites.

    Args:
        matrices: Sum of the other sites' matrices, ``[d, K, K]``.
        right_sides: Sum of their right-hand sides, ``[d, K]``.
        name_prior: Prior from the class names; None: deviations with mean zero.
    """
    d, classes = right_sides.shape
    name_prior = name_prior or ClassDeviationPrior(np.zeros((classes, d)), priors.between)
    precision, right_side = np.zeros((d, 1 + classes, 1 + classes)), np.zeros((d, 1 + classes))
    precision[:, 0, 0] = 1 / priors.site
    precision[:, 1:, 1:] = matrices + np.eye(classes) / name_prior.between[:, None, None]
    right_side[:, 1:] = right_sides + (name_prior.mean / name_prior.between).T
    return Posterior(
        basis=priors.basis,
        within=priors.within,
        ratio=priors.ratio,
        between=name_prior.between,
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
    """Return ``mixed_model_equations`` on K classes, summed over a few other sites."""
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
    """Predict the first site's class means from the evidence of all sites."""
    plant = sites[0]
    return posteriors.predict_class_means(
        posterior_from_sites(priors, sites[1:], len(plant.counts), name_prior), plant
    )
