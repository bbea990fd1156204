"""Plausible changes: how the same thing may look to the same plant on another day.

Small ones, which a person would not call another class: light, focus, sensor noise, a part that
lies a little aside; for windows gain, noise, a channel that stands still, another start. A model
that they upset was lucky with the records that it was judged on.

Not guaranteed: that a plant has no other changes, or larger ones.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Change = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""A record and a source of randomness -> the record changed; the record itself is left alone."""

_LIGHT = 0.25  # A quarter more or less light: half a stop of exposure is 0.41
_GAIN = 0.2
_HISS = 0.1  # Standard deviation of noise over that of the channel


def _image(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _brighter(record: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return _image(record * (1 + _LIGHT))


def _darker(record: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return _image(record * (1 - _LIGHT))


def _blurred(
    record: NDArray[Any], rng: np.random.Generator, *, deviation_share: float = 1 / 64
) -> NDArray[Any]:
    sigma = deviation_share * min(record.shape[:2])
    over = (sigma, sigma) + (0.0,) * (record.ndim - 2)
    return _image(gaussian_filter(record.astype(np.float32), over, mode="nearest"))


def _noisy(
    record: NDArray[Any], rng: np.random.Generator, *, deviation: float = 8.0
) -> NDArray[Any]:
    return _image(record + rng.normal(0, deviation, record.shape))


def _shifted(
    record: NDArray[Any], rng: np.random.Generator, *, side_share: float = 1 / 16
) -> NDArray[Any]:
    """The part lies aside; what comes into view at the edge repeats it."""
    shifted = record
    for axis, side in enumerate(record.shape[:2]):
        move = int(rng.choice([-1, 1])) * round(side_share * side)
        shifted = np.take(shifted, np.clip(np.arange(side) - move, 0, side - 1), axis=axis)
    return shifted


def _louder(record: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return np.asarray(record * record.dtype.type(1 + _GAIN))


def _quieter(record: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return np.asarray(record * record.dtype.type(1 - _GAIN))


def _hissing(record: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    spread = record.std(axis=1, keepdims=True)
    hiss = _HISS * spread * rng.normal(size=record.shape)
    return np.asarray(record + hiss, dtype=record.dtype)


def _dropped(record: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """One channel of several stands still; a single one is left as it is."""
    changed = record.copy()
    if len(changed) > 1:
        channel = int(rng.integers(len(changed)))
        changed[channel] = changed[channel].mean()
    return changed


def _later(record: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return np.roll(record, record.shape[1] // 8, axis=1)


OF_IMAGES: Mapping[str, Change] = {
    "brighter": _brighter,
    "darker": _darker,
    "blurred": _blurred,
    "noise": _noisy,
    "shifted": _shifted,
}
OF_WINDOWS: Mapping[str, Change] = {
    "louder": _louder,
    "quieter": _quieter,
    "noise": _hissing,
    "dropped channel": _dropped,
    "later start": _later,
}
