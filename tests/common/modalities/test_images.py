"""Images from a disk: what is read, and what is refused with the file's name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wg_common.modalities.cameras import Camera, rephotograph_centre
from wg_common.modalities.images import DECODED_SIDE_LIMIT, REDUCED_SIDE_LIMIT, Images
from wg_common.modalities.stored_records import records_from_paths
from wg_core.errors import DataError
from wg_core.site.reading_config import GREY_BIT_DEPTHS

read_image = Images().read


def test_gray_stays_gray_and_colour_stays_colour(tmp_path: Path) -> None:
    gray = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(gray).save(tmp_path / "g.png")
    Image.fromarray(np.stack([gray] * 3, axis=2)).save(tmp_path / "c.png")
    np.testing.assert_array_equal(read_image(tmp_path / "g.png"), gray)
    assert read_image(tmp_path / "c.png").shape == (6, 8, 3)


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    deep = (np.arange(48, dtype=np.uint16) * 1000).reshape(6, 8)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), (deep >> 8).astype(np.uint8))


def _bytes(image: Image.Image, form: str, **more: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **more)
    return stream.getvalue()


COLOUR = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8))


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (_bytes(COLOUR.convert("CMYK"), "JPEG"), (9, 7, 3)),
        (_bytes(COLOUR.convert("CMYK"), "TIFF"), (9, 7, 3)),
        (_bytes(COLOUR.convert("P"), "PNG", transparency=bytes(range(256))), (9, 7, 3)),
        (_bytes(COLOUR.convert("P"), "PNG", transparency=3), (9, 7, 3)),
        (_bytes(COLOUR.convert("P"), "PNG"), (9, 7, 3)),
        (_bytes(COLOUR.convert("RGBA"), "PNG"), (9, 7, 3)),
        (_bytes(COLOUR.convert("LA"), "PNG"), (9, 7)),
        (_bytes(COLOUR.convert("1"), "PNG"), (9, 7)),
    ],
)
def test_odd_kinds_of_images_have_one_meaning(data: bytes, shape: tuple[int, ...]) -> None:
    assert Images().decode(data, "x").shape == shape


def test_alpha_is_ignored() -> None:
    clear = COLOUR.copy()
    clear.putalpha(0)
    found = Images().decode(_bytes(clear, "PNG"), "x")
    np.testing.assert_array_equal(found, np.asarray(COLOUR))


@pytest.mark.parametrize("form", ["TIFF", "PNG", "WEBP"])
def test_several_pages_are_no_image(form: str) -> None:
    data = _bytes(COLOUR, form, save_all=True, append_images=[COLOUR.rotate(90)])
    with pytest.raises(DataError, match="several pages"):
        Images().decode(data, "x")


@pytest.mark.parametrize("bits", GREY_BIT_DEPTHS)
def test_as_many_bits_as_a_camera_fills_are_read(bits: int) -> None:
    top = (1 << bits) - 1
    deep = np.array([[0, top // 2, top]] * 3, dtype=np.uint16)
    found = Images(bits).decode(_bytes(Image.fromarray(deep), "PNG"), "x")
    assert found[0].tolist() == [0, 127, 255]


def test_a_large_image_is_reduced(tmp_path: Path) -> None:
    Image.new("L", (3 * REDUCED_SIDE_LIMIT, REDUCED_SIDE_LIMIT), 77).save(tmp_path / "big.png")
    assert read_image(tmp_path / "big.png").shape == (
        round(REDUCED_SIDE_LIMIT / 3),
        REDUCED_SIDE_LIMIT,
    )


def test_a_colour_camera_sees_colours_and_a_grey_one_does_not() -> None:
    rng, image = np.random.default_rng(1), np.zeros((16, 20, 3), np.uint8)
    image[..., 0] = 200
    coloured = rephotograph_centre(rng, image, Camera(tint=(0.9, 1.0, 1.0)))
    assert coloured.shape == (16, 16, 3) and coloured[0, 0].tolist() == [180, 0, 0]
    assert rephotograph_centre(rng, image, Camera()).tolist() == [[67] * 16] * 16


@pytest.mark.parametrize("shape", [(40, 60), (60, 40, 3)])
def test_a_retake_is_square_and_grey_only_if_the_image_is(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    parts = Images().augment_retakes([image] * 20, np.random.default_rng(1))
    assert {part.shape for part in parts} == {(60, 60, *shape[2:])}


def test_retakes_differ_in_light_and_colours_and_stay_recognisable() -> None:
    image = np.full((32, 32, 3), (200, 60, 60), np.uint8)
    rng = np.random.default_rng(4)
    retakes = [Images().augment_retakes([image] * 3, rng) for _ in range(30)]
    seen = np.array([part.mean(axis=(0, 1)) for parts in retakes for part in parts])
    assert np.ptp(seen, axis=0).min() > 40  # of brightness, saturation and hue
    assert (seen[:, 0] > seen[:, 1:].max(axis=1)).mean() > 0.95  # none is a negative or grey


def _bomb(path: Path, width: int, height: int) -> None:
    """A PNG of a few bytes whose header promises any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 60_000), (2_000_000_000, 1)])
def test_a_decompression_bomb_is_refused_by_its_header(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    _bomb(tmp_path / "bomb.png", *size)
    with pytest.raises(DataError, match=r"bomb\.png"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
@pytest.mark.parametrize("kept", [0, 3, 20, 60])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str, kept: int) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cut\."):
        read_image(path)


def test_flipped_bytes_give_an_image_or_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "flip.png"
    noise = np.random.default_rng(2).integers(0, 255, (16, 16), np.uint8)
    Image.fromarray(noise).save(path)
    good = path.read_bytes()
    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x55]) + good[position + 1 :])
        try:
            assert read_image(path).dtype == np.uint8
        except DataError as error:
            assert "flip.png" in str(error)


def test_files_are_read_when_asked_for(tmp_path: Path) -> None:
    for index in range(3):
        Image.new("L", (4, 5), index).save(tmp_path / f"{index}.png")
    files = records_from_paths(Images(), [tmp_path / f"{index}.png" for index in range(3)])
    assert len(files) == 3 and files[2].max() == 2 and len(files[1:]) == 2


@pytest.mark.parametrize("size", [(1, DECODED_SIDE_LIMIT + 1), (DECODED_SIDE_LIMIT + 1, 1)])
def test_an_image_of_very_many_lines_is_refused_before_a_line_is_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1 x 64 million pixels are 127 KB as PNG; their lines took gigabytes."""
    data = _bytes(Image.new("L", size), "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("a pixel was decoded"))
    said = f"{size[0]}x{size[1]} pixels, at most {DECODED_SIDE_LIMIT} a side"
    with pytest.raises(DataError, match=said):
        Images().decode(data, "tall.png")
