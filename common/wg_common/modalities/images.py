"""Reader of untrusted image files.

Only formats without scripting are opened. The size in the header is checked before a pixel is
decoded, so a decompression bomb costs nothing. A damaged file is a ``DataError`` that names it.

Alpha is ignored, and colours are taken as stored. Palette and CMYK images become RGB. Images of 16
bits per pixel keep the upper 8 of the ``bits`` that the plant configures: 12-bit cameras write
values up to 4095 into 16-bit files, and the file does not show it. A file of several pages is
refused; the additional images in a JPEG are previews.

*Not guaranteed:* colour management. Profiles and gamma are ignored, as public encoders do.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wg_common.modalities.base import DAMAGED_INPUT_ERRORS, Modality, Record
from wg_core.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")
NETWORK_SIDE_PIXELS = 64  # Side of the input images of networks beside the encoder
ENCODER_SIDE_PIXELS = 128  # Default side of the encoder's input images
PIXELS_LIMIT = 64 << 20  # Largest width times height that is decoded
DECODED_SIDE_LIMIT = 1 << 16
"""Largest width or height: a decoder allocates memory for each line, however short it is."""
REDUCED_SIDE_LIMIT = 1024  # Longer side to which larger images are reduced; encoders use far less
FILE_BYTES_LIMIT = 4 * PIXELS_LIMIT + (1 << 20)
"""Largest file in bytes: ``PIXELS_LIMIT`` pixels in four channels, and a header."""

_MULTIPAGE_FORMATS = frozenset({"TIFF", "WEBP", "PNG"})
_GRAY_MODES = frozenset({"1", "L", "LA"})
_COLOUR_MODES = frozenset({"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV", "RGBX"})
_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})

Picture = NDArray[np.uint8]


class Images(Modality):
    """Modality of grey or colour images, uint8 ``[H, W]`` or ``[H, W, 3]``."""

    name = "images"
    title = "images"
    singular = "image"
    layout = "uint8 [n, H, W] or [n, H, W, 3] (images)"
    suffixes = frozenset(
        {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
    )
    file_limit = FILE_BYTES_LIMIT
    is_resized = True
    head_architecture = "lite0-head"
    trunk_modules = ("wg_common.nets.encoder.image_trunk", "wg_common.nets.encoder.object_trunk")
    trunk_file_module = "wg_common.nets.encoder.onnx_file"
    family_network = "lite0-low"

    def __init__(self, grey_bit_depth: int = 16) -> None:
        """Configure the reader of images.

        Args:
            grey_bit_depth: Number of bits that the camera uses in 16-bit images; one of
                ``wg_core.site.reading_config.GREY_BIT_DEPTHS``.
        """
        self.bits = grey_bit_depth

    def matches_array(self, x: Record) -> bool:
        """Return True if an array is uint8 ``[n, H, W]`` or ``[n, H, W, 3]``."""
        return x.dtype == np.uint8 and (x.ndim == 3 or x.shape[3:] == (3,))

    def check_record(self, record: Record) -> None:
        """Check that an array is an image.

        Raises:
            DataError: The array is not uint8 ``[H, W]`` or ``[H, W, 3]``, or is empty.
        """
        good = record.ndim == 2 or (record.ndim == 3 and record.shape[2] == 3)
        if record.dtype != np.uint8 or not good or 0 in record.shape:
            raise DataError(
                f"{record.dtype} of shape {record.shape}, expected uint8 (h, w) or (h, w, 3)"
            )

    def check_zoo_record(self, record: Record) -> None:
        """Check that an array is an image of at least 8 pixels a side.

        Raises:
            DataError: The array is not an image, or too small for a simulated camera.
        """
        shortest_side = 8
        self.check_record(record)
        if min(record.shape[:2]) < shortest_side:
            raise DataError(f"{record.shape[1]} x {record.shape[0]} pixels, too small")

    def decode(self, data: bytes, file_name: str) -> Picture:
        """Decode one image from the bytes of its file.

        Returns:
            Image, uint8 ``[H, W]`` for gray, ``[H, W, 3]`` for colour, with the longer side at most
            ``REDUCED_SIDE_LIMIT``. Images of 16 bits keep the upper 8 of the configured ``bits``.
            The orientation in the header is applied.

        Raises:
            DataError: The file is not an image of a supported kind, is damaged, or is too large.
        """
        from PIL import Image, ImageOps, UnidentifiedImageError

        if not data:
            raise DataError(f"{file_name}: an empty file, 0 bytes; expected an image")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image_file:
                    image = ImageOps.exif_transpose(
                        _convert_to_eight_bits(image_file, file_name, self.bits)
                    )
                    if max(image.size) > REDUCED_SIDE_LIMIT:
                        image.thumbnail(
                            (REDUCED_SIDE_LIMIT, REDUCED_SIDE_LIMIT), Image.Resampling.BOX
                        )
                    return np.array(image, dtype=np.uint8)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError(
                f"{file_name}: a huge image: at most {PIXELS_LIMIT} pixels are decoded; reduce it"
                " first"
            ) from error
        except UnidentifiedImageError as error:
            raise DataError(
                f"{file_name}: not an image of {', '.join(IMAGE_FORMATS)}, or damaged at its"
                " beginning"
            ) from error
        except DAMAGED_INPUT_ERRORS as error:
            raise DataError(f"{file_name}: damaged image: {error}") from error

    def augment_site(
        self, records: Sequence[Record], strength: float, rng: np.random.Generator
    ) -> list[Record]:
        """Render the central square of each image through one random simulated camera."""
        from wg_common.modalities import cameras  # SciPy: only the zoo needs it

        camera = cameras.draw_camera(rng, strength=strength, may_turn=False)
        return [cameras.rephotograph_centre(rng, record, camera) for record in records]

    def augment_retakes(self, records: Sequence[Record], rng: np.random.Generator) -> list[Record]:
        """Vary crop, light, colours and sharpness of images, and render all by one mild camera."""
        from wg_common.modalities import cameras

        random_camera = cameras.draw_camera(rng, strength=rng.uniform(0, 0.5), may_turn=False)
        grey_camera = replace(random_camera, is_inverted=False, emboss=0.0, tint=None)
        colour_camera = replace(grey_camera, tint=random_camera.tint or (1.0, 1.0, 1.0))
        crops = [_simulate_retake(record, rng) for record in records]
        return [
            cameras.rephotograph_centre(rng, crop, colour_camera if crop.shape[2:] else grey_camera)
            for crop in crops
        ]

    def example_record(self, shape: tuple[int, int]) -> Picture:
        """Return a black image of the given height and width."""
        return np.zeros(shape, np.uint8)


def _simulate_retake(record: Record, rng: np.random.Generator) -> Picture:
    """Crop a random part of an image, and vary its light, colours and sharpness.

    Common augmentation of photographs: crops of 50 to 100 % of the area, jitter of brightness,
    contrast and saturation by 40 % and of the hue by a tenth of the circle, and a Gaussian blur.
    """
    from PIL import Image, ImageEnhance, ImageFilter

    size = np.array(record.shape[:2])
    side = np.sqrt(rng.uniform(0.5, 1)) * size.min()
    stretch = np.exp(rng.uniform(-0.11, 0.11))
    extent = np.minimum(side * np.array([stretch, 1 / stretch]), size)
    corner = rng.uniform(0, size - extent)
    pixels = min(int(size.max()), ENCODER_SIDE_PIXELS)
    image = Image.fromarray(record).resize(
        (pixels, pixels), Image.Resampling.BILINEAR, (*corner[::-1], *(corner + extent)[::-1])
    )
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.1, 2) * pixels / 96))
    if rng.random() < 0.8:
        enhancers = ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color
        for enhancer in enhancers[: record.ndim]:  # a grey image has no colours
            image = enhancer(image).enhance(rng.uniform(0.6, 1.4))
        if record.ndim == 3:
            hue, *others = image.convert("HSV").split()
            turn = round(256 * rng.uniform(-0.1, 0.1))
            other_hue = hue.point([(value + turn) % 256 for value in range(256)])
            image = Image.merge("HSV", (other_hue, *others)).convert("RGB")
    return np.array(image, dtype=np.uint8)


def _convert_to_eight_bits(image: Image.Image, name: str, grey_bit_depth: int) -> Image.Image:
    """Check the size of an opened image, and convert it to 8-bit gray or colour."""
    from PIL import Image

    width, height = image.size
    if width * height > PIXELS_LIMIT or width < 1 or height < 1:
        raise DataError(
            f"{name}: a huge image: {width}x{height} pixels, at most {PIXELS_LIMIT} are decoded;"
            " reduce it first"
        )
    if max(width, height) > DECODED_SIDE_LIMIT:
        raise DataError(
            f"{name}: a huge image: {width}x{height} pixels, at most {DECODED_SIDE_LIMIT} a side"
            " are decoded; reduce it first"
        )
    if image.format in _MULTIPAGE_FORMATS and getattr(image, "is_animated", False):
        raise DataError(f"{name}: several pages, expected one; save each page as a file of its own")
    if image.mode in _SIXTEEN_BIT_MODES:
        deep = np.asarray(image, dtype=np.uint16)
        if grey_bit_depth < 16 and deep.size and int(deep.max()) >> grey_bit_depth:
            raise DataError(
                f"{name}: a value of {int(deep.max())}, which {grey_bit_depth} bits do not hold;"
                " set data.reading.bits to how many bits your camera fills"
            )
        return Image.fromarray((deep >> (grey_bit_depth - 8)).astype(np.uint8))
    if image.mode in ("L", "RGB"):
        return image  # A conversion would be a second copy
    if image.mode in _GRAY_MODES:
        return image.convert("L")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    if image.mode in _COLOUR_MODES:
        return image.convert("RGB")
    raise DataError(f"{name}: pixels of mode {image.mode}, expected 8 or 16 bit gray or colour")
