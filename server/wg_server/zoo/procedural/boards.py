"""Rendered circuit boards: conductor tracks, and six etching faults."""

import numpy as np

from wg_server.zoo.procedural.fields import (
    Field,
    disc_distance,
    segment_distance,
    soft_disc,
    uniform_field,
)

BOARD_CLASSES = ("good", "open", "short", "mousebite", "spur", "copper", "pinhole")


def draw_boards(rng: np.random.Generator, name: str, count: int, size: int, style: Field) -> Field:
    """Draw images of circuit boards of one class, good or with one kind of fault.

    Args:
        name: One of ``BOARD_CLASSES``.
        count: Number of images n.
        size: Side in pixels.
        style: Eight numbers in 0..1; the first three set track width, spacing, and size of gaps.

    Returns:
        Copper masks ``[n, size, size]``, 1 on copper and 0 beside it.
    """
    half = float(0.06 + 0.1 * style[0])
    pitch = 2 * half + float(0.12 + 0.25 * style[1])
    angle = rng.choice([0.0, np.pi / 2, np.pi / 4], count).astype(np.float32)
    along = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    across = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    middle = uniform_field(rng, -0.25, 0.25, (count, 2))
    edge = 0.05
    copper = np.zeros((count, size, size), np.float32)
    for lane in range(-3, 4):
        centre = middle + lane * pitch * across
        track = segment_distance(centre - 3 * along, centre + 3 * along, size)
        keep = (rng.random(count) < 0.8) | (lane in (0, 1))
        np.maximum(copper, soft_disc(track, half, edge) * keep[:, None, None], out=copper)
    shift = uniform_field(rng, -0.3, 0.3, count)[:, None]
    on_track = middle + shift * along
    side = np.where(rng.random(count) < 0.5, 1.0, -1.0)[:, None]
    spot = uniform_field(rng, 0.7, 1.0, count)
    if name == "open":
        gap = segment_distance(on_track - across * half * 2, on_track + across * half * 2, size)
        return np.minimum(copper, 1 - soft_disc(gap, 0.04 + 0.12 * float(style[2]), edge))
    if name == "short":
        bridge = segment_distance(on_track, on_track + pitch * across, size)
        return np.maximum(copper, soft_disc(bridge, half * 0.6 * spot, edge))
    if name == "mousebite":
        bite = disc_distance(_as_field(on_track + side * across * half), size)
        return np.minimum(copper, 1 - soft_disc(bite, half * 0.9 * spot, edge))
    if name == "spur":
        bump = segment_distance(
            _as_field(on_track), _as_field(on_track + side * across * (half + 0.35 * pitch)), size
        )
        return np.maximum(copper, soft_disc(bump, half * 0.45 * spot, edge))
    if name == "copper":
        spare = disc_distance(_as_field(on_track + side * across * pitch / 2), size)
        return np.maximum(copper, soft_disc(spare, (pitch / 2 - half) * 0.8 * spot, edge))
    if name == "pinhole":
        hole = disc_distance(_as_field(on_track), size)
        return np.minimum(copper, 1 - soft_disc(hole, half * 0.5 * spot, edge))
    return copper


def _as_field(points: Field) -> Field:
    return np.asarray(points, dtype=np.float32)
