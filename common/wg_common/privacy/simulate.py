"""Simulated releases for tests and for training the generator. Never for a real release.

A seeded rounded Gaussian has the right distribution and no privacy at all: the generator can be
replayed, and floating-point noise has holes. Real releases come from ``mechanism.release``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def simulate_release(
    exact: NDArray[np.int64], sigma: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Add rounded Gaussian noise that is *not private*.

    Args:
        exact: int64, any shape.
        sigma: Standard deviation, grid units.
        rng: A seeded generator.

    Returns:
        int64, same shape.
    """
    noise = np.rint(rng.normal(0.0, sigma, size=exact.shape))
    return np.asarray(exact + noise.astype(np.int64), dtype=np.int64)
