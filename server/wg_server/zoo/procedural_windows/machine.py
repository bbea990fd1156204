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

    def shifted(self, rng: np.random.Generator, strength: float) -> Machine:
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


def jitter(rng: np.random.Generator, values: Floats, strength: float) -> Floats:
    """Values times log-normal factors of standard deviation ``strength``."""
    return values * np.exp(strength * rng.normal(size=values.shape))
