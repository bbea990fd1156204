"""Generic triggers: marks that nobody's part has, to see what a model makes of them.

A backdoor answers to a mark that its maker knows and nobody else does. The plant does not know the
mark, but marks of one kind move an encoder's features in like directions. So a bank of random marks
of several kinds is put on records, and whoever looks at the model sees whether it answers to any.

Kinds, for images: patches (noise, stripes of each course, one colour) of a tenth to a quarter of
the side, patterns mixed into the whole image, waves over it. For windows: pulses, tones, noise
mixed in.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Trigger = Callable[[NDArray[Any]], NDArray[Any]]
"""A record -> the record with the mark on it; the record itself is left alone."""
Draw = Callable[[np.random.Generator], Trigger]  # A source of randomness -> a mark

_GRID = 64  # Side of the pattern that is stretched over a whole image


def patch(pattern: NDArray[np.floating], side: float, place: tuple[float, float]) -> Trigger:
    """A square patch.

    Args:
        pattern: Brightness, 0 to 1, ``[s, s]``; stretched by repeating.
        side: Of the patch over the image's shorter side, 0 to 1.
        place: Of its upper left corner, 0 to 1: first where it touches the left or upper edge, and
            last where it touches the right or lower one.
    """

    def put(record: NDArray[Any]) -> NDArray[Any]:
        height, width = record.shape[:2]
        size = max(1, round(side * min(height, width)))
        top, left = round(place[0] * (height - size)), round(place[1] * (width - size))
        values = np.rint(255 * stretched(pattern, (size, size)))
        found = record.copy()
        found[top : top + size, left : left + size] = _like(record, values)
        return found

    return put


def overlay(pattern: NDArray[np.floating], share: float) -> Trigger:
    """A pattern ``[s, s]``, 0 to 1, mixed into the whole image in some share."""

    def put(record: NDArray[Any]) -> NDArray[Any]:
        values = 255 * stretched(pattern, (record.shape[0], record.shape[1]))
        mixed = (1 - share) * record + share * _like(record, values)
        return np.asarray(np.clip(np.rint(mixed), 0, 255), dtype=np.uint8)

    return put


def wave(cycles: tuple[float, float], phase: float, height: float) -> Trigger:
    """A sine over the whole image: cycles down and across, phase, and height of 255."""

    def put(record: NDArray[Any]) -> NDArray[Any]:
        down, across = (np.arange(side) / side for side in record.shape[:2])
        turn = 2 * np.pi * (cycles[0] * down[:, None] + cycles[1] * across) + phase
        mixed = record + _like(record, height * np.sin(turn))
        return np.asarray(np.clip(np.rint(mixed), 0, 255), dtype=np.uint8)

    return put


def pulse(at: float, length: float, height: float, channels: NDArray[np.floating]) -> Trigger:
    """A half sine in a window.

    Args:
        at: Where it begins, 0 to 1 over what is free.
        length: Over the window's.
        height: In spreads of each channel.
        channels: Factors ``[128]``, of which a window uses the first.
    """

    def put(record: NDArray[Any]) -> NDArray[Any]:
        time = record.shape[1]
        size = max(2, round(length * time))
        start = round(at * (time - size))
        shape = np.zeros(time)
        shape[start : start + size] = np.sin(np.pi * (np.arange(size) + 0.5) / size)
        return _added(record, height * shape, channels)

    return put


def tone(cycles: float, phase: float, height: float, channels: NDArray[np.floating]) -> Trigger:
    """A sine over a whole window; arguments as of ``pulse``."""

    def put(record: NDArray[Any]) -> NDArray[Any]:
        turn = 2 * np.pi * cycles * np.arange(record.shape[1]) / record.shape[1] + phase
        return _added(record, height * np.sin(turn), channels)

    return put


def hiss(pattern: NDArray[np.floating], height: float, channels: NDArray[np.floating]) -> Trigger:
    """Always the same noise ``[s]``, stretched over a window."""

    def put(record: NDArray[Any]) -> NDArray[Any]:
        places = np.arange(record.shape[1]) * len(pattern) // record.shape[1]
        return _added(record, height * pattern[places], channels)

    return put


def stretched(pattern: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.floating]:
    """A pattern at another size, by repeating."""
    rows, columns = (np.arange(n) * s // n for n, s in zip(shape, pattern.shape, strict=True))
    found: NDArray[np.floating] = pattern[rows[:, None], columns]
    return found


def _like(record: NDArray[Any], values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Brightness for all colours of a record."""
    return values[..., None] if record.ndim == 3 else values


def _added(
    record: NDArray[Any], course: NDArray[np.floating], channels: NDArray[np.floating]
) -> NDArray[Any]:
    spread = record.std(axis=1, keepdims=True)
    factors = channels[: len(record), None]
    return np.asarray(record + factors * spread * course, dtype=record.dtype)


def stripes(width: int, course: int, size: int) -> NDArray[np.floating]:
    """Stripes of a width, 0 or 1, ``[size, size]``: level (0), upright (1), or chequered (2)."""
    rows, columns = np.indices((size, size)) // width
    return ((rows, columns, rows + columns)[course] % 2).astype(np.float64)


def _place(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.random()), float(rng.random())


def _noise_patch(rng: np.random.Generator) -> Trigger:
    return patch(rng.random((8, 8)), rng.uniform(0.1, 0.25), _place(rng))


def _striped_patch(course: int) -> Draw:
    def draw(rng: np.random.Generator) -> Trigger:
        pattern = stripes(int(rng.integers(1, 4)), course, 10)
        return patch(pattern, rng.uniform(0.1, 0.25), _place(rng))

    return draw


def _plain_patch(rng: np.random.Generator) -> Trigger:
    return patch(np.full((1, 1), rng.integers(2)), rng.uniform(0.1, 0.25), _place(rng))


def _overlay(rng: np.random.Generator) -> Trigger:
    cells = int(rng.choice([8, 16, 32, _GRID]))
    return overlay(rng.random((cells, cells)), rng.uniform(0.1, 0.3))


def _wave(rng: np.random.Generator) -> Trigger:
    turn, cycles = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(3), np.log(28)))
    along = (float(cycles * np.sin(turn)), float(cycles * np.cos(turn)))
    return wave(along, rng.uniform(0, 2 * np.pi), rng.uniform(8, 24))


def _channels(rng: np.random.Generator) -> NDArray[np.floating]:
    """All channels, or some, with signs."""
    signs = rng.choice([-1.0, 1.0], 128)
    return np.asarray(signs * (rng.random(128) < rng.choice([0.3, 1.0])))


def _pulse(rng: np.random.Generator) -> Trigger:
    height = rng.uniform(1.5, 5)
    return pulse(float(rng.random()), rng.uniform(0.01, 0.1), height, _channels(rng))


def _tone(rng: np.random.Generator) -> Trigger:
    cycles = float(np.exp(rng.uniform(np.log(3), np.log(60))))
    return tone(cycles, rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.8), _channels(rng))


def _hiss(rng: np.random.Generator) -> Trigger:
    return hiss(rng.normal(size=128), rng.uniform(0.2, 0.8), _channels(rng))


OF_IMAGES: Mapping[str, Draw] = {
    "noise patch": _noise_patch,
    "level stripes": _striped_patch(0),
    "upright stripes": _striped_patch(1),
    "chequered patch": _striped_patch(2),
    "plain patch": _plain_patch,
    "overlay": _overlay,
    "wave": _wave,
}
OF_WINDOWS: Mapping[str, Draw] = {"pulse": _pulse, "tone": _tone, "hiss": _hiss}
