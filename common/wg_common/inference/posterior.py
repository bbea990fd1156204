"""Empirical Bayes estimates of a plant's class means, from other sites and from its own records.

A linear mixed model, coordinate by coordinate in the eigenbasis of the public between-class
covariance T::

    mean of class k at site m = g_m + delta_k + eta_mk,   delta ~ N(0, T),   eta ~ N(0, ratio)
    observed = mean + noise,   noise variance = (dp / n^2 + within / n) / P(present)

g is the site's mean, delta the class's deviation from g at every site, eta the class's further
deviation at this site. The best linear unbiased predictions (BLUP) solve Henderson's mixed-model
equations (Henderson 1975, *Biometrics* 31(2); Robinson 1991, *Statistical Science* 6(1)). A
``Posterior`` holds these equations for one plant's g and for delta, after every *other* site has
been observed and its mean eliminated. Two parties complete them by this code: the server with the
plant's noisy release, and the plant with its exact records, which carry no privacy noise and cost
no privacy. The server computes a ``Posterior`` from public data and other sites' releases alone.

The head is linear discriminant analysis on the predicted means. Noise shrinks the deviations of
rare classes more, so all deviations are brought to nearly equal length. The plant uses the
covariance of its own records, shrunk towards the public one: the mean of an inverse Wishart with
``PSEUDO_RECORDS`` degrees of freedom.

*Guarantee.* No privacy: exact evidence, and all that is computed from it, stays at the plant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_common.inference import hostile_tensors
from wg_common.inference.discriminants import centre_over_classes, linear_discriminants
from wg_core.errors import DecodeError, VerificationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PSEUDO_RECORDS = 30.0  # Weight of the public within-class covariance against a plant's own records

PRESENCE_THRESHOLD = 1e-3  # Probability below which a class counts as absent

_EVIDENCE_EXCESS = (
    1e-3  # Relative excess over the prior's precision that counts as evidence, not rounding
)

_LENGTH_OFFSET = (
    0.25  # Typical lengths added to a deviation's length before the deviation is divided by it
)
_UNBALANCED_SHARE = 0.3
"""Share of a deviation's variance by which unequal class counts move a site's mean."""


class MixedModelVariances(Protocol):
    """Variances of the mixed model along the eigenvectors of T, the between-class covariance."""

    @property
    def basis(self) -> Floats:
        """Eigenvectors of T (between-class covariance) in columns, ``[d, d]``."""

    @property
    def within(self) -> Floats:
        """Variances of records within a class, ``[d]``."""

    @property
    def ratio(self) -> Floats:
        """Variances of eta, a class's deviation at one site, ``[d]``."""

    @property
    def between(self) -> Floats:
        """Variances of delta, a class's deviation at every site, ``[d]``."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteEvidence:
    """Statistics of one site on K target classes, as evidence for a mixed model.

    Attributes:
        means: Class means, ``[K, d]``; 0 for an unknown mean.
        noise_variances: Variance of the privacy noise on an entry of each mean, ``[K]``.
        record_counts: Inferred or exact number of records of each class, ``[K]``, positive.
        presence_probabilities: Probability that the site has the class, ``[K]``; 0 for a class not
            queried.
        overall_mean: Mean of all records, ``[d]``; in exact evidence, of the records without a
            label.
        overall_noise_variance: Variance of the noise on an entry of ``overall_mean``; inf if it is
            unknown.
        overall_record_count: Inferred or exact number of records in ``overall_mean``.
    """

    means: Floats
    noise_variances: Floats
    record_counts: Floats
    presence_probabilities: Floats
    overall_mean: Floats
    overall_noise_variance: float
    overall_record_count: float


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Mixed-model equations for a plant's mean and class deviations, given all other sites.

    Attributes:
        basis: Eigenvectors of T, the public between-class covariance, in columns, ``[d, d]``.
        within: Within-class variance along each eigenvector, ``[d]``.
        ratio: Variance of a class's deviation at one site (eta) along each eigenvector, ``[d]``.
        between: Variance of a class's deviation at every site (delta), likewise, ``[d]``.
        covariance: Public within-class covariance, ridged, ``[d, d]``.
        precision: Matrices of the equations for the plant's mean, then the K classes' deviations,
            ``[d, 1 + K, 1 + K]``.
        weighted: Right-hand sides of the equations, ``[d, 1 + K]``.
        sites: For each class, the number of other sites that released it, ``[K]``.
    """

    basis: Floats
    within: Floats
    ratio: Floats
    between: Floats
    covariance: Floats
    precision: Floats
    weighted: Floats
    sites: Floats

    @property
    def classes(self) -> int:
        """Number K of classes in the posterior."""
        return int(self.precision.shape[1]) - 1

    @property
    def is_informative(self) -> bool:
        """True if other sites' releases or class names say anything about a class's mean."""
        return bool(self.weighted[:, 1:].any())

    @property
    def evidence_mask(self) -> NDArray[np.bool_]:
        """Mask of the classes that other sites' releases inform about, ``[K]``."""
        diagonal = np.diagonal(self.precision[:, 1:, 1:], axis1=1, axis2=2)
        return np.asarray((diagonal * self.between[:, None]).max(axis=0) > 1 + _EVIDENCE_EXCESS)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the posterior's arrays as float32 tensors, by name."""
        return {f.name: getattr(self, f.name).astype(np.float32) for f in fields(self)}


