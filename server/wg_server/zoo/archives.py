"""Strict readers of files with labelled records: folders of pictures, NumPy arrays, tables.

Files are untrusted: the code with which plants read their records (``wg_common.modalities``) reads
and limits them. Pictures larger than ``MAX_SIDE_PIXELS`` are scaled down.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities import record_tables
from wg_common.modalities.arrays import read_labelled_arrays
from wg_common.modalities.base import Record, read_file
from wg_common.modalities.images import Images
from wg_core.errors import DataError

Pictures = NDArray[np.uint8]
IMAGE_MODALITY = Images()

MAX_SIDE_PIXELS = 256  # Longest side of a stored picture, pixels; the encoder uses 128
TOTAL_BYTES_LIMIT = 4 << 30  # Largest total of a source's pictures in memory, bytes


@dataclass(frozen=True, slots=True, eq=False)
class LabelledArchive:
    """Labelled records that were read from one source of files.

    Attributes:
        records: Records of one modality; those with real numbers are float32.
        labels: Class of each record, 0 to K - 1, ``[n]``.
        class_names: Names of the K classes.
        modality: Name of the records' modality.
    """

    records: list[Record]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    modality: str = Images.name


def decode_picture(data: bytes, file_name: str) -> Pictures:
    """Decode a picture as a plant does, and scale it down; ``file_name`` is for messages.

    Returns:
        uint8 ``[h, w]`` or ``[h, w, 3]``, with no side above ``MAX_SIDE_PIXELS``.

    Raises:
        DataError: The data is not a picture, or the picture is too large or too small.
    """
    image = IMAGE_MODALITY.decode(data, file_name)
    try:
        IMAGE_MODALITY.check_zoo_record(image)
    except DataError as error:
        raise DataError(f"{file_name}: {error}") from error
    if max(image.shape[:2]) <= MAX_SIDE_PIXELS:
        return image
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((MAX_SIDE_PIXELS, MAX_SIDE_PIXELS))
    return np.asarray(small, dtype=np.uint8)


@functools.lru_cache(maxsize=2)
def read_image_folder(path: str) -> LabelledArchive:
    """Read the pictures in a folder that has one sub-folder per class.

    Raises:
        DataError: Fewer than two sub-folders have pictures, a picture cannot be read, or all
            pictures together exceed ``TOTAL_BYTES_LIMIT``.
    """
    root = Path(path)
    try:
        folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        files = {
            folder.name: sorted(
                p for p in folder.iterdir() if IMAGE_MODALITY.is_record_file(p.name)
            )
            for folder in folders
        }
    except OSError as error:
        raise DataError(f"{path}: {error}") from error
    names = tuple(name for name in sorted(files) if files[name])
    pictures: list[Record] = []
    size = 0
    for file in (file for name in names for file in files[name]):
        data = read_file(_check_inside(root, file), IMAGE_MODALITY.file_limit)
        pictures.append(decode_picture(data, str(file)))
        size += pictures[-1].nbytes
        if size > TOTAL_BYTES_LIMIT:
            raise DataError(f"{path}: more than {TOTAL_BYTES_LIMIT} bytes of pictures")
    if len(names) < 2:
        raise DataError(
            f"{path}: pictures of {len(names)} classes, expected one folder a class, at least two"
        )
    labels = np.repeat(np.arange(len(names)), [len(files[name]) for name in names])
    return LabelledArchive(pictures, labels, names)


def _check_inside(root: Path, file: Path) -> Path:
    try:
        inside = file.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise DataError(f"{file}: {error}") from error
    if not inside:
        raise DataError(f"{file}: a link that leads out of {root}")
    return file


@functools.lru_cache(maxsize=2)
def read_npz(path: str) -> LabelledArchive:
    """Read an NPZ file with the arrays ``x``, ``y`` and ``classes``, and optionally ``split``.

    ``x`` has one record of any modality in each row, ``y`` their labels, ``classes`` the class
    names. If there is a ``split``, only its rows with 0 are used.

    Raises:
        DataError: An array is missing, or has another type or shape.
    """
    file = read_labelled_arrays(Path(path))
    x, y, classes = file.records, file.labels, file.classes
    if y is None or classes is None or len(classes) < 2:
        raise DataError(f"{path}: expected arrays y, and classes of at least two names")
    if len(y) and not (y.min() >= 0 and y.max() < len(classes)):
        raise DataError(f"{path}: y is not between 0 and {len(classes) - 1}")
    for row, record in enumerate(x):
        try:
            file.modality.check_zoo_record(record)
        except DataError as error:
            raise DataError(f"{path}: array x: {file.modality.singular} {row}: {error}") from error
    keep = (
        file.extra_arrays["split"] == 0 if "split" in file.extra_arrays else np.ones(len(y), bool)
    )
    x = x[keep].astype(np.float32) if x.dtype.kind == "f" else x[keep]
    return LabelledArchive(list(x), y[keep], classes, file.modality.name)


@functools.lru_cache(maxsize=2)
def read_table(path: str) -> LabelledArchive:
    """Read a table with one record per row and a column ``label`` (``record_tables``).

    Rows without a label, or with a ``split`` that is neither 0 nor empty, are left out.

    Raises:
        DataError: The table cannot be read, or has fewer than two classes.
    """
    table = record_tables.read_cell_table(Path(path), ["label", "split"])
    for row, reason in table.problems_by_row.items():
        raise DataError(f"{Path(path).with_name(table.record_names[row])}: {reason}")
    n = len(table.records)
    label_column, sides = (table.columns.get(name, [""] * n) for name in ("label", "split"))
    training_rows = [
        row for row in range(n) if label_column[row].strip() and sides[row].strip() in ("", "0")
    ]
    names = tuple(sorted({label_column[row].strip() for row in training_rows}))
    if len(names) < 2:
        raise DataError(f"{path}: {len(names)} classes in column label, expected at least two")
    number = {name: row for row, name in enumerate(names)}
    labels = np.array([number[label_column[row].strip()] for row in training_rows], dtype=np.int64)
    records = list(table.records.select_rows(training_rows))
    return LabelledArchive(records, labels, names, table.records.modality.name)
