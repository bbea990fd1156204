"""Image files from a plant's disk, read as if somebody had prepared them.

Only formats without scripting are opened; the header's size is checked before a pixel is decoded,
so that a decompression bomb costs nothing; anything damaged is a ``DataError`` that names the file.

Not guaranteed: colour management. Profiles and gamma are ignored, as public encoders do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from wg_common.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 64 << 20
"""Largest width times height that is decoded."""
MAX_SIDE = 1024
"""Longer images are reduced to this side; encoders see far less."""

_GRAY = frozenset({"1", "L", "LA"})
_COLOUR = frozenset({"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"})
_DEEP = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})


def is_image(path: Path) -> bool:
    """Whether a file's name says that it is an image."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read one image.

    Returns:
        uint8 ``[H, W]`` for gray, ``[H, W, 3]`` for colour; the longer side at most ``MAX_SIDE``.
        Images of 16 bits keep their upper 8.

    Raises:
        DataError: Not an image, damaged, too large, or of a kind that is not read.
    """
    with _opened(path) as image:
        return _decode(path, image)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height from an image's header, without decoding a pixel.

    Raises:
        DataError: Not an image.
    """
    with _opened(path) as image:
        return image.size


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path, formats=FORMATS) as image:
                yield image
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not an image of {', '.join(FORMATS)}, or too large") from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, Warning) as error:
        raise DataError(f"{path}: damaged image: {error}") from error


def _decode(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    width, height = image.size
    if width * height > MAX_PIXELS or width < 1 or height < 1:
        raise DataError(f"{path}: {width}x{height} pixels, at most {MAX_PIXELS} are decoded")
    if image.mode in _DEEP:
        deep = np.asarray(image, dtype=np.uint16)
        image = Image.fromarray((deep >> 8).astype(np.uint8))
    elif image.mode in _GRAY:
        image = image.convert("L")
    elif image.mode in _COLOUR:
        image = image.convert("RGB")
    else:
        raise DataError(f"{path}: pixels of mode {image.mode}, expected 8 or 16 bit gray or colour")
    image = ImageOps.exif_transpose(image)
    if max(image.size) > MAX_SIDE:
        image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    return np.array(image, dtype=np.uint8)


class ImageFiles(Sequence[NDArray[np.uint8]]):
    """Image files as a sequence of arrays, each read when it is asked for.

    A plant's folder may not fit in memory; its features do.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...
    @overload
    def __getitem__(self, index: slice) -> ImageFiles: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.uint8] | ImageFiles:
        if isinstance(index, slice):
            return ImageFiles(self.paths[index])
        return read_image(self.paths[index])
