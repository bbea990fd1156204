"""What every kind of machine offers, and small pieces that several kinds need."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Machine(Protocol):
    """One kind of machine, or one machine of it."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its classes."""

    @property
    def sources(self) -> int:
        """Signals that it gives off, before sensors mix them."""

    def elsewhere(self, rng: np.random.Generator, strength: float) -> Machine:
        """Another machine of the kind, ``strength`` (0 to 1) away: the same classes."""

    def windows(self, rng: np.random.Generator, labels: Ints, length: int, step: float) -> Floats:
        """Signals of one machine.

        Args:
            rng: Source of what differs from window to window.
            labels: Class of each window, ``[n]``.
            length: Samples of a window T.
            step: Time between samples, 1 is nominal.

        Returns:
            float64 ``[n, sources, T]``.
        """


def filtered(signals: Floats, response: NDArray[np.complex128] | Floats) -> Floats:
    """Signals ``[..., T]`` through a response that broadcasts to ``[..., T // 2 + 1]``."""
    return np.asarray(
        np.fft.irfft(np.fft.rfft(signals, axis=-1) * response, n=signals.shape[-1], axis=-1)
    )


def coloured(rng: np.random.Generator, shape: tuple[int, ...], exponent: float) -> Floats:
    """Noise of unit variance whose power falls as frequency to the ``-exponent``."""
    count = shape[-1] // 2 + 1
    fall = np.maximum(np.arange(count), 1.0) ** (-exponent / 2)
    fall[0] = fall[min(1, count - 1)]
    noise = filtered(rng.normal(size=shape), fall)
    return np.asarray(noise / (noise.std(axis=-1, keepdims=True) + 1e-12))


def jitter(rng: np.random.Generator, values: Floats, strength: float) -> Floats:
    """Values times log-normal factors of standard deviation ``strength``."""
    return values * np.exp(strength * rng.normal(size=values.shape))
