"""A data set in one ``.npz`` file, read strictly.

It has ``x``, records of one modality one a row, and may have ``y`` (index into ``classes``, -1 for
none), ``classes``, ``split`` (0 = the plant's, 1 = held out) and a unit array.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_client.data.dataset import (
    UNLABELLED,
    Problem,
    SiteData,
    Survey,
    check_count,
    check_modality,
    label_index,
    undeclared,
)
from wg_common.errors import DataError
from wg_common.modalities import registry
from wg_common.modalities.arrays import read_arrays
from wg_common.modalities.base import Modality, Record


def survey_npz(
    path: Path,
    labels: Sequence[str] | None,
    unit_column: str | None,
    split: int | None,
    modality: str | None,
) -> Survey:
    """Look a file through; arguments as of ``dataset.survey``.

    Raises:
        DataError: The file as a whole cannot be used.
    """
    wanted = {"x", "y", "classes", "split", *([unit_column] if unit_column else [])}
    arrays = read_arrays(path, wanted)
    x, kind = _npz_records(path, arrays.get("x"))
    if modality is not None:
        check_modality(modality, kind.name, path)
    n = len(x)
    for name in wanted - {"x", "classes"}:
        if name in arrays and arrays[name].shape != (n,):
            raise DataError(f"{path}: array {name}: {list(arrays[name].shape)}, expected [{n}]")
    classes = _classes(path, arrays, labels)
    domain = tuple(labels) if labels is not None else classes
    y, reasons = _npz_labels(path, arrays, classes, domain, n)
    units = None
    if unit_column is not None:
        if unit_column not in arrays:
            raise DataError(f"{path}: no array {unit_column!r} to name the privacy unit")
        units = [str(value) for value in arrays[unit_column].tolist()]
        for row, unit in enumerate(units):
            if not unit.strip():
                reasons.setdefault(row, f"array {unit_column}: empty: no privacy unit")
    keep: NDArray[np.int64] = np.arange(n, dtype=np.int64)
    if split is not None and "split" in arrays:
        keep = np.flatnonzero(arrays["split"] == split).astype(np.int64)
    _check_records(x, kind, keep, reasons)
    good = np.array([row for row in keep if int(row) not in reasons], dtype=np.int64)
    check_count(path, len(good))
    return Survey(
        data=SiteData(
            records=[x[row] for row in good],
            modality=kind.name,
            labels=y[good],
            label_names=domain,
            names=tuple(f"{path.name}[{row}]" for row in good),
            units=None if units is None else tuple(units[row] for row in good),
            rows=good,
        ),
        problems=tuple(
            Problem(name=f"{path.name}[{row}]", reason=reasons[int(row)])
            for row in keep
            if int(row) in reasons
        ),
    )


def _npz_records(path: Path, x: Record | None) -> tuple[Record, Modality]:
    kind = None if x is None else registry.of_array(x)
    if x is None or kind is None:
        found = "missing" if x is None else f"{x.dtype} {list(x.shape)}"
        raise DataError(f"{path}: array x: {found}, expected {registry.listed('layout', 'or')}")
    return x, kind


def _check_records(
    x: Record, kind: Modality, keep: NDArray[np.int64], reasons: dict[int, str]
) -> None:
    for row in keep:
        try:
            kind.check(x[row])
        except DataError as error:
            reasons.setdefault(int(row), f"array x: {kind.one} {row}: {error}")


def _classes(
    path: Path, arrays: dict[str, Record], labels: Sequence[str] | None
) -> tuple[str, ...]:
    if "classes" in arrays:
        if arrays["classes"].ndim != 1:
            raise DataError(f"{path}: array classes: expected one dimension")
        classes = tuple(str(value) for value in arrays["classes"].tolist())
        if len(set(classes)) != len(classes):
            raise DataError(f"{path}: array classes: a class stands there twice")
        return classes
    if labels is None:
        raise DataError(f"{path}: no array classes; declare the labels (--labels a,b,c)")
    return tuple(labels)


def _npz_labels(
    path: Path,
    arrays: dict[str, Record],
    classes: tuple[str, ...],
    domain: tuple[str, ...],
    n: int,
) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Labels in the order of the domain, and what is wrong with which row's."""
    if "y" not in arrays:
        return np.full(n, UNLABELLED, dtype=np.int64), {}
    raw = arrays["y"]
    if not np.issubdtype(raw.dtype, np.integer):
        raise DataError(f"{path}: array y: {raw.dtype}, expected integers")
    y: NDArray[np.int64] = raw.astype(np.int64)
    wrong = (y < UNLABELLED) | (y >= len(classes))
    reasons = {
        int(row): f"array y: {y[row]}, expected -1 to {len(classes) - 1}"
        for row in np.flatnonzero(wrong)
    }
    y = np.where(wrong, UNLABELLED, y)
    index = label_index(domain)
    for row in np.flatnonzero(y >= 0):
        if classes[y[row]] not in index:
            reasons[int(row)] = f"array y: {undeclared(classes[y[row]], domain)}"
    table = [*(index.get(name, UNLABELLED) for name in classes), UNLABELLED]
    return np.take(np.array(table, dtype=np.int64), y), reasons
