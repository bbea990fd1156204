"""Centres of class sums, computed from the first, already noisy part of a release.

Features of one site lie around the site's own mean, which makes up most of their norm and does not
distinguish classes. So a release first spends a part of its budget on counts and on the sum over
all records. Then it sums the deviations of records from a centre C, clipped to a smaller radius r:
the noise is proportional to r, not to the clip radius S of features (docs/centred-release.md).

The length L of the site's mean is estimated from the length of the released sum, corrected for the
noise in its square, divided by the number of records. That number is a weighted mean of two
estimates, with inverse variances as weights: the released counts, and the number that follows if
the site's mean has the typical length of .8 clip radii. Then ``r^2 = S^2 - L^2``, which for records
of norm S is the mean squared distance from their mean. C has the direction of the released sum, and
its length is L times the expected cosine between released and true sum, so that it is near the
origin if the sum is mostly noise.

*Guarantee.* None is needed: C, r and the weight of the sums depend only on released integers and
public numbers, so they cost no privacy, and the sensitivity holds whatever their values
(``schema``). All arithmetic is exact, on integers and fractions: plant, server and auditor compute
the same centre on every machine. Edge cases: a released sum no longer than its noise gives C = 0
and r = S, as without centring; a number of records that is too small, or negative, gives the
largest allowed L, 15/16 of S, so that r is at least .34 S.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from wg_core.privacy.schema import StatisticsSchema

Integers = NDArray[np.int64]

TYPICAL_MEAN_LENGTH = Fraction(4, 5)
"""Typical length of a site's mean in clip radii: .48 to .97 on twelve public data sets."""
TYPICAL_LENGTH_VARIANCE = Fraction(1, 25)  # Squared relative standard deviation of that length
LARGEST_MEAN_LENGTH = Fraction(15, 16)  # Largest length assumed for a site's mean, clip radii


@dataclass(frozen=True, slots=True, eq=False)
class Centre:
    """Point from which the deviations in a release's class sums are measured.

    Attributes:
        point: Coordinates of the centre, int64 ``[number of features]``, grid units.
        radius: Radius to which deviations are clipped, grid units; positive.
        sum_weight: Integer by which the summed deviations are multiplied in the release.
    """

    point: Integers
    radius: int
    sum_weight: int


def origin_centre(schema: StatisticsSchema) -> Centre:
    """Return the origin as centre, which is used if no better one can be estimated."""
    point = np.zeros(schema.dimension, dtype=np.int64)
    return Centre(point, schema.radius_grid_units, schema.sum_weight)


def centre_of_release(schema: StatisticsSchema, integers: Integers, sigma: float) -> Centre:
    """Recompute the point about which a release's class sums were taken, from its integers.

    Args:
        integers: Released integers, int64 ``[schema.vector_length]``.
        sigma: Standard deviation of the noise, grid units; 0 without noise.
    """
    counts, _, moments = schema.blocks
    return estimate_centre(schema, integers[: counts.size], integers[moments.offset :], sigma)


def estimate_centre(
    schema: StatisticsSchema, noisy_counts: Integers, noisy_total: Integers, sigma: float
) -> Centre:
    """Estimate the centre of class sums from the noisy counts and total, which are released first.

    Args:
        noisy_counts: Released counts of the K labels and of unlabelled records, int64
            ``[K + 1]``, times their weight in the schema.
        noisy_total: Released sum of the d features over all records, int64 ``[d]``, times its
            weight in the schema.
        sigma: Standard deviation of the noise on counts and sum, grid units; 0 without noise.
    """
    variance = Fraction(sigma) ** 2
    sums = [int(value) for value in noisy_total]
    energy = sum(value * value for value in sums)
    signal = math.floor(energy - len(sums) * variance)
    if signal <= 0:
        return origin_centre(schema)
    length = math.isqrt(signal)  # length of the weighted sum without its noise
    unit = schema.moment_weight * schema.radius_grid_units  # of one record on the sphere
    typical = Fraction(length, unit) / TYPICAL_MEAN_LENGTH
    spread = typical**2 * TYPICAL_LENGTH_VARIANCE
    count = Fraction(sum(int(value) for value in noisy_counts), schema.count_weight)
    noise = len(noisy_counts) * variance / schema.count_weight**2
    records = (count * spread + typical * noise) / (spread + noise)
    records = max(records, Fraction(length, unit) / LARGEST_MEAN_LENGTH)
    mean = math.floor(schema.radius_grid_units * Fraction(length, unit) / records)
    # Direction times length times cosine: V / |V| * mean * length / |V|.
    point = [abs(value) * mean * length // energy * (1 if value > 0 else -1) for value in sums]
    radius = math.isqrt(schema.radius_grid_units**2 - mean**2)
    sum_weight = schema.sum_weight * schema.radius_grid_units // radius
    return Centre(np.array(point, dtype=np.int64), radius, sum_weight)


def clipped_deviations(records: Integers, centre: Centre) -> Integers:
    """Return the deviations of records from a centre, clipped in exact integer arithmetic.

    Args:
        records: Quantised features, int64 ``[n, d]``, each row of at most the clip radius.
        centre: Centre. Its coordinates and ``records`` must be below 2^21, so that squares fit in
            64 bits.

    Returns:
        Deviations, int64 ``[n, d]``. Each row has a squared norm of at most ``radius^2``, and
        depends on its own record alone.
    """
    u = records - centre.point
    squares = (u * u).sum(axis=1)
    norm = _ceil_sqrt(squares)
    shorter = np.abs(u) * centre.radius // np.maximum(norm, 1)[:, None]
    outside = squares > centre.radius**2
    return np.where(outside[:, None], np.sign(u) * shorter, u)


def _ceil_sqrt(values: Integers) -> Integers:
    """Return square roots of integers in [0, 2^53), rounded up, by corrected floating point."""
    root = np.sqrt(values.astype(np.float64)).astype(np.int64)
    root -= root * root > values
    root += (root + 1) * (root + 1) <= values
    return np.asarray(root + (root * root < values))
