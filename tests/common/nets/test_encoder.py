import numpy as np
import pytest

from wg_common.nets.encoder import image_trunk, published_weights
from wg_common.nets.encoder import package as packages
from wg_common.nets.encoder import projected_trunk as encoders
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.errors import DataError, DecodeError


@pytest.fixture(scope="module")
def package() -> bytes:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(200, image_trunk.FEATURE_COUNT)).astype(np.float32)
    return fit_encoder(raw, np.arange(200) % 5, dimension=16, trunk_settings={"pixels": "64"})


@pytest.fixture(scope="module")
def encoder(package: bytes) -> encoders.Encoder:
    return encoders.load_encoder(package)


def _images(count: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


def test_features_stay_in_the_clip_radius(encoder: encoders.Encoder) -> None:
    features = encoder.encode(_images(5, (40, 30)))
    assert features.shape == (5, 16)
    assert features.dtype == np.float32
    assert np.linalg.norm(features, axis=1).max() <= encoder.clip_radius * (1 + 1e-5)


def test_a_grey_image_is_the_rgb_image_of_equal_channels(encoder: encoders.Encoder) -> None:
    grey = _images(2, (33, 47))
    colour = [np.repeat(image[..., None], 3, axis=2) for image in grey]
    np.testing.assert_allclose(encoder.encode(grey), encoder.encode(colour), atol=1e-5)


def test_fitting_is_deterministic_and_the_id_is_the_hash(package: bytes) -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(200, image_trunk.FEATURE_COUNT)).astype(np.float32)
    again = fit_encoder(raw, np.arange(200) % 5, dimension=16, trunk_settings={"pixels": "64"})
    assert again == package
    assert encoders.load_encoder(again).id == encoders.load_encoder(package).id


@pytest.mark.parametrize("shape", [(4, 4, 4), (0, 5), (5,)])
def test_what_is_no_image_is_refused(encoder: encoders.Encoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="image 0"):
        encoder.encode([np.zeros(shape, np.uint8)])


def test_damaged_packages_are_refused(package: bytes) -> None:
    for data in (b"", b"\0" * 64, package[:100], package[:-4]):
        with pytest.raises(DecodeError):
            encoders.load_encoder(data)


def test_a_package_of_another_trunk_is_refused(package: bytes) -> None:
    other = package.replace(published_weights.FILE_SHA256.encode(), b"0" * 64)
    with pytest.raises(DecodeError, match="trunk_sha256"):
        encoders.load_encoder(other)


def test_too_few_public_images_are_refused() -> None:
    with pytest.raises(DataError, match="at least"):
        fit_encoder(np.zeros((10, image_trunk.FEATURE_COUNT), np.float32), np.zeros(10, np.int64))


def test_local_features_begin_with_the_released_ones_and_hold_more(
    encoder: encoders.Encoder,
) -> None:
    images = _images(9, (40, 30))
    local = encoder.encode_local(images)
    assert local.shape == (9, encoder.local_dimension)
    assert encoder.scaled_dimension == 16 + 200 // 4
    np.testing.assert_array_equal(local[:, :16], encoder.encode(images))
    assert np.linalg.matrix_rank(local[:, 16:] - local[:, 16:].mean(axis=0)) == 8


def test_a_package_without_local_directions_is_refused(package: bytes) -> None:
    with pytest.raises(DecodeError):
        encoders.load_encoder(package.replace(b'"local"', b'"lokal"'))


def test_local_features_end_with_the_last_map_and_the_stages_of_both_scales(
    encoder: encoders.Encoder,
) -> None:
    images = _images(3, (70, 50, 3))
    local = encoder.encode_local(images)
    raw = encoders.compute_raw_features(images, trunk_settings=encoder.trunk_settings)
    stages = image_trunk.SCALE_FEATURE_COUNT - image_trunk.LAST_MAP_CHANNELS
    assert encoder.local_block_sizes == (image_trunk.LAST_MAP_CHANNELS, stages, stages)
    assert local.shape == (3, encoder.scaled_dimension + sum(encoder.local_block_sizes))
    last, fine, coarse = np.split(
        local[:, encoder.scaled_dimension :], np.cumsum(encoder.local_block_sizes)[:-1], axis=1
    )
    np.testing.assert_allclose(np.linalg.norm(last, axis=1), 1, rtol=1e-5)
    whole = raw[:, -image_trunk.LAST_MAP_CHANNELS :]
    expected = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(last, expected, atol=1e-4)
    np.testing.assert_allclose(coarse, raw[:, :stages], rtol=1e-3, atol=1e-4)
    assert not np.allclose(fine, coarse, atol=0.01)


def test_of_texts_local_features_keep_the_distances_between_vectors() -> None:
    """Few directions vary most, and count as much as others in the distance of two texts."""
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(512, 512)))[0]
    raw = (rng.normal(size=(1000, 512)) * np.linspace(3, 0.3, 512)) @ turn
    packed = fit_encoder(raw.astype(np.float32), np.arange(1000) % 5, modality="texts")
    contents = packages.unpack_encoder(packed)
    tensors, _ = contents.tensors, contents.metadata
    stretched = np.linalg.svd(tensors["local"], compute_uv=False)
    assert stretched[0] < 1.5 * stretched[-1]