@dataclass(frozen=True, slots=True, eq=False)
class PredictedMeans:
    """Predicted class means of a plant: its overall mean plus class deviations.

    Attributes:
        centre: The plant's mean, ``[d]``.
        deviations: Class deviations from ``centre``, ``[K, d]``, before lengths are equalised.
    """

    centre: Floats
    deviations: Floats


def posterior_from_tensors(
    tensors: Mapping[str, NDArray[np.floating]], classes: int, dimension: int
) -> Posterior:
    """Rebuild a posterior of K classes and d features from the tensors of ``Posterior.tensors``.

    Raises:
        DecodeError: A name or shape is wrong, a number is not finite, a variance is not positive,
            or a matrix is not positive definite.
    """
    d, size = dimension, classes + 1
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("within", "ratio", "between"), (d,))
    shapes |= {"basis": (d, d), "covariance": (d, d)}
    shapes |= {"precision": (d, size, size), "weighted": (d, size), "sites": (classes,)}
    # A server of 0.1.0 does not count sites.
    tensors = {"sites": np.zeros(classes, np.float32), **tensors}
    values = hostile_tensors.check_tensors("class means", tensors, shapes)
    for name in ("within", "ratio", "between"):
        if (values[name] <= 0).any():
            raise DecodeError(f"class means: tensor {name!r} is not positive")
    if (values["sites"] < 0).any():
        raise DecodeError("class means: tensor 'sites' is negative")
    for name in ("covariance", "precision"):
        values[name] = (values[name] + np.swapaxes(values[name], -1, -2)) / 2
        if (np.linalg.eigvalsh(values[name]) <= 0).any():
            raise DecodeError(f"class means: tensor {name!r} is not positive definite")
    return Posterior(**values)


def no_evidence(classes: int, dimension: int) -> SiteEvidence:
    """Return the evidence of a site without releases: every class and the mean are unknown."""
    ones, means = np.ones(classes), np.zeros((classes, dimension))
    return SiteEvidence(means, ones, ones.copy(), 0 * ones, np.zeros(dimension), np.inf, 1.0)


def exact_evidence(features: Floats, labels: Ints, classes: int) -> SiteEvidence:
    """Return the exact evidence in a plant's own records, which must not leave the plant.

    Args:
        features: Features, ``[n, d]``.
        labels: Labels in 0..K-1, ``[n]``; -1 for a record without a label.
        classes: Number of classes K.
    """
    labelled = labels >= 0
    counts = np.bincount(labels[labelled], minlength=classes).astype(np.float64)
    sums = np.zeros((classes, features.shape[1]))
    np.add.at(sums, labels[labelled], features[labelled])
    bare = features[~labelled]
    return SiteEvidence(
        means=sums / np.maximum(counts, 1)[:, None],
        noise_variances=np.zeros(classes),
        record_counts=np.maximum(counts, 1),
        presence_probabilities=(counts > 0).astype(np.float64),
        overall_mean=bare.mean(axis=0) if len(bare) else np.zeros(features.shape[1]),
        overall_noise_variance=0.0 if len(bare) else np.inf,
        overall_record_count=float(max(len(bare), 1)),
    )


