"""Where class sums are centred: a public function of what was released first.

Features of one site lie around the site's own mean, which takes up most of their norm and tells no
class from another. So a release spends a part of its budget on counts and on the sum over
all records, and sums what is left of each record about a centre C, clipped to a smaller radius r:
noise is proportional to r, not to the whole clip radius (docs/centred-release.md).

The length L of the site's mean is estimated as that of the released sum, less what the noise adds
to its square, over the number of records; and that number is a weighted mean of two estimates: the
released counts, and what it would be if sites' means were ``TYPICAL`` clip radii long. Weights are
inverse variances. Then ``r^2 = S^2 - L^2``: for records on the sphere, the mean squared distance
from their mean. C has the direction of the released sum and the length L times the cosine that is
expected between released and true sum, so that it is near the origin where there is little but
noise.

*Guarantee.* None is needed: C, r and the weight are functions of released integers and of public
numbers alone, so they cost nothing, and however bad they are the sensitivity holds (``schema``).
All is exact arithmetic on integers and fractions: plant, server and auditor find the same centre on
every machine. Edge cases: a released sum with no more length than noise gives C = 0 and r = S, a
release about the origin; a number of records that is too small, or negative, gives the greatest L
that is allowed, ``LONGEST``, so that r is at least .34 S.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from wg_core.privacy.schema import StatisticsSchema

Integers = NDArray[np.int64]

TYPICAL = Fraction(4, 5)
"""Length of a site's mean, clip radii: .48 to .97 over twelve public sets."""
TYPICAL_VARIANCE = Fraction(1, 25)  # Squared relative spread of it
LONGEST = Fraction(15, 16)  # No site's mean is taken to be longer, clip radii


@dataclass(frozen=True, slots=True, eq=False)
class Centre:
    """Point about which the sums of a release are taken.

    Attributes:
        point: C, int64 ``[d]``, grid units.
        radius: r, grid units; positive.
        weight: b', by which entries of the sums are multiplied.
    """

    point: Integers
    radius: int
    weight: int


def origin(schema: StatisticsSchema) -> Centre:
    """The origin: what sums are taken about before a centre is known, or where it is noise."""
    point = np.zeros(schema.dimension, dtype=np.int64)
    return Centre(point, schema.grid, schema.sum_weight)


def of_release(schema: StatisticsSchema, integers: Integers, sigma: float) -> Centre:
    """Return the point about which the sums of a whole release are taken.

    Args:
        integers: int64 ``[schema.length]``, as released.
        sigma: Standard deviation of the noise, grid units; 0 without noise.
    """
    counts, _, moments = schema.blocks
    return centre(schema, integers[: counts.size], integers[moments.offset :], sigma)


def centre(schema: StatisticsSchema, counts: Integers, total: Integers, sigma: float) -> Centre:
    """The centre that follows from the first part of a release.

    Args:
        counts: Released counts, int64 ``[K + 1]``, weighted.
        total: Released sum over all records, int64 ``[d]``, weighted.
        sigma: Standard deviation of the noise on both, grid units; 0 without noise.
    """
    variance = Fraction(sigma) ** 2
    sums = [int(value) for value in total]
    energy = sum(value * value for value in sums)
    signal = math.floor(energy - len(sums) * variance)
    if signal <= 0:
        return origin(schema)
    length = math.isqrt(signal)  # of the sum without its noise, weighted
    unit = schema.moment_weight * schema.grid  # what one record on the sphere adds to it
    typical = Fraction(length, unit) / TYPICAL
    spread = typical**2 * TYPICAL_VARIANCE
    count = Fraction(sum(int(value) for value in counts), schema.count_weight)
    noise = len(counts) * variance / schema.count_weight**2
    records = (count * spread + typical * noise) / (spread + noise)
    records = max(records, Fraction(length, unit) / LONGEST)
    mean = math.floor(schema.grid * Fraction(length, unit) / records)
    # Direction times length times cosine: V / |V| * mean * length / |V|.
    point = [abs(value) * mean * length // energy * (1 if value > 0 else -1) for value in sums]
    radius = math.isqrt(schema.grid**2 - mean**2)
    return Centre(
        np.array(point, dtype=np.int64), radius, schema.sum_weight * schema.grid // radius
    )


def deviations(q: Integers, about: Centre) -> Integers:
    """Records about a centre, clipped to its radius in exact integer arithmetic.

    Args:
        q: Quantised records, int64 ``[n, d]``, each within the grid's radius.
        about: Coordinates whose values and ``q`` are below 2^21, so that no square leaves 64 bits.

    Returns:
        int64 ``[n, d]`` with ``sum(u^2) <= radius^2`` in each row; no row depends on another.
    """
    u = q - about.point
    squares = (u * u).sum(axis=1)
    norm = _ceil_sqrt(squares)
    shorter = np.abs(u) * about.radius // np.maximum(norm, 1)[:, None]
    outside = squares > about.radius**2
    return np.where(outside[:, None], np.sign(u) * shorter, u)


def _ceil_sqrt(values: Integers) -> Integers:
    """Square roots of integers in [0, 2^53), rounded up: floating point first, then mended."""
    root = np.sqrt(values.astype(np.float64)).astype(np.int64)
    root -= root * root > values
    root += (root + 1) * (root + 1) <= values
    return np.asarray(root + (root * root < values))
