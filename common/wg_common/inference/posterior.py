"""Class means of one plant: what is known without it, and what its own statistics add.

Model, coordinate by coordinate in the eigenbasis of the public between-class covariance T::

    mean of class k at site m = g_m + delta_k + eta_mk,   delta ~ N(0, T),   eta ~ N(0, ratio)
    observed = mean + noise,   noise variance = (dp / n^2 + within / n) / P(present)

These are mixed-model equations (Henderson 1975, *Biometrics* 31(2)). A ``Posterior`` holds them for
a plant's g and all delta once every *other* site has been taken into account and eliminated. Two
parties finish them by the same code: the server with the plant's noisy release, and the plant with
its exact records, which have no privacy noise and cost nothing. What a server hands over is made
from public data and from releases of other sites: post-processing, and free.

The head is linear discriminant analysis. Class deviations are brought to nearly equal length, since
noise shrinks rare classes more. At the plant, the covariance is that of its own records, shrunk
towards the public one: the mean of an inverse Wishart with ``PSEUDO_RECORDS`` degrees of freedom.

*Guarantee.* None of privacy: exact evidence, and all that is computed from it, stays at the plant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from wg_common.errors import DecodeError, VerificationError
from wg_common.inference.discriminants import centred, lda

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PSEUDO_RECORDS = 30.0
"""Weight of the public within-class covariance against a plant's own records."""

PRESENT = 1e-3
"""Probability below which a class counts as absent."""

_EVEN = 0.25
_UNBALANCED = 0.3


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
    """The equations of a plant's mean and its class deviations, before its own statistics.

    Attributes:
        basis: Eigenvectors of T in columns, ``[d, d]``.
        within: Within-class variance along each of them, ``[d]``.
        ratio: Variance of eta along each of them, ``[d]``.
        between: Variance of delta along each of them, ``[d]``.
        covariance: Public within-class covariance, ridged, ``[d, d]``.
        precision: ``[d, 1 + K, 1 + K]``, the plant's mean first.
        weighted: Right-hand sides, ``[d, 1 + K]``.
    """

    basis: Floats
    within: Floats
    ratio: Floats
    between: Floats
    covariance: Floats
    precision: Floats
    weighted: Floats

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return int(self.precision.shape[1]) - 1

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """As float32 tensors, by attribute."""
        return {f.name: getattr(self, f.name).astype(np.float32) for f in fields(self)}


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """Predicted class means.

    Attributes:
        centre: The plant's mean, ``[d]``.
        deviations: Class deviations from it, ``[K, d]``, before lengths are evened.
        spread: Posterior variance of these along each direction of the basis, ``[K, d]``.
        centre_spread: That of the plant's mean, ``[d]``.
    """

    centre: Floats
    deviations: Floats
    spread: Floats
    centre_spread: Floats


def from_tensors(
    tensors: Mapping[str, NDArray[np.floating]], classes: int, dimension: int
) -> Posterior:
    """Read what ``Posterior.tensors`` wrote.

    Args:
        tensors: By attribute.
        classes: K.
        dimension: d.

    Raises:
        DecodeError: A name or shape is wrong, or a matrix is not symmetric, finite and positive.
    """
    d, size = dimension, classes + 1
    shapes = {
        "basis": (d, d),
        "within": (d,),
        "ratio": (d,),
        "between": (d,),
        "covariance": (d, d),
        "precision": (d, size, size),
        "weighted": (d, size),
    }
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if found != shapes:
        wrong = sorted(k for k in shapes | found if shapes.get(k) != found.get(k))
        raise DecodeError(
            f"class means: tensor {wrong[0]!r}: {found.get(wrong[0])}, expected"
            f" {shapes.get(wrong[0])}"
        )
    values = {name: np.asarray(value, dtype=np.float64) for name, value in tensors.items()}
    for name, value in values.items():
        if not np.isfinite(value).all():
            raise DecodeError(f"class means: tensor {name!r} is not finite")
    for name in ("within", "ratio", "between"):
        if (values[name] <= 0).any():
            raise DecodeError(f"class means: tensor {name!r} is not positive")
    for name in ("covariance", "precision"):
        values[name] = (values[name] + np.swapaxes(values[name], -1, -2)) / 2
        if (np.linalg.eigvalsh(values[name]) <= 0).any():
            raise DecodeError(f"class means: tensor {name!r} is not positive definite")
    return Posterior(**values)


