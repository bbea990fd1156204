"""The plant's data set, from a folder or a ``.npz`` file, checked before anything uses it.

Records are images, or sensor windows: a data set has one modality. Folder layouts::

    DIR/CLASS/**/image.png           label = name of the first folder; "_unlabelled" has none
    DIR/CLASS/**/window.csv          the same for windows, ``.csv`` or ``.npy``
    DIR/records.csv + files          columns file, label and, if named, the unit column
    DIR/image.png                    no labels at all

An ``.npz`` has ``x`` uint8 ``[n, H, W]`` or ``[n, H, W, 3]``, or float ``[n, channels, time]``, and
may have ``y`` (index into ``classes``, -1 for none), ``classes``, ``split`` (0 = the plant's, 1 =
held out) and a unit array. Object arrays, and with them pickle, are never loaded.

The data commitment (design: privacy, "Ledger") is an HMAC under the site's secret of the records'
hashes in sorted order: renaming or reordering files changes nothing, and without the secret
nothing can be learned from it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wg_client.config import UNLABELLED_FOLDER
from wg_client.images import ImageFiles, is_image
from wg_client.window_files import WindowFiles, is_window
from wg_common import atomic
from wg_common.errors import DataError
from wg_common.ledger.commitment import commit
from wg_common.nets.window_limits import check_window

RECORD_LIMIT = 1_000_000
NPZ_LIMIT = 8 << 30
"""Largest sum of a ``.npz`` file's arrays, unpacked, in bytes."""
CSV_LIMIT = 256 << 20
RECORDS_CSV = "records.csv"
UNLABELLED = -1

