"""Helpers of both kinds of procedural machines."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def log_normal_jitter(rng: np.random.Generator, values: Floats, strength: float) -> Floats:
    """Multiply values by log-normal factors of standard deviation ``strength``."""
    return values * np.exp(strength * rng.normal(size=values.shape))
