"""Sums of clipped gradients with exact noise: what private training at a plant rests on.

A step of DP-SGD (Abadi et al., CCS 2016, Algorithm 1) on all records clips each record's
gradient, sums, and adds Gaussian noise. Here the sum is one of integers with OpenDP's discrete
Gaussian on it, as in a release of statistics (``mechanism``). Without subsampling the steps are a
composition of Gaussian mechanisms, each chosen by what came out before, whose ``mu^2`` add up
exactly (Dong, Roth and Su 2022, Corollary 2), so that a ledger can count a training as it counts a
release.

*Guarantee.* ``steps`` calls of ``noisy_sum`` are mu-GDP for adding or removing one privacy unit
with ``mu^2 = sensitivity_squared(steps) / sigma^2``, whatever the gradients are, as long as each
row depends on its own record and on earlier results alone, to the last bit. Edge cases: a number
that is not finite counts as zero; a unit of m records counts with the sum of their rows over m,
rounded toward zero; no records give noise alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wg_core.privacy import exact, mechanism
from wg_core.privacy.mechanism import Sampler

BITS = 14  # log2 of the number of grid units in the clip radius
CLIP_RADIUS = 1.0  # L2 norm to which a record's gradient is clipped


def sensitivity_squared(steps: int) -> int:
    """Return the squared L2 sensitivity of all steps together, in squared grid units."""
    return steps << (2 * BITS)


def noisy_sum(
    rows: NDArray[np.float64], units: Sequence[NDArray[np.int64]], sigma: float, sampler: Sampler
) -> NDArray[np.float64]:
    """Return the sum of clipped rows with noise, ``[P]``; to be called once for each step charged.

    Args:
        rows: Gradient of each record, ``[n, P]``.
        units: Row numbers of each privacy unit; each row is in one.
        sigma: Standard deviation of the noise, grid units.
        sampler: Noise source; another one than OpenDP's in tests only.
    """
    grid_rows = exact.quantise(rows, CLIP_RADIUS, BITS)
    total = np.zeros(rows.shape[1], np.int64)
    for members in units:
        total += exact.divide_toward_zero(grid_rows[members].sum(axis=0), len(members))
    noisy = mechanism.release(total, sigma, sampler)
    return noisy.astype(np.float64) * (CLIP_RADIUS / (1 << BITS))
