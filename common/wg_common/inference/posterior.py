"""Empirical Bayes estimates of a plant's class means, from other sites and from its own records.

A linear mixed model, coordinate by coordinate in the eigenbasis of the public between-class
covariance T::

    mean of class k at site m = g_m + delta_k + eta_mk,   delta ~ N(0, T),   eta ~ N(0, ratio)
    observed = mean + noise,   noise variance = (dp / n^2 + within / n) / P(present)

g is the site's mean, delta the class's deviation from it at every site, eta what is special to the
class at this site. The best linear unbiased predictions (BLUP) solve Henderson's mixed-model
equations (Henderson 1975, *Biometrics* 31(2); Robinson 1991, *Statistical Science* 6(1)). A
``Posterior`` holds these equations for one plant's g and for delta, with every *other* site
observed and its own mean eliminated. Two parties finish them by this code: the server with the
plant's noisy release, and the plant with its exact records, which carry no privacy noise and cost
no privacy. What the server hands over comes from public data and other sites' releases alone.

The head is linear discriminant analysis on the predicted means. Noise shrinks the deviations of
rare classes more, so that all are brought to nearly equal length. At the plant, the covariance is
that of its own records, shrunk towards the public one: the mean of an inverse Wishart with
``PSEUDO_RECORDS`` degrees of freedom.

*Guarantee.* None of privacy: exact evidence, and all that is computed from it, stays at the plant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_common.inference import hostile_tensors
from wg_common.inference.discriminants import centre_rows, lda
from wg_core.errors import DecodeError, VerificationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PSEUDO_RECORDS = 30.0  # Weight of the public within-class covariance against a plant's own records

PRESENT = 1e-3  # Probability below which a class counts as absent

_SAID = 1e-3  # Share by which a precision must exceed that of the prior: float32 rounds it

_EVEN = 0.25  # Typical lengths added to that of a deviation before it is divided by it
_UNBALANCED = 0.3
"""Share of a deviation's variance by which unequal class counts move a site's mean."""


class Variances(Protocol):
    """Variances of the model, all along the eigenvectors of T."""

    @property
    def basis(self) -> Floats:
        """Eigenvectors in columns, ``[d, d]``."""

    @property
    def within(self) -> Floats:
        """Variances of records within a class, ``[d]``."""

    @property
    def ratio(self) -> Floats:
        """Ratio of variances of eta, ``[d]``."""

    @property
    def between(self) -> Floats:
        """Variances of delta, ``[d]``."""


@dataclass(frozen=True, slots=True, eq=False)
class SiteEvidence:
    """One site's statistics on K target classes.

    Attributes:
        means: Class means, ``[K, d]``; 0 where nothing is known.
        noise: Variance of the privacy noise on an entry of each mean, ``[K]``.
        counts: Records of each class, as inferred or exact, ``[K]``, positive.
        present: Probability that the class is there, ``[K]``; 0 where it is not asked.
        domain: Mean of all records, ``[d]``; in exact evidence of those without a label.
        domain_noise: Variance of the noise on an entry of it; inf if nothing is known.
        domain_count: Records in it, as inferred or exact.
    """

    means: Floats
    noise: Floats
    counts: Floats
    present: Floats
    domain: Floats
    domain_noise: float
    domain_count: float


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Mixed-model equations of a plant's mean and the class deviations, other sites observed.

    Attributes:
        basis: Eigenvectors of T in columns, ``[d, d]``.
        within: Within-class variance along each of them, ``[d]``.
        ratio: Variance of eta along each of them, ``[d]``.
        between: Variance of delta along each of them, ``[d]``.
        covariance: Public within-class covariance, ridged, ``[d, d]``.
        precision: ``[d, 1 + K, 1 + K]``, the plant's mean first.
        weighted: Right-hand sides, ``[d, 1 + K]``.
        sites: How many other sites stand behind each class, ``[K]``.
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
        """Number of classes K."""
        return int(self.precision.shape[1]) - 1

    @property
    def says_anything(self) -> bool:
        """True if it says anything of a class: from another site, or from its name."""
        return bool(self.weighted[:, 1:].any())

    @property
    def has_evidence(self) -> NDArray[np.bool_]:
        """Tell of which classes other sites' releases say anything, ``[K]``."""
        diagonal = np.diagonal(self.precision[:, 1:, 1:], axis1=1, axis2=2)
        return np.asarray((diagonal * self.between[:, None]).max(axis=0) > 1 + _SAID)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the attributes as float32 tensors, by name."""
        return {f.name: getattr(self, f.name).astype(np.float32) for f in fields(self)}


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Predicted class means.

    Attributes:
        centre: The plant's mean, ``[d]``.
        deviations: Class deviations from it, ``[K, d]``, before lengths are evened.
    """

    centre: Floats
    deviations: Floats


