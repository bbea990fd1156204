"""Window files from a plant's disk: ``.npy`` arrays and ``.csv`` tables, read strictly.

A ``.npy`` file is one window, float ``[channels, time]``. A ``.csv`` file is one window too: a row
a sample, a column a channel, with or without one line of names; commas, a point in numbers, UTF-8.
Sizes are checked before values are read; pickle is never loaded; what is not a finite number is a
``DataError`` that names file and line.
"""

from __future__ import annotations

import csv
import io
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from wg_common import atomic
from wg_common.errors import DataError
from wg_common.modalities.windows import MAX_CHANNELS, MAX_TIME, check_shape, check_window

SUFFIXES = frozenset({".npy", ".csv"})
NPY_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    OverflowError,
    RecursionError,
    MemoryError,
    Warning,
    tokenize.TokenError,  # NumPy looks through a header of Python 2 word by word
)
"""What NumPy's readers of arrays raise on damaged bytes."""

NPY_LIMIT = 8 * MAX_CHANNELS * MAX_TIME + 4096
"""Bytes of the largest window that is accepted, in float64, with its header."""
CSV_LIMIT = 256 << 20


def is_window(path: Path) -> bool:
    """Whether a file's name says that it is a window."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_window(path: Path) -> NDArray[np.float32]:
    """Read one window.

    Returns:
        float32 ``[channels, time]``.

    Raises:
        DataError: Damaged, too large, of another type or shape, or a value that is not finite.
    """
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_npy(path)


def window_size(path: Path) -> tuple[int, int]:
    """Channels and samples of a window file; of a ``.npy`` file from its header alone.

    Raises:
        DataError: Not a window file.
    """
    if path.suffix.lower() == ".csv":
        channels, time = _read_csv(path).shape
        return channels, time
    return _header(path, _bytes(path, NPY_LIMIT))[0]


def _bytes(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise DataError(f"{path}: {size} bytes, at most {limit} are read")
        return atomic.read_bytes(path, limit=limit)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _header(path: Path, data: bytes) -> tuple[tuple[int, int], np.dtype[np.floating]]:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    except NPY_DAMAGE as error:
        raise DataError(f"{path}: not a .npy file of a plain array: {error}") from error
    if len(shape) != 2 or dtype.kind != "f":
        raise DataError(f"{path}: {dtype} {list(shape)}, expected float [channels, time]")
    _checked(path, shape[0], shape[1])
    return (shape[0], shape[1]), dtype


def _read_npy(path: Path) -> NDArray[np.float32]:
    data = _bytes(path, NPY_LIMIT)
    _header(path, data)
    try:
        window = np.load(io.BytesIO(data), allow_pickle=False)
    except NPY_DAMAGE as error:
        raise DataError(f"{path}: damaged: {error}") from error
    return _finished(path, window)


def _read_csv(path: Path) -> NDArray[np.float32]:
    try:
        text = _bytes(path, CSV_LIMIT).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows: list[list[float]] = []
        width = 0
        for number, cells in enumerate(reader, 1):
            if number == 1:
                width = len(cells)
                _checked(path, width, None)
                if not any(map(_is_number, cells)):
                    continue
            if len(cells) != width:
                raise DataError(f"{path}: line {number}: {len(cells)} cells, expected {width}")
            if len(rows) == MAX_TIME:
                raise DataError(f"{path}: more than {MAX_TIME} rows")
            rows.append([float(cell) for cell in cells])
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error}") from error
    except (csv.Error, ValueError) as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from error
    if not rows:
        raise DataError(f"{path}: no rows of numbers")
    _checked(path, width, len(rows))
    return _finished(path, np.array(rows, dtype=np.float64).T)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _checked(path: Path, channels: int, time: int | None) -> None:
    try:
        check_shape(channels, MAX_TIME if time is None else time)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _finished(path: Path, window: NDArray[np.floating]) -> NDArray[np.float32]:
    try:
        check_window(window)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return np.ascontiguousarray(window, dtype=np.float32)


class WindowFiles(Sequence[NDArray[np.float32]]):
    """Window files as a sequence of arrays, each read when it is asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.float32]: ...
    @overload
    def __getitem__(self, index: slice) -> WindowFiles: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.float32] | WindowFiles:
        if isinstance(index, slice):
            return WindowFiles(self.paths[index])
        return read_window(self.paths[index])
