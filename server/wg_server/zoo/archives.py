"""Files of labelled records, read strictly: folders, NumPy arrays, IDX; and one decoder for all.

Files may come from anywhere: pictures are opened by four named decoders only, whatever a header
claims about sizes is checked, and every read has a limit. Pictures above ``SIDE`` are made smaller
as they are read.
"""

from __future__ import annotations

import functools
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import tokenize
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from wg_common.errors import DataError
from wg_common.modalities.windows import check_window

Pictures = NDArray[np.uint8]
T = TypeVar("T")

SIDE = 256
"""Longest side of a picture as kept, pixels; the encoder sees 64."""
MEMBER_LIMIT = 64 << 20
"""Most bytes of one picture's file."""
PIXEL_LIMIT = 64_000_000
TOTAL_LIMIT = 4 << 30
"""Most bytes of all pictures of a source in memory."""

_SMALLEST = 8
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    struct.error,
    tokenize.TokenError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
"""What decoders of the standard library, Pillow and NumPy raise on damaged input."""


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """All labelled records of a source.

    Attributes:
        images: Each uint8 ``[h, w]`` or ``[h, w, 3]``; for windows float32 ``[channels, time]``.
        labels: ``[n]``, 0 to K - 1.
        names: Class names.
        modality: Whether records are images or sensor windows.
    """

    images: list[NDArray[Any]]
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    modality: Literal["images", "windows"] = "images"


class Collector:
    """Gathers named pictures under a limit, and orders them by class and name."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._found: list[tuple[str, str, Pictures]] = []
        self._bytes = 0

    def add(self, label: str, name: str, image: Pictures) -> None:
        """Keep one picture of a class.

        Raises:
            DataError: All pictures together are too large.
        """
        self._bytes += image.nbytes
        if self._bytes > TOTAL_LIMIT:
            raise DataError(f"{self._what}: more than {TOTAL_LIMIT} bytes of pictures")
        self._found.append((label, name, image))

    def archive(self) -> Archive:
        """Everything gathered.

        Raises:
            DataError: There are not two classes.
        """
        names = sorted({label for label, _, _ in self._found})
        if len(names) < 2:
            raise DataError(
                f"{self._what}: pictures of {len(names)} classes, expected one folder a class, at"
                " least two"
            )
        self._found.sort(key=lambda one: one[:2])
        number = {name: row for row, name in enumerate(names)}
        labels = np.array([number[label] for label, _, _ in self._found], dtype=np.int64)
        return Archive([image for _, _, image in self._found], labels, tuple(names))


def decode(data: bytes, what: str) -> Pictures:
    """One picture: PNG, JPEG, BMP or TIFF, of 8 or 16 bits.

    Args:
        data: The file.
        what: Its name, for messages.

    Returns:
        uint8 ``[h, w]`` or ``[h, w, 3]``, no side above ``SIDE``.

    Raises:
        DataError: Not such a picture, or too large or too small.
    """
    from PIL import Image

    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of odd tags; what matters is checked below
            Image.open(io.BytesIO(data), formats=_FORMATS) as picture,
        ):
            width, height = picture.size
            if width * height > PIXEL_LIMIT or min(width, height) < _SMALLEST:
                raise DataError(f"{what}: {width} x {height} pixels")
            if picture.mode in ("F", "I"):
                raise DataError(f"{what}: mode {picture.mode}, expected 8 or 16 bits a channel")
            small: Image.Image = picture
            if picture.mode.startswith("I;16"):
                # Pillow would clip 16 bits to 255 and leave a white picture.
                small = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            small = small.convert("L" if small.mode in ("1", "L") else "RGB")
            small.thumbnail((SIDE, SIDE))
            return np.asarray(small, dtype=np.uint8)
    except DataError:
        raise
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise DataError(f"{what}: not a picture: {error}") from error


@functools.lru_cache(maxsize=2)
def read_folder(path: str) -> Archive:
    """A folder with one sub-folder a class.

    Raises:
        DataError: It is not, or holds a file that is not a picture though its name says so.
    """
    root = Path(path)
    found = Collector(path)
    try:
        folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        files = [
            (folder.name, file)
            for folder in folders
            for file in sorted(p for p in folder.iterdir() if is_picture(p.name))
        ]
    except OSError as error:
        raise DataError(f"{path}: {error}") from error
    for label, file in files:
        found.add(label, file.name, decode(_read_plain(root, file), str(file)))
    return found.archive()


def _read_plain(root: Path, file: Path) -> bytes:
    """A regular file below a folder: no device, no pipe, and no link that leads out of it.

    Raises:
        DataError: It is something else, too large, or cannot be read.
    """
    try:
        if not file.resolve().is_relative_to(root.resolve()):
            raise DataError(f"{file}: a link that leads out of {root}")
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{file}: not a regular file")
            if status.st_size > MEMBER_LIMIT:
                raise DataError(f"{file}: {status.st_size} bytes, at most {MEMBER_LIMIT} are read")
            return stream.read(MEMBER_LIMIT)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise DataError(f"{file}: {error}") from error


@functools.lru_cache(maxsize=2)
def read_npz(path: str) -> Archive:
    """NumPy arrays ``x``, ``y`` (labels), ``classes``, and perhaps ``split``.

    ``x`` is uint8 pictures, or sensor windows, float ``[n, channels, time]``.
    Where there is a ``split``, rows with 0 are used.

    Raises:
        DataError: An array is missing, or has another type or shape.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(info.file_size for info in packed.infolist())
        if size > TOTAL_LIMIT:
            raise DataError(f"{path}: {size} bytes of arrays, at most {TOTAL_LIMIT} are read")
        with np.load(path, allow_pickle=False) as archive:
            x, y, classes = archive["x"], archive["y"], archive["classes"]
            keep = archive["split"] == 0 if "split" in archive else np.ones(len(y), bool)
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{path}: not an archive of x, y and classes: {error}") from error
    windows = x.dtype.kind == "f" and x.ndim == 3
    if windows:
        x = _windows(path, x)
    elif x.ndim == 4 and x.shape[3] == 1:
        x = x[..., 0]
    good = x.dtype == np.uint8 and (x.ndim == 3 or (x.ndim == 4 and x.shape[3] == 3))
    if not windows and (not good or min(x.shape[1:3]) < _SMALLEST):
        raise DataError(
            f"{path}: x is {x.dtype} of shape {x.shape}, expected uint8 images or float windows"
        )
    if y.shape != (len(x),) or keep.shape != y.shape or y.dtype.kind not in "iu":
        raise DataError(f"{path}: y is {y.dtype} of shape {y.shape}, expected {len(x)} integers")
    if classes.ndim != 1 or classes.dtype.kind != "U" or len(set(classes.tolist())) < 2:
        raise DataError(f"{path}: classes is {classes.dtype} of shape {classes.shape}")
    if len(y) and not (y.min() >= 0 and y.max() < len(classes)):
        raise DataError(f"{path}: y is not between 0 and {len(classes) - 1}")
    return Archive(
        list(x[keep]),
        y[keep].astype(np.int64),
        tuple(str(c) for c in classes),
        "windows" if windows else "images",
    )


