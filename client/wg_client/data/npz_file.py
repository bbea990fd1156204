"""A data set in one ``.npz`` file, read strictly.

It has ``x`` uint8 ``[n, H, W]`` or ``[n, H, W, 3]``, or float ``[n, channels, time]``, and may
have ``y`` (index into ``classes``, -1 for none), ``classes``, ``split`` (0 = the plant's, 1 = held
out) and a unit array. Object arrays, and with them pickle, are never loaded.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_client.data.dataset import (
    UNLABELLED,
    Modality,
    Problem,
    SiteData,
    Survey,
    check_count,
    check_modality,
    label_index,
    undeclared,
)
from wg_client.data.window_files import NPY_DAMAGE
from wg_common.errors import DataError
from wg_common.modalities.windows import check_window

NPZ_LIMIT = 8 << 30
"""Largest sum of a ``.npz`` file's arrays, unpacked, in bytes."""


def survey_npz(
    path: Path,
    labels: Sequence[str] | None,
    unit_column: str | None,
    split: int | None,
    modality: Modality | None,
) -> Survey:
    """Look a file through; arguments as of ``dataset.survey``.

    Raises:
        DataError: The file as a whole cannot be used.
    """
    wanted = {"x", "y", "classes", "split", *([unit_column] if unit_column else [])}
    arrays = read_npz(path, wanted)
    x, kind = _npz_records(path, arrays.get("x"))
    if modality is not None:
        check_modality(modality, kind, path)
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
    if kind == "windows":
        _check_windows(x, keep, reasons)
    good = np.array([row for row in keep if int(row) not in reasons], dtype=np.int64)
    check_count(path, len(good))
    return Survey(
        data=SiteData(
            records=[x[row] for row in good],
            modality=kind,
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


def _npz_records(path: Path, x: NDArray[Any] | None) -> tuple[NDArray[Any], Modality]:
    if x is not None and x.dtype == np.uint8 and (x.ndim == 3 or x.shape[3:] == (3,)):
        if len(x) and 0 in x.shape[1:]:
            raise DataError(f"{path}: array x: empty images {list(x.shape)}")
        return x, "images"
    if x is None or x.dtype.kind != "f" or x.ndim != 3:
        found = "missing" if x is None else f"{x.dtype} {list(x.shape)}"
        raise DataError(
            f"{path}: array x: {found}, expected uint8 [n, H, W] or [n, H, W, 3] (images), or"
            " float [n, channels, time] (sensor windows)"
        )
    return x, "windows"


def _check_windows(x: NDArray[Any], keep: NDArray[np.int64], reasons: dict[int, str]) -> None:
    for row in keep:
        try:
            check_window(x[row])
        except DataError as error:
            reasons.setdefault(int(row), f"array x: window {row}: {error}")


def _classes(
    path: Path, arrays: dict[str, NDArray[Any]], labels: Sequence[str] | None
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
    arrays: dict[str, NDArray[Any]],
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


_ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    RuntimeError,  # a member that is encrypted, or packed in a way that is not known
)


def read_npz(path: Path, wanted: set[str]) -> dict[str, NDArray[Any]]:
    """Arrays of these names, as far as they are there.

    Raises:
        DataError: It cannot be read, unpacks to too much, or holds anything but plain arrays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > NPZ_LIMIT:
            raise DataError(f"{path}: {size} bytes unpacked, at most {NPZ_LIMIT} are read")
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if name in wanted}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (*NPY_DAMAGE, *_ZIP_DAMAGE) as error:
        raise DataError(f"{path}: not a .npz file of plain arrays: {error}") from error
    for name, value in found.items():
        if not isinstance(value, np.ndarray):  # a member that is no .npy file comes back as bytes
            raise DataError(f"{path}: not a .npz file of plain arrays: {name} is none")
    return found