def predict_class_means(posterior: Posterior, evidence: SiteEvidence) -> PredictedMeans:
    """Predict a plant's class means: add the plant's evidence to the equations, and solve them.

    Raises:
        VerificationError: The equations are singular.
    """
    system, right = posterior.precision.copy(), posterior.weighted.copy()
    add_site_evidence(system, right, posterior, evidence, 0)
    solution = np.einsum("dij,dj->id", _inverse(system), right)
    centre, delta = solution[0], solution[1:]
    means, spread = (
        evidence.means @ posterior.basis,
        _observation_variance(posterior.within, evidence),
    )
    present = evidence.presence_probabilities[:, None] > PRESENCE_THRESHOLD
    keep = np.where(present, posterior.ratio / (posterior.ratio + spread), 0.0)
    deviations = delta + keep * (means - centre - delta)
    turn = posterior.basis.T
    return PredictedMeans(centre=centre @ turn, deviations=deviations @ turn)


def add_site_evidence(
    matrices: Floats,
    right_sides: Floats,
    variances: MixedModelVariances,
    evidence: SiteEvidence,
    site_row: int,
) -> None:
    """Add a site's evidence to mixed-model equations, changing the arrays in place.

    The mean of class k is an observation of g + delta_k: the site's mean plus the deviation of the
    class. The mean of all records, if known, is one of g plus the mean of all deviations.

    Args:
        matrices: Matrices ``[d, S + K, S + K]``: means of S sites first, then the class deviations.
        right_sides: Right-hand sides, ``[d, S + K]``.
        variances: Variances of the model.
        evidence: Evidence to add.
        site_row: Row of the site, below S.
    """
    classes = len(evidence.record_counts)
    offset = matrices.shape[1] - classes
    inner = np.arange(offset, matrices.shape[1])
    precision = class_mean_precision(variances, evidence)
    weighted_means = precision * (evidence.means @ variances.basis)
    matrices[:, site_row, site_row] += precision.sum(axis=0)
    matrices[:, inner, inner] += precision.T
    matrices[:, site_row, offset:] += precision.T
    matrices[:, offset:, site_row] += precision.T
    right_sides[:, site_row] += weighted_means.sum(axis=0)
    right_sides[:, offset:] += weighted_means.T
    if not np.isfinite(evidence.overall_noise_variance):
        return
    share = 1 / classes
    weight = all_records_mean_precision(variances, evidence)
    y = evidence.overall_mean @ variances.basis
    matrices[:, site_row, site_row] += weight
    matrices[:, site_row, offset:] += share * weight[:, None]
    matrices[:, offset:, site_row] += share * weight[:, None]
    matrices[:, offset:, offset:] += share**2 * weight[:, None, None]
    right_sides[:, site_row] += weight * y
    right_sides[:, offset:] += share * (weight * y)[:, None]


def class_mean_precision(variances: MixedModelVariances, evidence: SiteEvidence) -> Floats:
    """Return the precision ``[K, d]`` of each observed class mean; 0 for an absent class."""
    spread = _observation_variance(variances.within, evidence) + variances.ratio
    return np.where(evidence.presence_probabilities[:, None] > PRESENCE_THRESHOLD, 1 / spread, 0.0)


def all_records_mean_precision(variances: MixedModelVariances, evidence: SiteEvidence) -> Floats:
    """Return the precision ``[d]`` of a site's overall mean as an estimate of its model's value.

    That value is the site's mean in the model plus the mean of all class deviations. The precision
    allows for unequal class frequencies, which shift the overall mean by a share of a deviation.
    """
    imbalance = _UNBALANCED_SHARE * variances.between / len(evidence.record_counts)
    return 1 / (
        evidence.overall_noise_variance
        + variances.within / evidence.overall_record_count
        + imbalance
    )


def _observation_variance(within: Floats, evidence: SiteEvidence) -> Floats:
    """Return the variance ``[K, d]`` of privacy noise and sampling on each observed class mean."""
    spread = evidence.noise_variances[:, None] + within / evidence.record_counts[:, None]
    return np.asarray(spread / np.maximum(evidence.presence_probabilities, 1e-6)[:, None])