def from_tensors(
    tensors: Mapping[str, NDArray[np.floating]], classes: int, dimension: int
) -> Posterior:
    """Read what ``Posterior.tensors`` wrote, for K classes and d features.

    Raises:
        DecodeError: A name or shape is wrong, or a matrix is not symmetric, finite and positive.
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
    """The evidence of a site that has released nothing."""
    ones, means = np.ones(classes), np.zeros((classes, dimension))
    return SiteEvidence(means, ones, ones.copy(), 0 * ones, np.zeros(dimension), np.inf, 1.0)


def exact_evidence(features: Floats, labels: Ints, classes: int) -> SiteEvidence:
    """A plant's own records as evidence without noise. It must not leave the plant.

    Args:
        features: ``[n, d]``.
        labels: ``[n]`` in 0..K-1; -1 is a record without a label.
        classes: K.
    """
    labelled = labels >= 0
    counts = np.bincount(labels[labelled], minlength=classes).astype(np.float64)
    sums = np.zeros((classes, features.shape[1]))
    np.add.at(sums, labels[labelled], features[labelled])
    bare = features[~labelled]
    return SiteEvidence(
        means=sums / np.maximum(counts, 1)[:, None],
        noise=np.zeros(classes),
        counts=np.maximum(counts, 1),
        present=(counts > 0).astype(np.float64),
        domain=bare.mean(axis=0) if len(bare) else np.zeros(features.shape[1]),
        domain_noise=0.0 if len(bare) else np.inf,
        domain_count=float(max(len(bare), 1)),
    )


def solve(posterior: Posterior, evidence: SiteEvidence) -> Means:
    """Add a plant's own evidence to the equations, and solve them.

    Raises:
        VerificationError: They are singular.
    """
    system, right = posterior.precision.copy(), posterior.weighted.copy()
    observe(system, right, posterior, evidence, 0)
    solution = np.einsum("dij,dj->id", _inverse(system), right)
    centre, delta = solution[0], solution[1:]
    means, spread = evidence.means @ posterior.basis, _spread(posterior.within, evidence)
    present = evidence.present[:, None] > PRESENT
    keep = np.where(present, posterior.ratio / (posterior.ratio + spread), 0.0)
    deviations = delta + keep * (means - centre - delta)
    turn = posterior.basis.T
    return Means(centre=centre @ turn, deviations=deviations @ turn)


def observe(
    system: Floats, right: Floats, variances: Variances, site: SiteEvidence, row: int
) -> None:
    """Add a site's evidence to mixed-model equations, in place.

    Class means are observations of g + delta_k. The mean of all records, where it is known, is one
    of g plus the mean of the deviations.

    Args:
        system: ``[d, S + K, S + K]``: means of S sites first, then the class deviations.
        right: ``[d, S + K]``.
        row: The site's row, below S.
    """
    classes = len(site.counts)
    offset = system.shape[1] - classes
    inner = np.arange(offset, system.shape[1])
    precision = mean_precision(variances, site)
    weighted_means = precision * (site.means @ variances.basis)
    system[:, row, row] += precision.sum(axis=0)
    system[:, inner, inner] += precision.T
    system[:, row, offset:] += precision.T
    system[:, offset:, row] += precision.T
    right[:, row] += weighted_means.sum(axis=0)
    right[:, offset:] += weighted_means.T
    if not np.isfinite(site.domain_noise):
        return
    share = 1 / classes
    weight = domain_precision(variances, site)
    y = site.domain @ variances.basis
    system[:, row, row] += weight
    system[:, row, offset:] += share * weight[:, None]
    system[:, offset:, row] += share * weight[:, None]
    system[:, offset:, offset:] += share**2 * weight[:, None, None]
    right[:, row] += weight * y
    right[:, offset:] += share * (weight * y)[:, None]


def mean_precision(variances: Variances, site: SiteEvidence) -> Floats:
    """Precision of each observed class mean about ``g + delta``, ``[K, d]``; 0 if it is absent."""
    spread = _spread(variances.within, site) + variances.ratio
    return np.where(site.present[:, None] > PRESENT, 1 / spread, 0.0)


def domain_precision(variances: Variances, site: SiteEvidence) -> Floats:
    """Precision of the mean of all of a site's records about ``g + mean delta``, ``[d]``.

    Classes are not equally frequent, which moves that mean by some share of a deviation.
    """
    imbalance = _UNBALANCED * variances.between / len(site.counts)
    return 1 / (site.domain_noise + variances.within / site.domain_count + imbalance)


def _spread(within: Floats, site: SiteEvidence) -> Floats:
    """Variance of the noise on each observed class mean, ``[K, d]``: privacy and sampling."""
    spread = site.noise[:, None] + within / site.counts[:, None]
    return np.asarray(spread / np.maximum(site.present, 1e-6)[:, None])


def discriminant(
    deviations: Floats, whitener: Floats, even: float = _EVEN
) -> tuple[Floats, Floats]:
    """Linear discriminants of class deviations of evened length.

    Args:
        deviations: ``[K, d]``.
        whitener: Inverse of the within-class covariance, ``[d, d]``.
        even: Typical lengths added to each before it is divided by: inf leaves lengths alone.

    Returns:
        Weight ``[K, d]`` and bias ``[K]`` of ``features - centre``.
    """
    length = np.sqrt(np.einsum("kd,de,ke->k", deviations, whitener, deviations))
    typical = float(np.sqrt(np.mean(length**2))) + 1e-12
    if np.isfinite(even):
        deviations = deviations / (length + even * typical)[:, None] * typical
    return lda(deviations, whitener)


def posterior_head(posterior: Posterior, features: Floats, labels: Ints) -> tuple[Floats, Floats]:
    """The posterior head: other sites' equations finished with a plant's own exact records.

    Args:
        features: ``[n, d]``; without any, the head is that of the other sites.
        labels: ``[n]`` in 0..K-1; -1 is a record without a label.

    Returns:
        Weight ``[K, d]`` and bias ``[K]`` on the features as they are. Classes count as frequent as
        they are among labelled records; a class without any as an average one.
    """
    classes = posterior.classes
    evidence = exact_evidence(features, labels, classes)
    means = solve(posterior, evidence)
    labelled = labels >= 0
    y = labels[labelled]
    counts = np.bincount(y, minlength=classes).astype(np.float64)
    classes_present = int((counts > 0).sum())
    scatter, freedom = PSEUDO_RECORDS * posterior.covariance, PSEUDO_RECORDS
    if classes_present > 1:
        # The spread of one class says little of the others': good parts are alike, defects are not.
        residuals = features[labelled] - evidence.means[y]
        scatter, freedom = scatter + residuals.T @ residuals, freedom + len(y) - classes_present
    # Lengths are made even against noise: with noise on one class only there is nothing to even.
    even = _EVEN if classes - classes_present > 1 else np.inf
    weight, bias = discriminant(means.deviations, _inverse(scatter / freedom), even)
    if len(y):
        frequent = np.where(counts > 0, counts, counts[counts > 0].mean())
        bias = bias + np.log(frequent + 1)
    return _around(weight, bias, means.centre)


def mean_aligned(posterior: Posterior) -> Callable[[Floats, Ints], tuple[Floats, Floats]]:
    """The mean-aligned head: other sites' class deviations around the mean of a plant's records.

    Returns:
        A function of (features, labels) with the result of ``posterior_head``. Records only say
        where they lie, so that they may also train or judge other heads.
    """
    classes = posterior.classes
    deviations = solve(posterior, no_evidence(classes, len(posterior.within))).deviations
    weight, bias = discriminant(deviations, _inverse(posterior.covariance))

    def align(features: Floats, labels: Ints) -> tuple[Floats, Floats]:
        centre = solve(posterior, exact_evidence(features, labels, classes)).centre
        return _around(weight, bias, centre)

    return align


def _inverse(matrix: Floats) -> Floats:
    """Inverse of one matrix or of several."""
    try:
        return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise VerificationError(f"class means: the posterior is singular: {error}") from error


def _around(weight: Floats, bias: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Discriminants of features from those of their distance to a centre."""
    weight, bias = centre_rows(weight, bias)
    return weight, bias - weight @ centre
