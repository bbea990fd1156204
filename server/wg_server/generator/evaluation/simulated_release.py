"""Simulated releases, for tests and for training and evaluating generators only.

They are not private: the noise is a rounded Gaussian from a seeded generator that can be replayed,
and floating-point noise has gaps. Real releases come from ``mechanism.add_noise``.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wg_core.privacy import mechanism
from wg_core.privacy.exact_statistics import exact_statistics
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import StatisticsSchema


def add_simulated_noise(
    exact_statistics: NDArray[np.int64], sigma: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Add rounded Gaussian noise to exact statistics; the result is *not private*.

    Args:
        exact_statistics: Exact statistics, int64, any shape.
        sigma: Standard deviation of the noise, grid units.

    Returns:
        Noisy statistics, int64, same shape.
    """
    noise = np.rint(rng.normal(0.0, sigma, size=exact_statistics.shape))
    return np.asarray(exact_statistics + noise.astype(np.int64), dtype=np.int64)


def simulate_noisy_statistics(
    schema: StatisticsSchema,
    features: ArrayLike,
    labels: ArrayLike,
    sigma: float,
    rng: np.random.Generator,
) -> NoisyStatistics:
    """Simulate a complete release, counts first and then class sums; it is *not private*.

    Args:
        schema: Layout of the release, with unit rule ``record``.
        features: Features of the records, ``[n, d]``.
        labels: Class indices, integers ``[n]``; -1: no label.
        sigma: Standard deviation of the noise, grid units; 0 for exact statistics.
    """
    noisy = mechanism.release_counts_then_sums(
        schema,
        exact_statistics(schema, features, labels),
        lambda centre: exact_statistics(schema, features, labels, centre=centre),
        sigma,
        lambda part: add_simulated_noise(part, sigma, rng) if sigma else part,
    )
    return NoisyStatistics(schema, noisy, sigma)
