"""What it costs to replace one privacy unit by another: the bound that the documents state.

No release is accounted like this: charges are for a unit more or less. ``sensitivity_squared`` of
twice that is the triangle's bound; here is the exact one.
"""

from __future__ import annotations

import math
from fractions import Fraction

from wg_core.privacy.schema import StatisticsSchema


def sensitivity_squared(schema: StatisticsSchema) -> Fraction:
    """Largest squared L2 change, in squared grid units, when one unit becomes another."""
    pair = _pair_squared(schema)
    if schema.unit_rule != "weight":
        return pair
    # A unit's vector is a mean of record vectors (no pair of means is further apart than the
    # furthest pair of records), rounded toward zero: less than one unit an entry of two.
    rounded = (_ceil_sqrt(pair) + _ceil_sqrt(Fraction(schema.vector_length))) ** 2
    return min(Fraction(rounded), Fraction(4 * schema.sensitivity_squared()))


def _pair_squared(schema: StatisticsSchema) -> Fraction:
    """Largest |v - v'|^2 of two records: of one class, or of two.

    Two clipped deviations about a centre are no further apart than two clipped records:
    2 r b' <= 2 S b.
    """
    s2 = schema.radius_grid_units**2
    b2, c2 = schema.sum_weight**2, schema.moment_weight**2
    same = 4 * (b2 + c2) * s2
    other = 2 * schema.count_weight**2 + 2 * b2 * s2 + 4 * c2 * s2
    return Fraction(max(same, other))


def _ceil_sqrt(value: Fraction) -> int:
    whole = math.ceil(value)
    root = math.isqrt(whole)
    return root if root * root == whole else root + 1
