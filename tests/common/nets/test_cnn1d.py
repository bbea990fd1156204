"""Networks of sensor windows: what they see, and what must not change what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wg_common.nets import cnn1d, network
from wg_common.nets.encoder import window_trunk
from wg_core.errors import DataError

VIEWS = slice(0, 2 * cnn1d.LENGTH)
NAME = "cnn1d-s"
TRUNK = network.load_trunk(NAME, network.draw_trunk(NAME, np.random.default_rng(2)))
few = settings(max_examples=20, deadline=None)


def _window(seed: int, channels: int, time: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(channels, time)).cumsum(axis=1).astype(np.float32)


@given(
    seed=st.integers(0, 1 << 30),
    channels=st.integers(1, 128),
    time=st.sampled_from([8, 20, 511, 512, 513, 3000]),
    decades=st.floats(-9, 14),
)
@few
def test_any_channels_length_and_unit_give_bounded_numbers(
    seed: int, channels: int, time: int, decades: float
) -> None:
    window = _window(seed, channels, time)
    window = (window / np.abs(window).max() * 10.0**decades).astype(np.float32)
    batch = cnn1d.prepared([window])
    assert batch.shape == (1, channels, cnn1d.ROW)
    assert np.abs(batch.astype(np.float64)).max() <= 7  # asinh of the root of the length
    assert np.isfinite(network.features(TRUNK, batch)).all()


@given(seed=st.integers(0, 1 << 30), gain=st.floats(-1, 3), offset=st.floats(-100, 100))
@few
def test_gain_and_offset_leave_the_views_alone(seed: int, gain: float, offset: float) -> None:
    window = _window(seed, 2, 700).astype(np.float64)
    one, two = cnn1d.prepared([window]), cnn1d.prepared([10.0**gain * window + offset])
    np.testing.assert_allclose(one[..., VIEWS], two[..., VIEWS], atol=6e-3)


@given(seed=st.integers(0, 1 << 30), more=st.integers(1, 9))
@few
def test_channels_that_are_not_there_change_nothing(seed: int, more: int) -> None:
    window = _window(seed, 3, 60)
    batch = cnn1d.prepared([window])
    wider = cnn1d.prepared([window, _window(seed, 3 + more, 60)])
    assert not wider[0, 3:].any()
    np.testing.assert_allclose(
        network.features(TRUNK, batch)[0], network.features(TRUNK, wider)[0], atol=1e-5
    )


@given(seed=st.integers(0, 1 << 30))
@few
def test_without_its_signs_a_network_does_not_see_the_order_of_channels(seed: int) -> None:
    tensors = network.draw_trunk(NAME, np.random.default_rng(seed))
    order = np.random.default_rng(seed).permutation(5)
    batch = cnn1d.prepared([_window(seed, 5, 80)])
    turned = batch[:, order]
    trunk = network.load_trunk(NAME, tensors)
    signs = window_trunk.channel_signs()[:5, : cnn1d.SIGNS]
    if not torch.equal(signs[order], signs):  # a pair of channels may have the same
        assert not np.allclose(network.features(trunk, batch), network.features(trunk, turned))
    tensors["trunk.code.weight"][:] = 0
    trunk = network.load_trunk(NAME, tensors)
    np.testing.assert_allclose(
        network.features(trunk, batch), network.features(trunk, turned), atol=1e-5
    )


def test_a_long_window_is_seen_whole_and_its_middle_at_its_own_rate() -> None:
    time = np.arange(4 * cnn1d.LENGTH)
    fast, slow = np.sin(2 * np.pi * time / 4), np.sin(2 * np.pi * time / len(time))
    views = cnn1d.prepared([(fast + slow)[None]])[0, 0, VIEWS].astype(np.float64)
    views = np.sinh(views).reshape(2, cnn1d.LENGTH)
    expected = slow.reshape(-1, 4).mean(axis=1)
    np.testing.assert_allclose(views[0], expected, atol=5e-3)
    middle = slice(3 * cnn1d.LENGTH // 2, 5 * cnn1d.LENGTH // 2)
    np.testing.assert_allclose(views[1], (fast + slow)[middle], atol=5e-3)


def test_a_dead_channel_is_zero_and_there() -> None:
    batch = cnn1d.prepared([np.full((1, 50), 3.0)])
    assert not batch[..., VIEWS].any()
    assert batch[0, 0, -1] == 1
    assert np.isfinite(network.features(TRUNK, batch)).all()


def test_a_wrong_window_is_named() -> None:
    good, bad = _window(1, 2, 30), _window(1, 2, 30)
    bad[1, 4] = np.nan
    with pytest.raises(DataError, match="window 1"):
        network.prepared("cnn1d-s", [good, bad])
