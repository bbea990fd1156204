"""How much a feature counts that has no public scale: by how much a site's own records vary in it.

Features come in blocks. Each is divided by its spread plus a share of its block's mean spread, so
that a feature that hardly varies does not become noise, and each block has the same variance.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLOOR = 0.3
"""Added to the spread that a feature is divided by, in units of the mean spread of its block."""
_TINY = 1e-12


def block_scale(spread: Floats, blocks: Sequence[int]) -> Floats:
    """Factors ``[B]`` on features with standard deviations ``[B]``: each block has variance 1.

    Args:
        blocks: Sizes of the blocks; they add up to B.
    """
    factors = np.zeros(len(spread))
    start = 0
    for size in blocks:
        std = spread[start : start + size]
        inverse = 1 / (std + FLOOR * float(std.mean()) + _TINY)
        factors[start : start + size] = inverse / (np.sqrt(np.sum((std * inverse) ** 2)) + _TINY)
        start += size
    return factors
