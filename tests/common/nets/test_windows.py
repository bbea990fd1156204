import json

import numpy as np
import pytest
import torch

from wg_common.nets.encoder import package as encoder_package
from wg_common.nets.encoder import projected_trunk as encoders
from wg_common.nets.encoder import projection_fit, window_trunk
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.errors import DataError, DecodeError

SHAPES = ((1, 8), (3, 20), (2, 128), (1, 129), (1, 1024), (2, 1500), (5, 2500))


def _windows(count: int, channels: int = 2, time: int = 60) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [rng.normal(size=(channels, time)).cumsum(axis=1) for _ in range(count)]


@pytest.fixture(scope="module")
def package() -> bytes:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(160, window_trunk.FEATURE_COUNT)).astype(np.float32)
    return fit_encoder(
        raw, np.arange(160) % 5, np.arange(160) % 3, dimension=16, modality="windows"
    )


@pytest.fixture(scope="module")
def encoder(package: bytes) -> encoders.Encoder:
    return encoders.load_encoder(package)


@pytest.mark.parametrize(("channels", "time"), SHAPES)
def test_any_shape_gives_finite_features_in_the_clip_radius(
    encoder: encoders.Encoder, channels: int, time: int
) -> None:
    found = encoder.encode(_windows(2, channels, time))
    assert found.shape == (2, 16)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.linalg.norm(found, axis=1).max() <= encoder.clip_radius * (1 + 1e-5)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e12, 1e-20])
def test_a_sensor_that_stands_still_has_finite_features(
    encoder: encoders.Encoder, value: float
) -> None:
    assert np.isfinite(encoder.encode([np.full((2, 40), value)])).all()


def test_gain_moves_the_level_only() -> None:
    window = _windows(1, 2, 300)[0]
    trunk = window_trunk.WindowTrunk()
    with torch.inference_mode():
        one, two = (
            trunk(window_trunk.window_views(window * gain))[0].numpy() for gain in (1.0, 8.0)
        )
    names = np.repeat(list(window_trunk.BLOCK_SIZES), list(window_trunk.BLOCK_SIZES.values()))
    level = np.isin(names, ["level-mean", "channels"])
    np.testing.assert_allclose(one[~level], two[~level], atol=2e-3)
    assert np.abs(one[level] - two[level]).max() > 0.1


@pytest.mark.parametrize("samples", [1024, 1025, 2047, 3000, 9000])
def test_pieces_cover_a_window_that_is_not_too_long_for_them(samples: int) -> None:
    window = np.arange(samples, dtype=np.float32)[None]
    pieces = window_trunk.window_views(window)[0, 0, 1:]
    assert pieces[0, 0] == 0 and pieces[-1, -1] == samples - 1
    seen = len(np.unique(pieces.numpy()))
    assert seen == min(samples, window_trunk.MOST_PIECES * window_trunk.VIEW_SAMPLES)


def test_which_channel_did_it_is_not_lost() -> None:
    window = np.random.default_rng(1).normal(size=(6, 64))
    trunk = window_trunk.WindowTrunk()
    found = []
    for channel in (1, 4):
        moved = window.copy()
        moved[channel] += 6
        with torch.inference_mode():
            found.append(trunk(window_trunk.window_views(moved))[0].numpy())
    names = np.repeat(list(window_trunk.BLOCK_SIZES), list(window_trunk.BLOCK_SIZES.values()))
    assert np.abs((found[0] - found[1])[names == "channels"]).max() > 0.3


@pytest.mark.parametrize(
    "window",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((2, 40), np.int16),
        np.zeros(40),
        np.zeros((2, 7)),
        np.zeros((129, 8)),
        np.full((1, 8), np.nan),
        np.full((1, 8), 1e30),
    ],
)
def test_what_is_no_window_is_refused(encoder: encoders.Encoder, window: np.ndarray) -> None:
    with pytest.raises(DataError, match="window 1"):
        encoder.encode([_windows(1)[0], window])


def test_fitting_is_deterministic_and_the_package_says_what_it_encodes(package: bytes) -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(160, window_trunk.FEATURE_COUNT)).astype(np.float32)
    again = fit_encoder(
        raw, np.arange(160) % 5, np.arange(160) % 3, dimension=16, modality="windows"
    )
    assert again == package
    assert encoder_package.read_modality(package) == "windows"
    assert encoders.load_encoder(package).modality == "windows"


def test_a_package_of_another_trunk_or_damaged_is_refused(package: bytes) -> None:
    other = package.replace(window_trunk.WindowTrunk.digest().encode(), b"0" * 64)
    with pytest.raises(DecodeError, match="trunk_sha256"):
        encoders.load_encoder(other)
    size = int.from_bytes(package[:8], "little")
    metadata = json.loads(package[8 : 8 + size])["__metadata__"]["encoder"]
    assert '"windows"' in metadata
    for data in (package[:100], package[:-4], package.replace(b"windows-4", b"windows-3")):
        with pytest.raises(DecodeError):
            encoders.load_encoder(data)


def test_discriminant_directions_tell_classes_apart_and_not_records() -> None:
    rng = np.random.default_rng(4)
    classes = np.repeat(np.arange(6), 40)
    z = rng.normal(size=(240, 12)) * np.array([10.0] + [1.0] * 11)  # loud, and says nothing
    z[:, 5] += classes - classes.mean()
    vectors = projection_fit.discriminant_directions(
        z - z.mean(axis=0), classes, 3, ridge_factor=0.01, within_share=0.05
    )
    assert vectors.shape == (12, 3)
    assert np.abs(vectors[:, 0]).argmax() == 5


def test_without_classes_the_leading_directions_are_released() -> None:
    rng = np.random.default_rng(5)
    z = rng.normal(size=(240, 12)) * np.array([1.0] * 11 + [10.0])
    vectors = projection_fit.discriminant_directions(
        z - z.mean(axis=0), np.zeros(240, int), 3, ridge_factor=1.0, within_share=0.05
    )
    assert np.abs(vectors[:, 0]).argmax() == 11