Modality = Literal["images", "windows"]
Records = Sequence[NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiteData:
    """Records of one plant.

    Attributes:
        records: n images, uint8 ``[H, W]`` or ``[H, W, 3]``, or n sensor windows, float
            ``[channels, time]``; sizes may differ.
        modality: Which of the two.
        labels: int64 ``[n]``, index into ``label_names``; -1 = unlabelled.
        label_names: The declared label domain.
        names: A name for each record, for messages and predictions.
        units: Privacy unit of each record, or None: the record is its own.
    """

    records: Records
    modality: Modality = "images"
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    names: tuple[str, ...]
    units: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def present(self) -> tuple[str, ...]:
        """Labels that have a record here. Private: the domain is public, this is not."""
        found = np.unique(self.labels[self.labels >= 0])
        return tuple(self.label_names[index] for index in found)


def load_dataset(
    path: Path,
    labels: Sequence[str] | None = None,
    *,
    unit_column: str | None = None,
    split: int | None = 0,
) -> SiteData:
    """Read a data set.

    Args:
        path: Folder or ``.npz`` file.
        labels: Declared label domain; None: the folders' names or the file's ``classes``.
        unit_column: Column or array that names the privacy unit.
        split: For a ``.npz`` with ``split``: keep records of this value; None keeps all.

    Raises:
        DataError: Missing, damaged, an undeclared label, or nothing in it; the file is named.
    """
    if path.is_dir():
        if (path / RECORDS_CSV).is_file():
            return _from_csv(path, labels, unit_column)
        if unit_column is not None:
            raise DataError(
                f"{path}: unit column {unit_column!r} needs a {RECORDS_CSV} with that column"
            )
        return _from_folder(path, labels)
    if path.suffix.lower() == ".npz":
        return _from_npz(path, labels, unit_column, split)
    if not path.exists():
        raise DataError(f"{path}: not there")
    raise DataError(f"{path}: expected a folder or a .npz file")


def commitment(secret: bytes, digests: Sequence[bytes]) -> str:
    """Keyed commitment to a data set, from ``record_digests``, whatever their order. Hex."""
    return commit(secret, sorted(digests))


def record_digests(data: SiteData) -> tuple[bytes, ...]:
    """SHA-256 of each record: label, unit and values. Private: they identify records."""
    return tuple(_digests(data))


def _digests(data: SiteData) -> Iterator[bytes]:
    for index in range(len(data)):
        code = hashlib.sha256()
        label = int(data.labels[index])
        unit = "" if data.units is None else data.units[index]
        name = "" if label < 0 else data.label_names[label]
        for text in (name, unit):
            raw = text.encode("utf-8")
            code.update(struct.pack(">I", len(raw)) + raw)
        if isinstance(data.records, ImageFiles | WindowFiles):
            path = data.records.paths[index]
            try:
                code.update(path.read_bytes())
            except OSError as error:
                raise DataError(f"{path}: {error.strerror}") from error
        else:
            record = data.records[index]
            code.update(struct.pack(">III", record.ndim, *record.shape[:2]))
            if record.dtype != np.uint8:
                code.update(record.dtype.str.encode("ascii"))
            code.update(np.ascontiguousarray(record).tobytes())
        yield code.digest()


def _label_index(names: Sequence[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(names)}


def _finish(
    path: Path,
    records: Records,
    modality: Modality,
    labels: Sequence[int] | NDArray[np.int64],
    label_names: Sequence[str],
    names: Sequence[str],
    units: Sequence[str] | None,
) -> SiteData:
    if not names:
        raise DataError(f"{path}: no images or windows found")
    if len(names) > RECORD_LIMIT:
        raise DataError(f"{path}: {len(names)} records, at most {RECORD_LIMIT} are read")
    return SiteData(
        records=records,
        modality=modality,
        labels=np.asarray(labels, dtype=np.int64),
        label_names=tuple(label_names),
        names=tuple(names),
        units=None if units is None else tuple(units),
    )


def _from_folder(path: Path, labels: Sequence[str] | None) -> SiteData:
    folders = sorted(entry for entry in path.iterdir() if _is_class_folder(entry))
    named = [folder.name for folder in folders if folder.name != UNLABELLED_FOLDER]
    domain = list(labels) if labels is not None else named
    if not domain:
        raise DataError(f"{path}: no folder names a class; declare the labels (--labels a,b,c)")
    index = _label_index(domain)
    files = [(entry, UNLABELLED) for entry in sorted(path.iterdir()) if _is_file(path, entry)]
    for folder in folders:
        if folder.name != UNLABELLED_FOLDER and folder.name not in index:
            raise DataError(
                f"{folder}: label {folder.name!r} is not declared; declared are {_list(domain)}"
            )
        label = index.get(folder.name, UNLABELLED)
        files += [(entry, label) for entry in sorted(folder.rglob("*")) if _is_file(path, entry)]
    paths = [entry for entry, _ in files]
    names = [str(entry.relative_to(path)) for entry in paths]
    records, modality = records_of(path, paths)
    return _finish(path, records, modality, [label for _, label in files], domain, names, None)


def records_of(path: Path, files: Sequence[Path]) -> tuple[ImageFiles | WindowFiles, Modality]:
    """Files as records of the one modality that their names say.

    Args:
        path: Where they were found, for messages.
        files: Each an image or a window.

    Raises:
        DataError: There are images and windows.
    """
    windows = [entry for entry in files if is_window(entry)]
    if not windows:
        return ImageFiles(files), "images"
    if len(windows) < len(files):
        other = next(entry for entry in files if not is_window(entry))
        raise DataError(
            f"{path}: images and sensor windows, such as {other} and {windows[0]}; a data set has"
            " one kind of records"
        )
    return WindowFiles(files), "windows"


def is_record(entry: Path) -> bool:
    """Whether a file's name says that it is an image or a window."""
    return is_image(entry) or (is_window(entry) and entry.name != RECORDS_CSV)


def _is_class_folder(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".")


def _is_file(root: Path, entry: Path) -> bool:
    return entry.is_file() and is_record(entry) and _inside(root, entry)


def _inside(root: Path, entry: Path) -> bool:
    return entry.resolve().is_relative_to(root.resolve())


def _from_csv(path: Path, labels: Sequence[str] | None, unit_column: str | None) -> SiteData:
    table = path / RECORDS_CSV
    try:
        text = atomic.read_bytes(table, limit=CSV_LIMIT).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: not a CSV file in UTF-8: {error}") from error
    wanted = ["file", "label", *([unit_column] if unit_column else [])]
    for column in wanted:
        if not rows or column not in rows[0]:
            raise DataError(f"{table}: no column {column!r}, or no rows; expected {_list(wanted)}")
    if labels is None:
        labels = sorted({row["label"] for row in rows if row["label"]})
    if not labels:
        raise DataError(f"{table}: no labels; declare them (--labels a,b,c)")
    index = _label_index(labels)
    paths, found, units = [], [], []
    for number, row in enumerate(rows, 2):
        if any(row[column] is None for column in wanted):
            raise DataError(f"{table}: line {number}: too few columns")
        entry = path / row["file"]
        if not _inside(path, entry) or not is_record(entry) or not entry.is_file():
            raise DataError(
                f"{table}: line {number}: {row['file']!r} is no image or window in this folder"
            )
        if row["label"] and row["label"] not in index:
            raise DataError(
                f"{table}: line {number}: label {row['label']!r} is not declared; declared are"
                f" {_list(labels)}"
            )
        paths.append(entry)
        found.append(index.get(row["label"], UNLABELLED))
        units.append(row[unit_column] if unit_column else "")
    names = [str(entry.relative_to(path)) for entry in paths]
    records, modality = records_of(path, paths)
    return _finish(path, records, modality, found, labels, names, units if unit_column else None)


def _from_npz(
    path: Path, labels: Sequence[str] | None, unit_column: str | None, split: int | None
) -> SiteData:
    wanted = {"x", "y", "classes", "split", *([unit_column] if unit_column else [])}
    arrays = _read_npz(path, wanted)
    x, modality = _npz_records(path, arrays.get("x"))
    n = len(x)
    for name in wanted - {"x", "classes"}:
        if name in arrays and arrays[name].shape != (n,):
            raise DataError(f"{path}: array {name}: {list(arrays[name].shape)}, expected [{n}]")
    classes = _classes(path, arrays, labels)
    domain = tuple(labels) if labels is not None else classes
    y = _npz_labels(path, arrays, classes, domain, n)
    units = None
    if unit_column is not None:
        if unit_column not in arrays:
            raise DataError(f"{path}: no array {unit_column!r} to name the privacy unit")
        units = [str(value) for value in arrays[unit_column].tolist()]
    keep = np.arange(n)
    if split is not None and "split" in arrays:
        keep = np.flatnonzero(arrays["split"] == split)
    return _finish(
        path,
        list(x[keep]),
        modality,
        y[keep],
        domain,
        [f"{path.name}[{index}]" for index in keep],
        None if units is None else [units[index] for index in keep],
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
    for row, window in enumerate(x):
        try:
            check_window(window)
        except DataError as error:
            raise DataError(f"{path}: array x: window {row}: {error}") from error
    return x, "windows"


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
) -> NDArray[np.int64]:
    if "y" not in arrays:
        return np.full(n, UNLABELLED, dtype=np.int64)
    raw = arrays["y"]
    if not np.issubdtype(raw.dtype, np.integer):
        raise DataError(f"{path}: array y: {raw.dtype}, expected integers")
    y: NDArray[np.int64] = raw.astype(np.int64)
    if n and (y.min() < UNLABELLED or y.max() >= len(classes)):
        raise DataError(
            f"{path}: array y: {y.min()} to {y.max()}, expected -1 to {len(classes) - 1}"
        )
    index = _label_index(domain)
    used = {classes[value] for value in np.unique(y[y >= 0])}
    if not used <= index.keys():
        raise DataError(
            f"{path}: labels {_list(sorted(used - index.keys()))} are not declared; declared are"
            f" {_list(domain)}"
        )
    table = [*(index.get(name, UNLABELLED) for name in classes), UNLABELLED]
    return np.take(np.array(table, dtype=np.int64), y)


def _read_npz(path: Path, wanted: set[str]) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > NPZ_LIMIT:
            raise DataError(f"{path}: {size} bytes unpacked, at most {NPZ_LIMIT} are read")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if name in wanted}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
        MemoryError,
        NotImplementedError,
    ) as error:
        raise DataError(f"{path}: not a .npz file of plain arrays: {error}") from error


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in list(names)[:20])
    return shown + (", ..." if len(names) > 20 else "")