def no_evidence(classes: int, dimension: int) -> SiteEvidence:
    """The evidence of a site that has released nothing."""
    return SiteEvidence(
        np.zeros((classes, dimension)),
        np.ones(classes),
        np.ones(classes),
        np.zeros(classes),
        np.zeros(dimension),
        np.inf,
        1.0,
    )


def exact_evidence(features: Floats, labels: Ints, classes: int) -> SiteEvidence:
    """A plant's own records as evidence without noise. It must not leave the plant.

    Args:
        features: ``[n, d]``.
        labels: ``[n]`` in 0..K-1; -1 is a record without a label.
        classes: K.
    """
    known = labels >= 0
    counts = np.bincount(labels[known], minlength=classes).astype(np.float64)
    sums = np.zeros((classes, features.shape[1]))
    np.add.at(sums, labels[known], features[known])
    bare = features[~known]
    return SiteEvidence(
        means=sums / np.maximum(counts, 1)[:, None],
        noise=np.zeros(classes),
        counts=np.maximum(counts, 1),
        present=(counts > 0).astype(np.float64),
        domain=bare.mean(axis=0) if len(bare) else np.zeros(features.shape[1]),
        domain_noise=0.0 if len(bare) else np.inf,
        domain_count=float(max(len(bare), 1)),
    )


def solve(posterior: Posterior, own: SiteEvidence) -> Means:
    """Add a plant's own evidence, and solve."""
    size = posterior.precision.shape[1]
    system, right = posterior.precision.copy(), posterior.weighted.copy()
    means = own.means @ posterior.basis
    precision, spread = observation(posterior.within, posterior.ratio, own)
    classes = np.arange(1, size)
    system[:, 0, 0] += precision.sum(axis=0)
    system[:, classes, classes] += precision.T
    system[:, 0, 1:] += precision.T
    system[:, 1:, 0] += precision.T
    right[:, 0] += (precision * means).sum(axis=0)
    right[:, 1:] += (precision * means).T
    if np.isfinite(own.domain_noise):
        observe_domain(system, right, posterior.basis, posterior.within, posterior.between, own, 0)
    inverse = _inverse(system)  # [d, 1+K, 1+K]
    solved = np.einsum("dij,dj->id", inverse, right)
    centre, delta = solved[0], solved[1:]
    there = own.present[:, None] > PRESENT
    keep = np.where(there, posterior.ratio / (posterior.ratio + spread), 0.0)
    deviations = delta + keep * (means - centre - delta)
    variance = np.diagonal(inverse, axis1=1, axis2=2).T  # [1 + K, d]
    turn = posterior.basis.T
    return Means(
        centre=centre @ turn,
        deviations=deviations @ turn,
        spread=variance[1:] + (1 - keep) * posterior.ratio,
        centre_spread=variance[0],
    )


def observation(within: Floats, ratio: Floats, site: SiteEvidence) -> tuple[Floats, Floats]:
    """Precision of each class mean about ``g + delta``, and variance of its noise, ``[K, d]``."""
    spread = site.noise[:, None] + within / site.counts[:, None]
    spread = spread / np.maximum(site.present, 1e-6)[:, None]
    return np.where(site.present[:, None] > PRESENT, 1 / (spread + ratio), 0.0), spread


def observe_domain(
    system: Floats,
    right: Floats,
    basis: Floats,
    within: Floats,
    between: Floats,
    site: SiteEvidence,
    row: int,
) -> None:
    """Add, in place, that the mean of all records is g plus the mean of the deviations.

    Args:
        system: ``[d, S + K, S + K]``, means of S sites first.
        right: ``[d, S + K]``.
        basis: ``[d, d]``.
        within: ``[d]``.
        between: ``[d]``; unequal class counts move the mean by some share of a deviation.
        site: Whose mean it is.
        row: Its row among the sites.
    """
    classes = len(site.counts)
    first = system.shape[1] - classes
    share = 1 / classes
    weight = domain_precision(within, between, site)
    y = site.domain @ basis
    system[:, row, row] += weight
    system[:, row, first:] += share * weight[:, None]
    system[:, first:, row] += share * weight[:, None]
    system[:, first:, first:] += share**2 * weight[:, None, None]
    right[:, row] += weight * y
    right[:, first:] += share * (weight * y)[:, None]


