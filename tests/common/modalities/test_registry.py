"""What all modalities promise, and how one is told from another."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wg_common.modalities import registry
from wg_common.modalities.base import content_digest, read_file
from wg_common.modalities.images import Images
from wg_common.modalities.registry import MODALITIES, find_modality
from wg_core.errors import DataError, DecodeError
from wg_server.zoo import archives

RNG = np.random.default_rng(0)
RECORDS: dict[str, list[NDArray[np.generic]]] = {
    "images": [RNG.integers(0, 256, (16, 20), np.uint8), RNG.integers(0, 256, (9, 9, 3), np.uint8)],
    "texts": [
        np.array("oil drips from the seal of pump 3 onto the floor again"),
        np.array("油漏れ"),
    ],
    "windows": [RNG.normal(size=(2, 64)), RNG.normal(size=(1, 50)).astype(np.float32)],
}


@pytest.mark.parametrize("name", MODALITIES)
def test_each_takes_its_own_records_and_no_others(name: str) -> None:
    found = find_modality(name)
    assert found.name == name
    for other, records in RECORDS.items():
        for record in records:
            assert found.matches_array(record[None]) == (other == name)
            if other == name:
                found.check_record(record)
            else:
                with pytest.raises(DataError):
                    found.check_record(record)


def test_an_array_is_of_one_modality_at_most() -> None:
    for name, records in RECORDS.items():
        found = registry.modality_of_array(records[0][None])
        assert found is not None and found.name == name
        assert sum(each.matches_array(records[0][None]) for each in MODALITIES.values()) == 1
    assert registry.modality_of_array(np.zeros((3, 4), np.int64)) is None


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.PNG", "images"),
        ("a.webp", "images"),
        ("a.csv", "windows"),
        ("a.npy", "windows"),
        ("a.gif", None),
        (".a.png", None),
        ("png", None),
    ],
)
def test_a_file_is_of_the_modality_that_its_name_says(file: str, name: str | None) -> None:
    found = registry.modality_of_file(file)
    assert (None if found is None else found.name) == name


def test_a_modality_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DecodeError, match="modality 'text': this program knows images, windows"):
        find_modality("text")


@pytest.mark.parametrize("name", MODALITIES)
def test_the_record_that_is_refused_is_numbered(name: str) -> None:
    found = find_modality(name)
    with pytest.raises(DataError, match=f"^{found.singular} 9: "):
        found.check_records([RECORDS[name][0], np.zeros((0, 4))], 8)


@pytest.mark.parametrize("name", MODALITIES)
def test_one_other_site_sees_all_records_alike(name: str) -> None:
    found, record = find_modality(name), RECORDS[name][0]
    seen = found.augment_site([record] * 3, 0.0, np.random.default_rng(5))
    for each in seen:
        found.check_record(each)
    one, two = (found.augment_site([record], 1.0, np.random.default_rng(seed)) for seed in (1, 2))
    again = found.augment_site([record], 1.0, np.random.default_rng(1))
    assert np.array_equal(one[0], again[0]) and not np.array_equal(one[0], two[0])


@pytest.mark.parametrize("name", MODALITIES)
def test_a_site_sees_records_of_several_shapes_in_their_order(name: str) -> None:
    found, records = find_modality(name), RECORDS[name]
    seen = found.augment_site(records + records[::-1], 1.0, np.random.default_rng(5))
    assert len(seen) == 4
    for each in seen:
        found.check_record(each)
    if name == "windows":
        assert [each.shape for each in seen] == [(2, 64), (1, 50), (1, 50), (2, 64)]


@pytest.mark.parametrize("name", MODALITIES)
def test_retakes_are_still_records(name: str) -> None:
    found, records = find_modality(name), RECORDS[name]
    retakes = found.augment_retakes(records, np.random.default_rng(5))
    assert len(retakes) == len(records)
    for record in retakes:
        found.check_record(record)


def test_the_content_is_values_type_and_shape() -> None:
    record = np.arange(6, dtype=np.uint8).reshape(2, 3)
    others = [record.reshape(3, 2), record.astype(np.int8), record + np.uint8(1)]
    assert content_digest(record) == content_digest(np.asfortranarray(record))
    assert len({content_digest(each) for each in [record, *others]}) == 4


def test_a_pipe_a_folder_and_a_large_file_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    for name, message in (("pipe", "not a regular"), ("large", "11 bytes"), ("no", "cannot be")):
        with pytest.raises(DataError, match=message) as caught:
            read_file(tmp_path / name, 10)
        assert name in str(caught.value)
    with pytest.raises(DataError):
        read_file(tmp_path, 10)


def _file(image: Image.Image, form: str, **words: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **words)
    return stream.getvalue()


def _pictures() -> dict[str, bytes]:
    grey = Image.fromarray(RNG.integers(0, 256, (20, 30), np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    return {
        "turned.jpg": _file(grey, "JPEG", exif=turned),
        "transparent.png": _file(grey.convert("LA"), "PNG"),
        "palette.png": _file(grey.convert("P"), "PNG"),
        "grey.pgm": _file(grey, "PPM"),
    }


@pytest.mark.parametrize("name", _pictures())
def test_the_zoo_reads_pictures_as_a_plant_does(name: str, tmp_path: Path) -> None:
    data = _pictures()[name]
    (tmp_path / name).write_bytes(data)
    plant = Images().read(tmp_path / name)
    np.testing.assert_array_equal(archives.decode_picture(data, name), plant)
    assert plant.shape == {"turned.jpg": (30, 20), "palette.png": (20, 30, 3)}.get(name, (20, 30))
