"""Reading maps: what every record is bounded by, and which maps are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bearings import BEARING

from wg_common.machines import bearing
from wg_common.machines.base import HALF_BIN_COUNT
from wg_common.nets.encoder import package, reading_map
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_common.nets.encoder.reading_map import ReadingMap
from wg_common.nets.encoder.trunk import find_trunk
from wg_common.nets.spectrum_lines import INPUT_COUNT
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.privacy.schema import MACHINE_DIMENSION
from wg_core.wire.data_sheet import DataSheet

SHEET = DataSheet(rotating_machine=BEARING)
KIND = bearing.MACHINE_KIND


def drawn_map() -> ReadingMap:
    """A map whose numbers are often longer than 1."""
    part = ReadingMap(KIND).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.normal_(0, 0.3, generator=generator)
    return part


@pytest.fixture(scope="module")
def plain() -> bytes:
    """An encoder of windows without a map."""
    raw = np.random.default_rng(0).normal(size=(140, find_trunk("windows").width))
    return fit_encoder(raw.astype(np.float32), np.arange(140) % 4, modality="windows")


@pytest.fixture(scope="module")
def encoder(plain: bytes) -> Encoder:
    return load_encoder(package.replace_reading_maps(plain, {KIND.name: drawn_map()}))


@given(st.lists(st.floats(width=32), min_size=4, max_size=4))
@settings(max_examples=50, deadline=None)
def test_numbers_have_a_bounded_norm_whatever_the_readings(values: list[float]) -> None:
    size = reading_map.reading_count(KIND)
    readings = torch.tensor(values).repeat(size)[:size]
    with torch.inference_mode():
        numbers = drawn_map()(readings[None])
    assert numbers.isfinite().all() and float(numbers.norm()) <= 1 + 1e-6


@pytest.mark.parametrize(
    "window",
    [
        np.zeros((1, 1024)),
        np.full((3, 10), 1e15),
        np.random.default_rng(0).normal(size=(2, 5000)) * 1e14,
        np.random.default_rng(1).normal(size=(1, 1024)) * 1e-300,
    ],
)
def test_numbers_of_odd_windows_are_bounded(encoder: Encoder, window: Any) -> None:
    numbers = encoder.machine_features([window], SHEET)
    assert numbers.shape == (1, MACHINE_DIMENSION) and np.isfinite(numbers).all()
    assert np.linalg.norm(numbers) <= 1 + 1e-6


def test_a_row_depends_on_its_record_alone(encoder: Encoder) -> None:
    windows = list(np.random.default_rng(2).normal(size=(5, 1, 1024)))
    every = encoder.machine_features(windows, SHEET)
    assert np.array_equal(every[3:4], encoder.machine_features(windows[3:4], SHEET))
    assert len(np.unique(every, axis=0)) == 5
    assert encoder.machine_features([], SHEET).shape == (0, MACHINE_DIMENSION)


def test_maps_are_a_part_of_the_encoder_that_its_hash_covers(
    plain: bytes, encoder: Encoder
) -> None:
    assert encoder.machine_kinds == (KIND.name,) and load_encoder(plain).machine_kinds == ()
    assert encoder.id != load_encoder(plain).id
    again = package.replace_reading_maps(plain, {KIND.name: drawn_map()})
    assert load_encoder(again).id == encoder.id
    assert package.read_description(again).machine_kinds == (KIND.name,)
    windows = list(np.random.default_rng(3).normal(size=(2, 1, 1024)))
    assert np.array_equal(load_encoder(plain).encode(windows), encoder.encode(windows))


def test_an_encoder_without_a_map_says_what_to_do(plain: bytes) -> None:
    with pytest.raises(ConfigError, match="zoo build --new-encoder"):
        load_encoder(plain).machine_features([], SHEET)


def _changed(name: str, value: Any) -> dict[str, Any]:
    tensors: dict[str, Any] = dict(reading_map.maps_to_tensors({KIND.name: drawn_map()}))
    return tensors | {f"machine.{KIND.name}.{name}": value}


SIZE = reading_map.reading_count(KIND)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("centre", np.zeros(SIZE - 1, np.float32), DecodeError),
        ("centre", np.zeros(SIZE, np.float64), DecodeError),
        ("spread", np.full(SIZE, np.nan, np.float32), DecodeError),
        ("spread", np.zeros(SIZE, np.float32), VerificationError),
        ("spread", -np.ones(SIZE, np.float32), VerificationError),
        ("layers.4.bias", np.full(MACHINE_DIMENSION, 1e13, np.float32), VerificationError),
        ("layers.0.weight", np.full((128, SIZE), 1e30, np.float32), VerificationError),
        ("layers.9.bias", np.zeros(MACHINE_DIMENSION, np.float32), DecodeError),
    ],
)
def test_a_map_that_is_none_or_could_overflow_is_refused(
    name: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        reading_map.maps_from_tensors(_changed(name, value))


def test_a_map_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(DecodeError, match="no kind of machine"):
        reading_map.maps_from_tensors({"machine.loom.centre": np.zeros(3, np.float32)})


def test_an_incomplete_map_is_refused() -> None:
    tensors: dict[str, Any] = dict(reading_map.maps_to_tensors({KIND.name: drawn_map()}))
    tensors.popitem()
    with pytest.raises(DecodeError, match="not one of this program"):
        reading_map.maps_from_tensors(tensors)


def test_weights_over_inputs_do_what_weights_over_readings_do() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, 3, INPUT_COUNT, generator=generator)
    templates = torch.rand(2, 5, HALF_BIN_COUNT, generator=generator)
    readings = reading_map.window_readings(inputs, templates)
    weights = torch.randn(2, 4, readings.shape[2], generator=generator)
    expected = readings @ weights.mT
    made = inputs @ reading_map.readings_to_input_weights(weights, templates).mT
    torch.testing.assert_close(made, expected, atol=1e-2, rtol=1e-3)
