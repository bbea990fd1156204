"""Simulated releases for tests and for training the generator. Never for a real release.

A seeded rounded Gaussian has the right distribution and no privacy at all: the generator can be
replayed, and floating-point noise has holes. Real releases come from ``mechanism.release``.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wg_core.privacy import mechanism
from wg_core.privacy.exact import exact_statistics
from wg_core.privacy.schema import StatisticsSchema
from wg_core.privacy.statistics import NoisyStatistics


def simulate_release(
    exact: NDArray[np.int64], sigma: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Add rounded Gaussian noise that is *not private*.

    Args:
        exact: int64, any shape.
        sigma: Standard deviation, grid units.

    Returns:
        int64, same shape.
    """
    noise = np.rint(rng.normal(0.0, sigma, size=exact.shape))
    return np.asarray(exact + noise.astype(np.int64), dtype=np.int64)


def simulate_statistics(
    schema: StatisticsSchema,
    features: ArrayLike,
    labels: ArrayLike,
    sigma: float,
    rng: np.random.Generator,
) -> NoisyStatistics:
    """A whole release of a data set of records, part by part as a real one, *not private*.

    Args:
        schema: What is released; its unit rule is ``record``.
        features: [n, d], feature units.
        labels: Integers [n], -1 for a record without a label.
        sigma: Standard deviation, grid units; 0 for exact statistics.
    """
    noisy = mechanism.in_parts(
        schema,
        exact_statistics(schema, features, labels),
        lambda centre: exact_statistics(schema, features, labels, centre=centre),
        sigma,
        lambda part: simulate_release(part, sigma, rng) if sigma else part,
    )
    return NoisyStatistics(schema, noisy, sigma)
