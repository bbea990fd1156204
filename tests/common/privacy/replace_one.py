"""What it costs to replace one privacy unit by another: the bound that the documents state.

No release is accounted like this: charges are for a unit more or less. ``sensitivity_squared`` of
twice that is the triangle's bound; here is the exact one.
"""

from __future__ import annotations

import math
from fractions import Fraction

from wg_common.privacy.schema import SECOND_DIAGONAL, StatisticsSchema


def sensitivity_squared(schema: StatisticsSchema) -> Fraction:
    """Largest squared L2 change, in squared grid units, when one unit becomes another."""
    pair = _pair_squared(schema)
    if schema.unit_rule != "weight":
        return pair * schema.unit_cap**2
    # A unit's vector is a mean of record vectors (no pair of means is further apart than the
    # furthest pair of records), rounded toward zero: less than one unit an entry of two.
    rounded = (_ceil_sqrt(pair) + _ceil_sqrt(Fraction(schema.length))) ** 2
    return min(Fraction(rounded), Fraction(4 * schema.sensitivity_squared()))


def _pair_squared(schema: StatisticsSchema) -> Fraction:
    """Largest |v - v'|^2 of two records: of one class, or of two.

    Both are of the form ``p |q - q'|^2 + r |m(q) - m(q')|^2 + constant``, where for
    ``diagonal`` and ``second`` the last term is at most
    ``r |q q^T - q' q'^T|_F^2 = r (|q|^4 + |q'|^4 - 2 <q, q'>^2)``. Two clipped deviations
    about a centre are no further apart than two clipped records: 2 r b' <= 2 S b.
    """
    s2 = schema.grid**2
    b2, c2 = schema.sum_weight**2, schema.moment_weight**2
    linear, quartic = {
        "none": (0, 0),
        "mean": (c2, 0),
        "centre": (c2, 0),
        "diagonal": (c2 * s2, c2),
        "second": (0, c2 * SECOND_DIAGONAL**2),
    }[schema.moments]
    same = _farthest(b2 + linear, quartic, s2)
    other = 2 * schema.count_weight**2 + 2 * b2 * s2 + _farthest(linear, quartic, s2)
    return max(same, other)


def _farthest(p: int, r: int, s2: int) -> Fraction:
    """Maximum of ``p (2 s2 - 2 t) + r (2 s2^2 - 2 t^2)`` over ``t = <q, q'>`` in [-s2, s2].

    Longer ``q`` and ``q'`` only add at a given t, so both norms are s2. The maximum is at
    ``t = -p / 2r``, or at ``t = -s2`` when that lies outside.
    """
    if p >= 2 * r * s2:
        return Fraction(4 * p * s2)
    return Fraction(2 * p * s2 + 2 * r * s2**2) + Fraction(p * p, 2 * r)


def _ceil_sqrt(value: Fraction) -> int:
    whole = math.ceil(value)
    root = math.isqrt(whole)
    return root if root * root == whole else root + 1
