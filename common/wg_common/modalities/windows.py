"""What is accepted as a sensor window. Apart from the trunk, so that checks need no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wg_common.errors import DataError

MAX_CHANNELS = 128
MIN_TIME = 8
MAX_TIME = 100_000
MAX_VALUE = 1e15
"""Largest magnitude: squares and their sums must stay finite in float32."""


def check_shape(channels: int, time: int) -> None:
    """Refuse shapes out of the limits.

    Raises:
        DataError: Too few or too many channels or samples.
    """
    if not (1 <= channels <= MAX_CHANNELS and MIN_TIME <= time <= MAX_TIME):
        raise DataError(
            f"{channels} channels of {time} samples, expected 1 to {MAX_CHANNELS} channels of"
            f" {MIN_TIME} to {MAX_TIME} samples"
        )


def check_window(window: NDArray[np.floating]) -> None:
    """Refuse what is no sensor window.

    Raises:
        DataError: Not float ``[channels, time]`` within the limits, or not finite in float32.
    """
    if not isinstance(window, np.ndarray) or window.ndim != 2 or window.dtype.kind != "f":
        found = f"{window.dtype} {list(window.shape)}" if isinstance(window, np.ndarray) else "?"
        raise DataError(f"{found}, expected float [channels, time]")
    check_shape(*window.shape)
    if not float(np.abs(window).max()) <= MAX_VALUE:  # a NaN fails too
        raise DataError(f"values that are not finite, or beyond {MAX_VALUE:g}")
