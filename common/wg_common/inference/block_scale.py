"""Scale factors for features without a public scale, from their spread over a site's records.

Features come in blocks. Each feature is divided by its spread plus a share of its block's mean
spread, which keeps a nearly constant feature small; then blocks are scaled to the same variance.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPREAD_FLOOR = 0.3
"""Term added to a feature's spread before division, in units of its block's mean spread."""
DIVISION_EPSILON = 1e-12  # Term against division by zero


def block_scale_factors(spread: Floats, block_sizes: Sequence[int]) -> Floats:
    """Return factors ``[B]`` on features that give each block of features a total variance of 1.

    Args:
        spread: Standard deviations of the features, ``[B]``.
        block_sizes: Sizes of the blocks; they add up to B.
    """
    factors = np.zeros(len(spread))
    start = 0
    for size in block_sizes:
        std = spread[start : start + size]
        inverse = 1 / (std + SPREAD_FLOOR * float(std.mean()) + DIVISION_EPSILON)
        factors[start : start + size] = inverse / (
            np.sqrt(np.sum((std * inverse) ** 2)) + DIVISION_EPSILON
        )
        start += size
    return factors
