import itertools

import numpy as np
import pytest
import torch

from wg_common.nets.encoder import projected_trunk as encoders
from wg_common.nets.encoder import window_kernels, window_trunk
from wg_common.nets.encoder.projection_fit import fit_encoder

THRESHOLDS = (-1.5, -1.0, -0.6, -0.25, 0.0, 0.25, 0.6, 1.0, 1.5)


def _columns(window: np.ndarray) -> np.ndarray:
    """Columns of a window, ``[dilation, kernel, shares and size]``."""
    with torch.inference_mode():
        columns = window_kernels.WindowKernels()(window_trunk.window_views(window))
    found: np.ndarray = columns[0].numpy().reshape(len(window_kernels.DILATIONS), 84, -1)
    return found


def _window(channels: int, time: int) -> np.ndarray:
    rng = np.random.default_rng((channels, time))
    return rng.normal(size=(channels, time)).cumsum(axis=1).astype(np.float32)


def _slow(window: np.ndarray, row: int, dilation: int, number: int) -> np.ndarray:
    """One kernel at one dilation, place by place."""
    places = list(itertools.combinations(range(9), 3))[row]
    kernel = np.array([2.0 if j in places else -1.0 for j in range(9)]) / np.sqrt(18)
    mixed = window_kernels.channel_masks(len(window))[number, row] @ window
    time = len(mixed)
    found = []
    for place in range(0, time, time // 128):
        at = [place + (j - 4) * dilation for j in range(9)]
        seen = [mixed[t] if 0 <= t < time else 0.0 for t in at]
        found.append(float(kernel @ np.array(seen)))
    size = np.sqrt(np.mean(np.square(found)))
    shares = [np.mean(np.array(found) / size > threshold) for threshold in THRESHOLDS]
    return np.array([*shares, np.log10(size)])


@pytest.mark.parametrize(("channels", "time"), [(1, 128), (6, 128), (3, 1024)])
def test_columns_are_those_of_a_slow_reference(channels: int, time: int) -> None:
    window = _window(channels, time)
    found = _columns(window)
    for row, number in ((0, 0), (17, 2), (83, 3)):
        expected = _slow(window, row, window_kernels.DILATIONS[number], number)
        np.testing.assert_allclose(found[number, row, -1], expected[-1], atol=2e-4)
        # A response at a threshold may be on either side of it.
        np.testing.assert_allclose(found[number, row], expected, atol=9e-3)


def test_columns_of_a_long_window_are_means_over_its_pieces() -> None:
    window = _window(2, 2048)
    pieces = [_columns(window[:, start : start + 1024]) for start in (0, 1024)]
    np.testing.assert_allclose(_columns(window), np.mean(pieces, axis=0), atol=1e-4)


def test_a_short_window_has_nothing_where_a_kernel_would_not_fit() -> None:
    found = _columns(_window(2, 100))
    assert (found[4:] == 0).all()
    assert (found[:4] != 0).mean() > 0.9


def test_a_unit_moves_sizes_alone() -> None:
    window = _window(3, 300)
    one, two = _columns(window), _columns(window * 1000)
    np.testing.assert_allclose(two[..., -1], one[..., -1] + 3, atol=1e-4)
    np.testing.assert_allclose(two[..., :-1], one[..., :-1], atol=0.04)


@pytest.mark.parametrize("value", [0.0, 1e15, -1e-20])
def test_a_sensor_that_stands_still_has_finite_columns(value: float) -> None:
    assert np.isfinite(_columns(np.full((2, 40), value))).all()


@pytest.mark.parametrize("channels", [1, 2, 9, 52, 128])
def test_kernels_see_one_to_nine_channels_and_every_channel_is_seen(channels: int) -> None:
    found = window_kernels.channel_masks(channels)
    assert found.shape == (len(window_kernels.DILATIONS), 84, channels)
    assert set(np.unique(found)) <= {0.0, 1.0}
    counts = found.sum(axis=-1)
    assert counts.min() == 1
    assert counts.max() == min(channels, 9)
    assert found.any(axis=(0, 1)).all()


def test_which_channels_go_together_is_pinned() -> None:
    assert window_kernels.kernel_digest() == (
        "08b72d0fdf240a2d504072a0b3d136d65b044f189df2746634553c210f6b825a"
    )


def test_local_features_end_with_the_columns_and_the_raw_features() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(160, window_trunk.FEATURE_COUNT)).astype(np.float32)
    package = fit_encoder(
        raw, np.arange(160) % 5, np.arange(160) % 3, dimension=16, modality="windows"
    )
    encoder = encoders.load_encoder(package)
    window = _window(2, 60)
    local = encoder.encode_local([window])
    assert local.shape == (1, encoder.local_dimension)
    assert encoder.local_dimension == encoder.scaled_dimension + sum(encoder.local_block_sizes)
    np.testing.assert_array_equal(local[:, :16], encoder.encode([window]))
    shares, raw = np.split(local[0, encoder.scaled_dimension :], encoder.local_block_sizes[:1])
    np.testing.assert_array_equal(shares, _columns(window).ravel())
    np.testing.assert_array_equal(
        raw, encoders.compute_raw_features([window], modality="windows")[0]
    )
