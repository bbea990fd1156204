"""Estimates from noisy statistics when the noise is known. Post-processing: it costs no privacy.

Plain arrays in and out. The noise on every entry is independent, Gaussian and of known standard
deviation (``NoisyStatistics`` gives both), so that its bias can be taken off and estimates can be
shrunk by the right amount instead of by a guess:

* squares of noisy entries are too large by the noise's variance (``squared_norm``, ``variances``,
  ``covariance``);
* a noisy count can be negative, and dividing by it is unstable (``positive_counts``);
* a noisy mean is best pulled towards a prior by noise over noise plus spread (``shrink``), and the
  spread itself can be found from the noisy means (``spread``): empirical Bayes, Efron and Morris
  1973; for matrices, linear shrinkage after Ledoit and Wolf 2004 with the noise known.

Nothing here knows what was lost by clipping.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def positive_counts(counts: Array, std: float) -> Array:
    """Posterior mean of counts that cannot be negative, under a flat prior.

    The mean of a Gaussian truncated at zero, ``x + s * phi(x/s) / Phi(x/s)``: close to x when x is
    many s, and small but positive when x is far below zero.

    Args:
        counts: Noisy counts, any shape.
        std: Standard deviation of their noise; with 0, counts are only floored at 0.

    Returns:
        Counts, same shape; positive if ``std`` is.
    """
    if std == 0:
        return np.maximum(counts, 0.0)
    z = counts / std
    inner = np.maximum(z, _TAIL)
    density = np.exp(-(inner**2) / 2) / math.sqrt(2 * math.pi)
    mass = np.vectorize(math.erfc, otypes=[float])(-inner / math.sqrt(2)) / 2
    # Below the tail: Phi(z) = phi(z)/|z| (1 - 1/z^2 ...), so that the mean tends to s/|z|.
    return np.asarray(std * np.where(z < _TAIL, -1 / np.minimum(z, _TAIL), inner + density / mass))


def squared_norm(noisy: Array, std: float | Array) -> Array:
    """Squared L2 norm of each row's noiseless value, unbiased and floored at 0.

    Args:
        noisy: [..., d].
        std: Of the noise; scalar, or of a shape that broadcasts to ``noisy``.
    """
    noise = np.broadcast_to(np.square(std), noisy.shape)
    return np.asarray(np.maximum((noisy**2 - noise).sum(axis=-1), 0.0))


def class_means(
    sums: Array, sum_std: float, counts: Array, count_std: float
) -> tuple[Array, Array]:
    """Means of classes, with the noise that is left on them.

    Args:
        sums: Noisy class sums [K, d].
        sum_std: Standard deviation of their noise.
        counts: Noisy class counts [K].
        count_std: Standard deviation of their noise.

    Returns:
        Means [K, d], and the variance of the noise on an entry of each, [K]. A class without a
        positive count has a mean of 0 and infinite variance.
    """
    n = positive_counts(counts, count_std)
    with np.errstate(divide="ignore"):
        inverse = np.where(n > 0, 1 / np.where(n > 0, n, 1.0), 0.0)
        variance = np.where(n > 0, (sum_std * inverse) ** 2, np.inf)
    return sums * inverse[:, None], variance


def spread(means: Array, noise_variance: Array, centre: Array) -> float:
    """Variance of true means about a centre, per coordinate, from noisy ones (moments, floored).

    Args:
        means: Noisy means [K, d].
        noise_variance: Variance of the noise on an entry of each, [K]; may be infinite.
        centre: [d].

    Returns:
        The unbiased estimate, weighted by precision, or 0 if it is negative.
    """
    usable = np.isfinite(noise_variance)
    if not usable.any():
        return 0.0
    noise = noise_variance[usable]
    excess = np.square(means[usable] - centre).mean(axis=1) - noise
    weight = 1 / np.square(noise + np.median(noise) + np.finfo(float).tiny)
    return float(max(0.0, np.average(excess, weights=weight / weight.max())))


def shrink(means: Array, noise_variance: Array, centre: Array, variance: float) -> Array:
    """Best linear prediction of true means: pull noisy ones towards a centre.

    Args:
        means: Noisy means [K, d].
        noise_variance: Variance of the noise on an entry of each, [K]; may be infinite.
        centre: Prior mean, [d] or [K, d].
        variance: Prior variance of an entry about the centre (``spread`` finds one).

    Returns:
        [K, d]: ``centre + variance / (variance + noise) * (means - centre)``.
    """
    total = variance + noise_variance
    keep = np.divide(variance, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(centre + keep[:, None] * (means - centre))


def cosine_prototypes(sums: Array, std: float) -> Array:
    """Directions of class sums: no count is needed, and a class that is all noise gets length 0.

    Args:
        sums: Noisy class sums [K, d].
        std: Standard deviation of their noise.

    Returns:
        [K, d]: the noisy direction times ``sqrt(signal / (signal + noise))``, the expected cosine
        between the noisy and the true direction.
    """
    energy = np.square(sums).sum(axis=1)
    signal = squared_norm(sums, std)
    safe = np.where(energy > 0, energy, 1.0)
    return np.asarray(sums * (np.sqrt(signal) / safe)[:, None])


def variances(
    first: Array, first_std: float | Array, second: Array, count: float, *, floor: float
) -> Array:
    """Variance of each coordinate from noisy sums of x and x * x.

    ``second/n - (first/n)^2`` is too small by the noise's variance in the square; that is put back.

    Args:
        first: Noisy sum of x, [d].
        first_std: Standard deviation of its noise.
        second: Noisy sum of x * x, [d].
        count: Number of records, positive.
        floor: Least variance returned.
    """
    square = (first**2 - np.square(first_std)) / count**2
    return np.maximum(second / count - np.maximum(square, 0.0), floor)


def covariance(
    first: Array, first_std: float | Array, second: Array, count: float, *, floor: float
) -> Array:
    """Covariance from noisy sums of x and x x^T, debiased and with eigenvalues clipped.

    Args:
        first: Noisy sum of x, [d].
        first_std: Standard deviation of its noise.
        second: Noisy sum of x x^T, symmetric, [d, d].
        count: Number of records, positive.
        floor: Least eigenvalue of the result.
    """
    mean = first / count
    noise = np.broadcast_to(np.square(first_std), first.shape) / count**2
    return clip_eigenvalues(second / count - np.outer(mean, mean) + np.diag(noise), floor)


def clip_eigenvalues(matrix: Array, floor: float) -> Array:
    """The nearest symmetric matrix (Frobenius) whose eigenvalues are at least ``floor``."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, floor)) @ vectors.T)


def shrink_to_identity(matrix: Array, std: Array) -> Array:
    """Linear shrinkage of a noisy symmetric matrix to a multiple of the identity, noise known.

    The weight of the target is noise energy over all energy about it: the oracle's weight
    (Ledoit and Wolf 2004, Theorem 2.1) with both energies estimated, and the first one known.

    Args:
        matrix: Noisy symmetric matrix [d, d].
        std: Standard deviation of the noise on each entry, [d, d].
    """
    target = np.trace(matrix) / len(matrix) * np.eye(len(matrix))
    energy = float(np.square(matrix - target).sum())
    weight = min(1.0, float(np.square(std).sum()) / energy) if energy > 0 else 1.0
    return np.asarray(weight * target + (1 - weight) * matrix)


_TAIL = -25.0
"""Standard deviations below which the Gaussian's tail is replaced by its leading term."""
