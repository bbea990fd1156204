"""Simulation of a measuring chain: mixing, bandwidth, gain, offset, noise, faults."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sensors:
    """Simulated measuring chain of one site with S sources and C channels.

    Attributes:
        mixing: Weights of the sources in each channel, ``[C, S]``.
        gain: Gain of each channel, ``[C]``.
        offset: Offset of each channel, in standard deviations of the channel, ``[C]``.
        corner: Upper corner frequency of each channel, cycles per sample, ``[C]``.
        noise: Noise level of each channel, in standard deviations, ``[C]``.
        colour: Exponent of each channel's noise spectrum, ``[C]``.
        hum: Level of a mains tone, in standard deviations, and its frequency, cycles per sample.
        steps: Quantisation levels over the converter's range; 0 for no quantisation.
        dead: Mask of channels with constant output, ``[C]``.
        drift: Standard deviation of the log gain between windows, nepers.
    """

    mixing: Floats
    gain: Floats
    offset: Floats
    corner: Floats
    noise: Floats
    colour: Floats
    hum: tuple[float, float]
    steps: int
    dead: np.ndarray
    drift: float


def draw_sensors(
    rng: np.random.Generator, mixing: Floats, unit: float, strength: float, *, direct: bool
) -> Sensors:
    """Draw a site's random measuring chain.

    Args:
        rng: Generator that draws the chain.
        mixing: Typical weights of the sources per channel, ``[C, S]``; varied unless ``direct``.
        unit: Median gain.
        strength: Deviation from a clean chain, 0 to 1.
        direct: True if each channel measures one variable, in a unit of its own.
    """
    c = len(mixing)
    moved_mixing = (
        mixing if direct else mixing * np.exp(0.3 * strength * rng.normal(size=mixing.shape))
    )
    spread = 0.1 if direct else 0.4
    dead = (rng.random(c) < 0.06 * strength) & (c > 2)
    return Sensors(
        mixing=moved_mixing,
        gain=unit * np.exp(spread * strength * rng.normal(size=c)),
        offset=0.3 * strength * rng.normal(size=c),
        corner=np.where(rng.random(c) < 0.5 * strength, rng.uniform(0.12, 0.5, c), 2.0),
        noise=strength * rng.exponential(0.1, c),
        colour=rng.uniform(0, 1.5, c),
        hum=(float(rng.exponential(0.1) * (rng.random() < 0.2)), float(rng.uniform(0.005, 0.1))),
        steps=int(rng.choice([0, 0, 0, 64, 1024])),
        dead=dead,
        drift=0.08 * strength,
    )


def measure_signals(rng: np.random.Generator, signals: Floats, sensors: Sensors) -> np.ndarray:
    """Measure signals ``[n, S, T]`` as records, float32 ``[n, C, T]``."""
    n, _, length = signals.shape
    records = np.einsum("cs,nst->nct", sensors.mixing, signals)
    c = records.shape[1]
    line = np.fft.rfftfreq(length)
    slow = sensors.corner < 1
    if slow.any():
        mean = records[:, slow].mean(axis=-1, keepdims=True)
        fall = 1 / (1 + (line / sensors.corner[slow][:, None]) ** 4)
        records[:, slow] = mean + apply_response(records[:, slow] - mean, fall)
    size = records.std(axis=(0, 2))[:, None] + 1e-9  # [C, 1]
    for channel in np.flatnonzero(sensors.noise > 0.01):
        hiss = coloured_noise(rng, (n, length), float(sensors.colour[channel]))
        records[:, channel] += sensors.noise[channel] * size[channel] * hiss
    if sensors.hum[0] > 0:
        turn = 2 * np.pi * (sensors.hum[1] * np.arange(length) + rng.random((n, 1, 1)))
        records += sensors.hum[0] * size * np.sin(turn)
    records += sensors.offset[:, None] * size
    if sensors.steps:
        grid = 8 * size / sensors.steps
        records = np.round(records / grid) * grid
    records *= sensors.gain[:, None] * np.exp(sensors.drift * rng.normal(size=(n, 1, 1)))
    if n and sensors.dead.any():
        records[:, sensors.dead] = records[:, sensors.dead, :1].mean()
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
