"""Array types and random variation that rotating machines and processes share."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def log_normal_jitter(rng: np.random.Generator, values: Floats, strength: float) -> Floats:
    """Multiply values by log-normal factors whose logarithms have deviation ``strength``."""
    return values * np.exp(strength * rng.normal(size=values.shape))
