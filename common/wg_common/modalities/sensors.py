"""Simulation of a measuring chain: mixing, bandwidth, gain, offset, noise, faults."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SensorChain:
    """Simulated measuring chain of one site with S sources and C channels.

    Attributes:
        mixing: Weights of the sources in each channel, ``[C, S]``.
        gain: Gain of each channel, ``[C]``.
        offset: Offset of each channel, in standard deviations of the channel, ``[C]``.
        corner_frequency: Upper corner frequency of each channel, cycles per sample, ``[C]``.
        noise_level: Noise level of each channel, in standard deviations, ``[C]``.
        noise_exponent: Exponent of each channel's noise spectrum, ``[C]``.
        hum: Level of a mains tone, in standard deviations, and its frequency, cycles per sample.
        quantisation_levels: Quantisation levels over the converter's range; 0 for no quantisation.
        dead_channels: Mask of channels with constant output, ``[C]``.
        drift: Standard deviation of the log gain between windows, nepers.
    """

    mixing: Floats
    gain: Floats
    offset: Floats
    corner_frequency: Floats
    noise_level: Floats
    noise_exponent: Floats
    hum: tuple[float, float]
    quantisation_levels: int
    dead_channels: np.ndarray
    drift: float


def draw_sensor_chain(
    rng: np.random.Generator,
    mixing: Floats,
    median_gain: float,
    strength: float,
    *,
    is_direct: bool,
) -> SensorChain:
    """Draw a site's random measuring chain.

    Args:
        rng: Generator that draws the chain.
        mixing: Typical weights of the sources per channel, ``[C, S]``; varied unless ``is_direct``.
        median_gain: Median gain.
        strength: Deviation from a clean chain, 0 to 1.
        is_direct: True if each channel measures one variable, in a unit of its own.
    """
    c = len(mixing)
    moved_mixing = (
        mixing if is_direct else mixing * np.exp(0.3 * strength * rng.normal(size=mixing.shape))
    )
    spread = 0.1 if is_direct else 0.4
    dead = (rng.random(c) < 0.06 * strength) & (c > 2)
    return SensorChain(
        mixing=moved_mixing,
        gain=median_gain * np.exp(spread * strength * rng.normal(size=c)),
        offset=0.3 * strength * rng.normal(size=c),
        corner_frequency=np.where(rng.random(c) < 0.5 * strength, rng.uniform(0.12, 0.5, c), 2.0),
        noise_level=strength * rng.exponential(0.1, c),
        noise_exponent=rng.uniform(0, 1.5, c),
        hum=(float(rng.exponential(0.1) * (rng.random() < 0.2)), float(rng.uniform(0.005, 0.1))),
        quantisation_levels=int(rng.choice([0, 0, 0, 64, 1024])),
        dead_channels=dead,
        drift=0.08 * strength,
    )


def measure_signals(rng: np.random.Generator, signals: Floats, chain: SensorChain) -> np.ndarray:
    """Measure signals ``[n, S, T]`` as records, float32 ``[n, C, T]``."""
    n, _, length = signals.shape
    records = np.einsum("cs,nst->nct", chain.mixing, signals)
    c = records.shape[1]
    line = np.fft.rfftfreq(length)
    slow = chain.corner_frequency < 1
    if slow.any():
        mean = records[:, slow].mean(axis=-1, keepdims=True)
        fall = 1 / (1 + (line / chain.corner_frequency[slow][:, None]) ** 4)
        records[:, slow] = mean + apply_response(records[:, slow] - mean, fall)
    size = records.std(axis=(0, 2))[:, None] + 1e-9  # [C, 1]
    for channel in np.flatnonzero(chain.noise_level > 0.01):
        hiss = coloured_noise(rng, (n, length), float(chain.noise_exponent[channel]))
        records[:, channel] += chain.noise_level[channel] * size[channel] * hiss
    if chain.hum[0] > 0:
        turn = 2 * np.pi * (chain.hum[1] * np.arange(length) + rng.random((n, 1, 1)))
        records += chain.hum[0] * size * np.sin(turn)
    records += chain.offset[:, None] * size
    if chain.quantisation_levels:
        grid = 8 * size / chain.quantisation_levels
        records = np.round(records / grid) * grid
    records *= chain.gain[:, None] * np.exp(chain.drift * rng.normal(size=(n, 1, 1)))
    if n and chain.dead_channels.any():
        records[:, chain.dead_channels] = records[:, chain.dead_channels, :1].mean()
    return np.asarray(records, dtype=np.float32).reshape(n, c, length)


def apply_response(signals: Floats, response: NDArray[np.complex128] | Floats) -> Floats:
    """Filter signals ``[..., T]`` by a frequency response ``[..., T // 2 + 1]``."""
    return np.asarray(
        np.fft.irfft(np.fft.rfft(signals, axis=-1) * response, n=signals.shape[-1], axis=-1)
    )


def coloured_noise(rng: np.random.Generator, shape: tuple[int, ...], exponent: float) -> Floats:
    """Draw noise of unit variance whose power is proportional to frequency to the ``-exponent``."""
    count = shape[-1] // 2 + 1
    fall = np.maximum(np.arange(count), 1.0) ** (-exponent / 2)
    fall[0] = fall[min(1, count - 1)]
    noise = apply_response(rng.normal(size=shape), fall)
    return np.asarray(noise / (noise.std(axis=-1, keepdims=True) + 1e-12))
