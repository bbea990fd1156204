"""How an encoder's projection is fitted on public data: linear algebra, and nothing else.

Raw features are standardised by how they vary *within* public data sets, weighted by block,
projected, shrunk in the directions in which whole data sets differ, and scaled (``module``). Signs
are fixed, so that the same input gives the same bytes.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

_SITE_SHRINKAGE = 4.0

Floats = NDArray[np.float64]
Index = NDArray[np.intp]


def within(x: Floats, index: Index) -> Floats:
    """Rows ``[n, D]`` minus the mean of their group; ``index`` ``[n]`` counts from 0."""
    return x - means(x, index)[index]


def means(x: Floats, index: Index) -> Floats:
    """Mean of each group, ``[G, D]``."""
    sums = np.zeros((index.max() + 1, x.shape[1]))
    np.add.at(sums, index, x)
    return np.asarray(sums / np.bincount(index)[:, None])


def discriminant(z: Floats, classes: Index, count: int, ridge: float) -> tuple[Floats, Floats]:
    """Directions in which classes differ most, over how much records of a class do.

    Args:
        z: Rows without the means of their data sets, ``[n, D]``.
        classes: Class of each row, numbered over all data sets, ``[n]``.
        count: Number of directions.
        ridge: Added to the scatter within classes, in units of its mean variance.

    Returns:
        Generalised eigenvalues ``[count]`` and eigenvectors ``[D, count]``, largest first.
    """
    inner = within(z, classes)
    scatter = inner.T @ inner / len(z)
    between = z.T @ z / len(z) - scatter
    size = len(scatter)
    floor = scatter + ridge * np.trace(scatter) / size * np.eye(size)
    values, vectors = scipy.linalg.eigh(between, floor, subset_by_index=(size - count, size - 1))
    return np.maximum(values[::-1], 1e-9), vectors[:, ::-1]


def shrink_site_directions(features: Floats, index: Index) -> Floats:
    """Shrink the directions in which data sets differ as wholes, ``[d, d]``.

    Light and camera, or unit and gain, move all records of a site alike. That says nothing of its
    classes, but uses up the clip radius, and noise is proportional to it.
    """
    centres = means(features, index)
    spread = float(np.mean((features - centres[index]) ** 2))
    away = centres - centres.mean(axis=0)
    values, vectors = np.linalg.eigh(away.T @ away / len(away))
    gain = (1 + _SITE_SHRINKAGE * np.maximum(values, 0) / spread) ** -0.5
    return np.asarray((vectors * gain) @ vectors.T)


def scaled(x: Floats, mean: Floats, projection: Floats, radius: float, quantile: float) -> Floats:
    """The projection with signs fixed, and scaled so that a share of norms is below ``radius``."""
    largest = np.abs(projection).argmax(axis=0)
    signed = projection * np.sign(projection[largest, np.arange(projection.shape[1])])
    norms = np.linalg.norm((x - mean) @ signed, axis=1)
    return np.asarray(signed * (radius / float(np.quantile(norms, quantile))))