def domain_precision(within: Floats, between: Floats, site: SiteEvidence) -> Floats:
    """Precision of the mean of all of a site's records about ``g + mean delta``, ``[d]``."""
    unbalanced = _UNBALANCED * between / len(site.counts)
    return 1 / (site.domain_noise + within / site.domain_count + unbalanced)


def own_share(posterior: Posterior, counts: Floats | Ints, noise: float) -> float:
    """Share of what a site's released class means say that is of its records, not noise, 0 to 1.

    Args:
        posterior: Says how much class means of sites, and records of a class, differ.
        counts: Records of each class, ``[K]``; classes without any have no part.
        noise: Standard deviation of the noise on an entry of a class sum.
    """
    n = counts[counts > 0]
    if not len(n) or not np.isfinite(noise):
        return 0.0
    known = posterior.ratio.sum() + posterior.within.sum() / n
    return float(np.mean(known / (known + len(posterior.within) * noise**2 / n**2)))


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


def complete(posterior: Posterior, features: Floats, labels: Ints) -> tuple[Floats, Floats]:
    """A head for a plant from what is known without it and from its own exact records.

    Args:
        posterior: From the server.
        features: ``[n, d]``; without any, what others know is all.
        labels: ``[n]`` in 0..K-1; -1 is a record without a label.

    Returns:
        Weight ``[K, d]`` and bias ``[K]`` of the features as they are. Classes count as frequent as
        they are among labelled records; a class without any as an average one.
    """
    classes = posterior.classes
    own = exact_evidence(features, labels, classes)
    means = solve(posterior, own)
    known = labels >= 0
    y = labels[known]
    counts = np.bincount(y, minlength=classes).astype(np.float64)
    seen = int((counts > 0).sum())
    scatter, freedom = PSEUDO_RECORDS * posterior.covariance, PSEUDO_RECORDS
    if seen > 1:
        # The spread of one class says little of the others': good parts are alike, defects are not.
        rest = features[known] - own.means[y]
        scatter, freedom = scatter + rest.T @ rest, freedom + len(y) - seen
    # Noise shortens deviations; where only one class has noise on it, none compete for its length.
    even = _EVEN if classes - seen > 1 else np.inf
    weight, bias = discriminant(means.deviations, _inverse(scatter / freedom), even)
    if len(y):
        frequent = np.where(counts > 0, counts, counts[counts > 0].mean())
        bias = bias + np.log(frequent + 1)
    return _around(weight, bias, means.centre)


def mover(posterior: Posterior) -> Callable[[Floats, Ints], tuple[Floats, Floats]]:
    """Other sites' class deviations, to be put around the mean of a plant's records.

    Returns:
        A function of arguments and result like ``complete``, less the posterior. Of the records it
        knows nothing but where they lie, so that they can be trained on beside it, and judge it.
    """
    classes = posterior.classes
    others = solve(posterior, no_evidence(classes, len(posterior.within))).deviations
    weight, bias = discriminant(others, _inverse(posterior.covariance))

    def move(features: Floats, labels: Ints) -> tuple[Floats, Floats]:
        centre = solve(posterior, exact_evidence(features, labels, classes)).centre
        return _around(weight, bias, centre)

    return move


def _inverse(matrix: Floats) -> Floats:
    """Inverse of one matrix or of several.

    Raises:
        VerificationError: One is singular: figures that no noisy sums of records give.
    """
    try:
        return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise VerificationError(f"class means: the posterior is singular: {error}") from error


def _around(weight: Floats, bias: Floats, centre: Floats) -> tuple[Floats, Floats]:
    """Discriminants of features from those of their distance to a centre."""
    weight, bias = centred(weight, bias)
    return weight, bias - weight @ centre
