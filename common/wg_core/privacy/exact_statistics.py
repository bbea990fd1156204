"""Exact statistics: conversion of features to the integers to which a release adds noise.

Features are clipped in floating point, put on the schema's integer grid (rounded toward zero), and
their norm is checked again in exact integer arithmetic. All later arithmetic is on integers, so
that the sensitivity in ``schema`` holds without a rounding term (Mironov 2012 and Casacuberta et
al. 2022 show what can go wrong otherwise).

*Guarantee.* For any two data sets that differ by one privacy unit, the squared L2 distance of the
results is at most ``schema.sensitivity_squared()``, for any fixed centre. Edge cases: a NaN or
infinite coordinate counts as 0; a record of zero norm stays zero; an empty data set or class gives
zeros; a record with label -1 is unlabelled, is counted as such, and enters the moments. Each record
is treated independently of all others, down to the last bit: no maximum, mean or norm of the data
set is used. The guarantee starts at the features, which must be computed from each record alone
too, so that one more record does not change the rounding of another's features.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wg_core.errors import DataError
from wg_core.privacy import class_centres
from wg_core.privacy.class_centres import Centre
from wg_core.privacy.schema import NO_LABEL, StatisticsSchema

Integers = NDArray[np.int64]


def quantise(features: ArrayLike, radius: float, bits: int) -> Integers:
    """Clip each feature row to an L2 norm of ``radius`` and round it to the grid.

    Args:
        features: Features [n, d], feature units.
        radius: Clip radius R, feature units.
        bits: log2 of the number S of grid units in one clip radius.

    Returns:
        Integers [n, d], grid units; each row has a squared norm of at most ``S^2``, exactly.
    """
    phi = np.asarray(features, dtype=np.float64)
    phi = np.where(np.isfinite(phi), phi, 0.0)
    grid = 1 << bits
    # Scale by the largest entry first, so that the norm cannot overflow.
    largest = np.abs(phi).max(axis=1, initial=0.0, keepdims=True)
    phi = phi * (radius / np.maximum(largest, radius))
    # Column by column: a library's sum may add in another order for another number of rows, so
    # that a record's last grid unit would depend on its neighbours.
    squares = np.zeros((len(phi), 1))
    for column in range(phi.shape[1]):
        squares += phi[:, column : column + 1] ** 2
    phi = phi / np.maximum(np.sqrt(squares), radius)  # in clip radii
    q: Integers = np.trunc(phi * grid).astype(np.int64)
    while True:
        over = (q * q).sum(axis=1) > grid * grid
        if not over.any():
            return q
        q[over] -= np.sign(q[over])


def exact_statistics(
    schema: StatisticsSchema,
    features: ArrayLike,
    labels: ArrayLike,
    units: Sequence[str] | None = None,
    centre: Centre | None = None,
) -> Integers:
    """Return the exact, still private statistics of a data set: its records' summed vectors.

    Args:
        features: Features [n, d], feature units.
        labels: Integers [n], indices into ``schema.labels``; -1: unlabelled.
        units: Privacy unit of each record under the unit rule ``weight``; None under the rule
            ``record``.
        centre: Centre of the class sums; None: the origin.

    Returns:
        int64 [schema.vector_length], never to be shown, logged, or stored outside a plant's home.

    Raises:
        DataError: Shapes, labels or units do not fit the schema.
    """
    phi, y = _checked_features_and_labels(schema, features, labels, units)
    q = quantise(phi, schema.radius, schema.bits)
    if units is None:
        return _sum_record_vectors(schema, q, y, centre)
    groups = rows_by_unit(units)
    single = np.array([rows[0] for rows in groups if len(rows) == 1], dtype=np.int64)
    result = _sum_record_vectors(schema, q[single], y[single], centre)
    for rows in groups:
        if len(rows) > 1:
            total = _sum_record_vectors(schema, q[rows], y[rows], centre)
            result += divide_toward_zero(total, len(rows))
    return result


def _checked_features_and_labels(
    schema: StatisticsSchema, features: ArrayLike, labels: ArrayLike, units: Sequence[str] | None
) -> tuple[NDArray[np.float64], Integers]:
    phi = np.asarray(features, dtype=np.float64)
    y = np.asarray(labels)
    if phi.ndim != 2 or phi.shape[1] != schema.dimension:
        raise DataError(f"features: shape {phi.shape}, expected (n, {schema.dimension})")
    if y.shape != phi.shape[:1] or not (y.dtype.kind in "iu" or y.size == 0):
        raise DataError(f"labels: {y.dtype} of shape {y.shape}, expected integers, one a record")
    y = y.astype(np.int64)
    if y.size and (y.min() < NO_LABEL or y.max() >= len(schema.labels)):
        raise DataError(f"labels: expected -1 to {len(schema.labels) - 1}, found others")
    if (units is None) != (schema.unit_rule == "record"):
        raise DataError(
            f"units: the rule is {schema.unit_rule!r}, units are given: {units is not None}"
        )
    if units is not None and len(units) != len(y):
        raise DataError("units: expected one a record")
    if len(y) > schema.record_capacity:
        raise DataError(
            f"records: more than the {schema.record_capacity} that this schema can hold"
        )
    return phi, y


def _sum_record_vectors(
    schema: StatisticsSchema,
    grid_features: Integers,
    label_indices: Integers,
    centre: Centre | None,
) -> Integers:
    """Return the sum of records' vectors ``v(y, q)`` (``schema``), int64 ``[vector_length]``."""
    about = class_centres.origin_centre(schema) if centre is None else centre
    counts, _, moments = schema.blocks
    classes = len(schema.labels)
    column = np.where(label_indices == NO_LABEL, classes, label_indices)
    count = np.bincount(column, minlength=classes + 1).astype(np.int64)
    by_class = np.zeros((classes + 1, schema.dimension), dtype=np.int64)
    np.add.at(by_class, column, class_centres.clipped_deviations(grid_features, about))
    return np.concatenate(
        [
            counts.weight * count,
            (about.sum_weight * by_class[:classes]).ravel(),
            moments.weight * grid_features.sum(axis=0),
        ]
    )


def rows_by_unit(units: Sequence[str]) -> list[Integers]:
    """Return one array of row numbers for each privacy unit, in order of first occurrence."""
    rows: dict[str, list[int]] = {}
    for row, unit in enumerate(units):
        rows.setdefault(unit, []).append(row)
    return [np.array(members, dtype=np.int64) for members in rows.values()]


def divide_toward_zero(value: Integers, divisor: int | Integers) -> Integers:
    """Divide an array of integers, rounding toward zero, so that no magnitude is rounded up."""
    return np.asarray(np.sign(value) * (np.abs(value) // divisor))
