"""The network on envelope spectra: what it sees, and what must not change what it sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.common.nets.random_tensors import draw_trunk

from wg_common.machines.base import HALF_BIN_COUNT, WINDOW_SAMPLES
from wg_common.nets import network, spectrum_lines
from wg_common.nets.spectrum_lines import INPUT_COUNT

few = settings(max_examples=15, deadline=None)


@given(
    seed=st.integers(0, 1 << 30),
    channels=st.integers(1, 5),
    time=st.sampled_from([8, 500, WINDOW_SAMPLES, 1500, 20_000]),
    decades=st.floats(-9, 14),
)
@few
def test_any_channels_length_and_unit_give_bounded_numbers(
    seed: int, channels: int, time: int, decades: float
) -> None:
    window = np.random.default_rng(seed).normal(size=(channels, time)) * 10.0**decades
    batch = spectrum_lines.prepare_windows([window.astype(np.float32)])
    assert batch.shape == (1, INPUT_COUNT) and batch.dtype == np.float32
    assert np.abs(batch).max() < 20


@pytest.mark.parametrize("value", [0.0, 1e15])
def test_a_window_of_one_value_is_finite(value: float) -> None:
    assert np.isfinite(
        spectrum_lines.prepare_windows([np.full((1, WINDOW_SAMPLES), value, np.float32)])
    ).all()


@given(seed=st.integers(0, 1 << 30), gain=st.floats(-3, 3), offset=st.floats(-100, 100))
@few
def test_gain_and_offset_change_nothing(seed: int, gain: float, offset: float) -> None:
    window = np.random.default_rng(seed).normal(size=(1, WINDOW_SAMPLES))
    one, two = (
        spectrum_lines.prepare_windows([window]),
        spectrum_lines.prepare_windows([10.0**gain * window + offset]),
    )
    np.testing.assert_allclose(one, two, atol=5e-3)


@pytest.mark.parametrize("cycles", [7, 20, 61])
def test_blows_are_a_line_at_their_rate(cycles: int) -> None:
    time = np.arange(WINDOW_SAMPLES)
    carrier = np.sin(2 * np.pi * 0.2 * time) * (
        1 + np.cos(2 * np.pi * cycles * time / WINDOW_SAMPLES)
    )
    noise = 0.01 * np.random.default_rng(0).normal(size=WINDOW_SAMPLES)
    spectrum = spectrum_lines.prepare_windows([(carrier + noise)[None]])[0]
    for band in (0, 2):  # Those that hold the carrier
        assert (
            abs(
                spectrum[band * HALF_BIN_COUNT + 4 : (band + 1) * HALF_BIN_COUNT].argmax()
                + 4
                - 2 * cycles
            )
            <= 1
        )


def test_the_network_runs_as_every_whole_network_does() -> None:
    rng = np.random.default_rng(1)
    batch = network.prepare_batch("spectrum-lines", [rng.normal(size=(1, WINDOW_SAMPLES))] * 3)
    trunk = network.load_trunk("spectrum-lines", draw_trunk("spectrum-lines", rng))
    assert network.compute_trunk_features(trunk, batch).shape == (3, 64)
