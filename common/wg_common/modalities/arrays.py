"""Strict reader of records in a ``.npz`` file; object arrays, which need pickle, are refused.

The file has ``x``, one record of one modality per row, and may have ``y`` (index into ``classes``),
``classes``, ``split`` and further arrays with a value for each record.
"""

import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities import registry
from wg_common.modalities.base import DAMAGED_INPUT_ERRORS, Modality, Record
from wg_common.modalities.images import Images
from wg_core.errors import DataError

NPZ_BYTES_LIMIT = 8 << 30  # Largest sum of a `.npz` file's arrays, unpacked, in bytes


@dataclass(frozen=True, slots=True, eq=False)
class LabelledArrays:
    """Arrays of a ``.npz`` file with n records; absent optional arrays are None.

    Attributes:
        records: Records ``[n, ...]``, not yet checked one by one.
        modality: Modality of the records, from type and shape of the array.
        labels: Labels, int64 ``[n]``, with any values.
        classes: Unique names of classes.
        extra_arrays: ``split`` and other requested arrays by name, each ``[n]``.
        are_from_floats: True if the records are images that were saved as floats.
        problems_by_row: By row index, the reason why a float row is not an image; such a row is
            black.
    """

    records: Record
    modality: Modality
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None
    extra_arrays: Mapping[str, Record]
    are_from_floats: bool = False
    problems_by_row: Mapping[int, str] = field(default_factory=dict)


def read_labelled_arrays(
    path: Path, extra_names: Collection[str] = (), modality: str | None = None
) -> LabelledArrays:
    """Read the records, labels and further arrays of a ``.npz`` file.

    With a given modality each record is converted by itself, so that none affects another.

    Args:
        path: Path of the file.
        extra_names: Names of further arrays to read.
        modality: Name of the records' modality; None: floats are images if all of them can be.

    Raises:
        DataError: The file cannot be read, or the named array has a wrong type or shape.
    """
    arrays = _read_arrays(path, {"x", "y", "classes", "split", *extra_names})
    x, y, names = (arrays.pop(name, None) for name in ("x", "y", "classes"))
    if x is not None and x.ndim == 4 and x.shape[3] == 1:
        x = x[..., 0]
    problems: dict[int, str] = {}
    from_floats = x is not None and _may_be_pictures(x) and modality in (None, Images.name)
    if x is not None and from_floats:
        pictures, problems = _float_pictures(x)
        from_floats = not problems or modality is not None
        x = pictures if from_floats else x
    kind = None if x is None else registry.modality_of_array(x)
    if x is None or kind is None:
        layout = "missing" if x is None else f"{x.dtype} {list(x.shape)}"
        advice = ""
        if x is not None and x.ndim == 4 and x.dtype.kind == "f":
            advice = "; pictures are uint8: save (x * 255).astype('uint8') if they are 0 to 1"
        expected = registry.list_modality_attribute("layout", "or")
        raise DataError(f"{path}: array x: {layout}, expected {expected}{advice}")
    for name, value in {**arrays, **({} if y is None else {"y": y})}.items():
        if value.shape != (len(x),):
            raise DataError(f"{path}: array {name}: {list(value.shape)}, expected [{len(x)}]")
    if y is not None and y.dtype.kind not in "iu":
        raise DataError(f"{path}: array y: {y.dtype}, expected integers")
    classes = None
    if names is not None:
        if names.ndim != 1:
            raise DataError(f"{path}: array classes: expected one dimension")
        classes = tuple(str(value) for value in names.tolist())
        if len(set(classes)) != len(classes):
            raise DataError(f"{path}: array classes: a class stands there twice")
    labels = None if y is None else y.astype(np.int64)
    return LabelledArrays(
        x, kind, labels, classes, arrays, from_floats, problems if from_floats else {}
    )


def _may_be_pictures(x: Record) -> bool:
    """Return True if an array has the type and shape of images that were saved as floats."""
    shape, least_side = x.shape[1:], 16
    has_colours = len(shape) == 3 and shape[2] == 3
    sides = has_colours or len(shape) == 2
    return x.dtype.kind == "f" and sides and min(shape[:2]) >= least_side


def _float_pictures(x: Record) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Convert images saved as floats, each by itself: 0 to 1, or 0 to 255 if a value is above 1.

    Returns:
        The images, and by row index the reason why a row with other values is not an image.
    """
    pictures, problems = np.zeros(x.shape, dtype=np.uint8), {}
    for row, record in enumerate(x):
        levels = record.astype(np.float64) * (1.0 if record.max() > 1 else 255.0)
        nearest = np.rint(levels).clip(0, 255)
        if (np.abs(levels - nearest) < 1e-3).all():  # False for values that are not finite, too
            pictures[row] = nearest
        else:
            problems[row] = "floats that are no levels of 0 to 255, nor of 0 to 1"
    return pictures, problems


def _read_arrays(path: Path, array_names: Collection[str]) -> dict[str, Record]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > NPZ_BYTES_LIMIT:
            raise DataError(f"{path}: {size} bytes unpacked, at most {NPZ_BYTES_LIMIT} are read")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name in array_names}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except DAMAGED_INPUT_ERRORS as error:
        raise DataError(f"{path}: not a .npz file of plain arrays: {error}") from error
    for name, value in arrays.items():
        if not isinstance(value, np.ndarray):  # a member that is no .npy file comes back as bytes
            raise DataError(f"{path}: not a .npz file of plain arrays: {name} is none")
    return arrays
