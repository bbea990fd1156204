"""An encoder that could overflow on some record is refused before it sees one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray
from tests.common.nets.test_isolation import fitted

from wg_common.modalities.windows import MAGNITUDE_LIMIT
from wg_common.nets.encoder import image_trunk, window_trunk
from wg_common.nets.encoder import package as encoder_package
from wg_common.nets.encoder import projected_trunk as encoders
from wg_core.errors import VerificationError

HUGE = float(np.finfo(np.float32).max)


@pytest.fixture(scope="module", params=["images", "windows"])
def package(request: pytest.FixtureRequest) -> bytes:
    return fitted(request.param)


def _changed(package: bytes, name: str, place: tuple[int, ...], value: float) -> bytes:
    tensors = {key: tensor.copy() for key, tensor in safetensors.numpy.load(package).items()}
    tensors[name][place] = value
    size = int.from_bytes(package[:8], "little")
    return safetensors.numpy.save(
        tensors, metadata=json.loads(package[8 : 8 + size])["__metadata__"]
    )


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("mean", (7,), 1e13),
        ("mean", (0,), -HUGE),
        ("projection", (0, 0), 1e12),
        ("projection", (2000, 15), -HUGE),
        ("local", (1, 3), 1e30),
    ],
)
def test_one_number_out_of_range_is_refused(
    package: bytes, name: str, place: tuple[int, ...], value: float
) -> None:
    with pytest.raises(VerificationError, match="could overflow on a record") as caught:
        encoders.load_encoder(_changed(package, name, place, value))
    assert caught.value.exit_code == 5


def test_many_numbers_that_overflow_together_only_are_refused(package: bytes) -> None:
    tensors = safetensors.numpy.load(package)
    tensors["projection"] = np.full_like(tensors["projection"], 1e9)
    bounds: NDArray[np.float64] | float = window_trunk.FEATURE_BOUND
    if len(tensors["mean"]) == image_trunk.FEATURE_COUNT:
        bounds = image_trunk.ImageTrunk(64).feature_bounds()
    with pytest.raises(VerificationError, match="projection"):
        encoder_package.check_overflow(tensors, bounds)
    tensors["projection"] = np.full_like(tensors["projection"], 1e2)
    encoder_package.check_overflow(tensors, bounds)


def test_a_fitted_encoder_is_far_from_the_bound(
    package: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        encoder_package, "FEATURE_MAGNITUDE_BOUND", encoder_package.FEATURE_MAGNITUDE_BOUND / 1e6
    )
    encoders.load_encoder(package)


def test_no_image_has_raw_features_beyond_the_bounds() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:64, 0:64]
    stripes = [((x // k + y // m) % 2 * 255).astype(np.uint8) for k in (1, 3, 16) for m in (1, 99)]
    found = [np.full((64, 64), value, np.uint8) for value in (0, 255)]
    found += [*stripes, *rng.integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)]
    raw = np.abs(encoders.compute_raw_features(found))
    bounds = image_trunk.ImageTrunk(64).feature_bounds()
    assert (raw <= bounds).all()
    assert np.median(raw.max(axis=0) / bounds) > 0.001  # a bound that means something


@pytest.mark.parametrize(("channels", "time"), [(1, 8), (128, 9), (3, 128), (128, 300), (2, 5000)])
def test_no_window_has_raw_features_beyond_the_bound(channels: int, time: int) -> None:
    rng = np.random.default_rng(time)
    impulse, steps = np.zeros((channels, time)), np.ones((channels, time))
    impulse[:, time // 2] = MAGNITUDE_LIMIT
    steps[:, ::2] = -1
    noise = rng.normal(size=(channels, time))
    found = [
        impulse,
        MAGNITUDE_LIMIT * steps,
        1e-38 * steps,
        np.full((channels, time), MAGNITUDE_LIMIT),
    ]
    found += [np.sinh(20 * np.clip(noise, -1, 1)), noise * 1e-30, np.zeros((channels, time))]
    raw = encoders.compute_raw_features(found, modality="windows")
    assert np.isfinite(raw).all() and np.abs(raw).max() <= window_trunk.FEATURE_BOUND / 2