def _windows(path: str, x: NDArray[Any]) -> NDArray[np.float32]:
    for row, window in enumerate(x):
        try:
            check_window(window)
        except DataError as error:
            raise DataError(f"{path}: x: window {row}: {error}") from error
    return x.astype(np.float32)


def read_idx(folder: Path, images: str, labels: str, names: tuple[str, ...]) -> Archive:
    """Two IDX files (the format of MNIST), plain or with ``.gz``.

    Raises:
        DataError: They are missing, or are not what their headers say.
    """
    x, y = _idx(folder, images, 3), _idx(folder, labels, 1)
    if len(x) != len(y) or (len(y) and int(y.max()) >= len(names)):
        raise DataError(f"{folder}: {len(x)} pictures, {len(y)} labels of {len(names)} classes")
    return Archive(list(x), y.astype(np.int64), names)


def _idx(folder: Path, name: str, dimensions: int) -> Pictures:
    plain, packed = folder / name, folder / f"{name}.gz"
    path = plain if plain.is_file() else packed
    try:
        with plain.open("rb") if path == plain else gzip.open(packed, "rb") as stream:
            data = stream.read(MEMBER_LIMIT + 1)
    except DAMAGE as error:
        raise DataError(f"{path}: {error}") from error
    header = 4 + 4 * dimensions
    shape = struct.unpack_from(f">{dimensions}I", data, 4) if len(data) >= header else ()
    if data[:4] != bytes((0, 0, 8, dimensions)) or int(np.prod(shape)) != len(data) - header:
        raise DataError(f"{path}: not an IDX file of bytes in {dimensions} dimensions")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape)


def is_picture(name: str) -> bool:
    """Whether a file is a picture by its name."""
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")
