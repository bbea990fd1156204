"""Linear discriminants, the normal form of a linear head, and principal components.

A linear head is a weight ``[K, d]`` and a bias ``[K]``: logits = features @ weight.T + bias. The
softmax does not change when the same row is added to all, so heads are compared with rows that are
centred over classes.

References: linear discriminant analysis, Fisher (1936), *Annals of Eugenics* 7(2); regularised,
Friedman (1989), *JASA* 84(405). Pure functions of arrays; nothing here adds privacy noise.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
F = TypeVar("F", bound=np.floating[Any])

_EIGENVALUE_FLOOR = 1e-9  # Share of the largest eigenvalue below which a direction is rounding


def class_means(features: NDArray[np.floating], labels: Ints, classes: int) -> Floats:
    """Return the mean of each class's records, ``[K, d]``; zeros for a class without records.

    Args:
        features: Features of the records, ``[n, d]``.
        labels: Class of each record, ``[n]`` in 0..K-1.
        classes: Number K of classes.
    """
    hot = np.eye(classes)[labels]
    return np.asarray(hot.T @ features / np.maximum(hot.sum(axis=0), 1)[:, None])


def linear_discriminants(means: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Return linear discriminants for equally frequent classes, from means and precision.

    Args:
        means: Class means, ``[K, d]``.
        precision: Inverse of the within-class covariance, ``[d, d]``.

    Returns:
        Weight ``[K, d]`` and bias ``[K]``; logits are log likelihoods but for a common term.
    """
    weight = means @ precision
    return weight, -0.5 * np.einsum("kd,kd->k", means, weight)


def fit_ldas(
    features: Floats, labels: Ints, classes: int, shrinkages: Sequence[float]
) -> list[tuple[Floats, Floats]]:
    """Fit linear discriminants to records, one head for each shrinkage of the covariance.

    Shrinkage keeps the eigenvectors of the covariance, so they are computed once, from the
    covariance or the Gram matrix, whichever is smaller. Classes have their observed frequencies.

    Args:
        features: Features of about unit variance, ``[n, d]``.
        labels: Class of each record, ``[n]`` in 0..K-1, each class at least once.
        classes: Number of classes K.
        shrinkages: Shares of the isotropic covariance, 0 to 1.

    Returns:
        Weight ``[K, d]`` and bias ``[K]`` for each shrinkage.
    """
    n, d = features.shape
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    means = class_means(features, labels, classes)
    within = features - means[labels]
    # d pseudo-observations of unit variance keep the estimate proper when n is about K.
    freedom = max(n - classes, 0) + 1.0
    trace = (np.sum(within**2) + d) / freedom / d
    values, vectors = principal_components(within, min(n, d))
    nonzero = values > _EIGENVALUE_FLOOR * max(float(values[0]), 1e-300)
    values, vectors = values[nonzero] * n / freedom, vectors[:, nonzero]
    inside = means @ vectors
    outside = means - inside @ vectors.T
    frequency = np.log((counts + 1) / (n + classes))
    heads = []
    for shrinkage in shrinkages:
        ridge = (shrinkage + 1e-6) * trace
        weight = inside / ((1 - shrinkage) * values + ridge) @ vectors.T + outside / ridge
        heads.append((weight, frequency - 0.5 * np.sum(weight * means, axis=1)))
    return heads


def ridged_inverse(covariance: Floats, ridge: float) -> Floats:
    """Return the inverse of a covariance ``[d, d]`` plus ``ridge`` times its mean variance."""
    d = len(covariance)
    return np.asarray(np.linalg.inv(covariance + ridge * np.trace(covariance) / d * np.eye(d)))


def centre_over_classes(weight: NDArray[F], bias: NDArray[F]) -> tuple[NDArray[F], NDArray[F]]:
    """Centre a head's weight rows and biases over classes; its softmax stays the same."""
    return np.asarray(weight - weight.mean(axis=0)), np.asarray(bias - bias.mean())


def principal_components(rows: Floats, count: int) -> tuple[Floats, Floats]:
    """Return leading eigenvalues ``[count]`` and eigenvectors ``[D, count]`` of ``rows' rows / n``.

    They are computed from the Gram matrix or the covariance, whichever is smaller: there may be
    thousands of records and features.

    Args:
        rows: Data ``[n, D]``, centred by the caller if the mean is to be removed.
        count: Number of components, at most the smaller of n and D.
    """
    n, d = rows.shape
    small = rows @ rows.T if n < d else rows.T @ rows
    order = len(small)
    values, vectors = scipy.linalg.eigh(small / n, subset_by_index=(order - count, order - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    if n < d:
        vectors = rows.T @ vectors
        vectors = vectors / (np.linalg.norm(vectors, axis=0) + 1e-300)
    return values, vectors