def equal_length_discriminants(
    deviations: Floats, inverse_covariance: Floats, length_offset: float = _LENGTH_OFFSET
) -> tuple[Floats, Floats]:
    """Return linear discriminants of class deviations, which are brought to nearly equal length.

    Args:
        deviations: Class deviations, ``[K, d]``.
        inverse_covariance: Inverse of the within-class covariance, ``[d, d]``.
        length_offset: Term added to each length before division by it, in root mean squares of
            the lengths; inf leaves lengths unchanged.

    Returns:
        Weight ``[K, d]`` and bias ``[K]``, on features minus the mean that deviations refer to.
    """
    length = np.sqrt(np.einsum("kd,de,ke->k", deviations, inverse_covariance, deviations))
    typical = float(np.sqrt(np.mean(length**2))) + 1e-12
    if np.isfinite(length_offset):
        deviations = deviations / (length + length_offset * typical)[:, None] * typical
    return linear_discriminants(deviations, inverse_covariance)


def posterior_head(posterior: Posterior, features: Floats, labels: Ints) -> tuple[Floats, Floats]:
    """Compute a plant's head from other sites' equations and its own exact records.

    Args:
        posterior: Equations of the other sites.
        features: Features, ``[n, d]``; with n = 0 the head rests on the other sites alone.
        labels: Labels in 0..K-1, ``[n]``; -1 for a record without a label.

    Returns:
        Weight ``[K, d]`` and bias ``[K]`` on uncentred features. Class frequencies are those of the
        labelled records; a class without records has the average frequency.
    """
    classes = posterior.classes
    evidence = exact_evidence(features, labels, classes)
    means = predict_class_means(posterior, evidence)
    labelled = labels >= 0
    y = labels[labelled]
    counts = np.bincount(y, minlength=classes).astype(np.float64)
    classes_present = int((counts > 0).sum())
    scatter, freedom = PSEUDO_RECORDS * posterior.covariance, PSEUDO_RECORDS
    if classes_present > 1:
        # One class's spread says little about the others: good parts are alike, defects differ.
        residuals = features[labelled] - evidence.means[y]
        scatter, freedom = scatter + residuals.T @ residuals, freedom + len(y) - classes_present
    # Lengths are equalised because of noise: with at most one noisy class there is no need.
    even = _LENGTH_OFFSET if classes - classes_present > 1 else np.inf
    weight, bias = equal_length_discriminants(means.deviations, _inverse(scatter / freedom), even)
    if len(y):
        frequent = np.where(counts > 0, counts, counts[counts > 0].mean())
        bias = bias + np.log(frequent + 1)
    return _shift_discriminants(weight, bias, means.centre)


def mean_aligned_head_fitter(
    posterior: Posterior,
) -> Callable[[Floats, Ints], tuple[Floats, Floats]]:
    """Return a function that fits a head from other sites' deviations and a plant's mean.

    Returns:
        A function from features ``[n, d]`` and labels ``[n]`` (-1: none) of the plant's records to
        weight ``[K, d]`` and bias ``[K]``. Records determine only the plant's mean: each class's
        deviation from it is that of other sites.
    """
    classes = posterior.classes
    deviations = predict_class_means(
        posterior, no_evidence(classes, len(posterior.within))
    ).deviations
    weight, bias = equal_length_discriminants(deviations, _inverse(posterior.covariance))

    def align(features: Floats, labels: Ints) -> tuple[Floats, Floats]:
        centre = predict_class_means(posterior, exact_evidence(features, labels, classes)).centre
        return _shift_discriminants(weight, bias, centre)

    return align


def _inverse(matrix: Floats) -> Floats:
    """Invert a matrix, or each of a stack; raise ``VerificationError`` if one is singular."""
    try:
        return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise VerificationError(f"class means: the posterior is singular: {error}") from error


def _shift_discriminants(weight: Floats, bias: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Turn linear discriminants on ``features - centre`` into discriminants on features."""
    weight, bias = centre_over_classes(weight, bias)
    return weight, bias - weight @ centre
