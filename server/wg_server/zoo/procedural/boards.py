"""Rendered circuit boards: conductor tracks, and six etching faults."""

import numpy as np

from wg_server.zoo.procedural.fields import (
    Field,
    draw_uniform,
    point_distance,
    segment_distance,
    soft_disc,
)

BOARD_CLASSES = ("good", "open", "short", "mousebite", "spur", "copper", "pinhole")


def draw_boards(
    rng: np.random.Generator, board_class: str, count: int, image_side: int, style: Field
) -> Field:
    """Draw images of circuit boards of one class, good or with one kind of fault.

    Args:
        board_class: One of ``BOARD_CLASSES``.
        count: Number of images n.
        image_side: Side in pixels.
        style: Eight numbers in 0..1; the first three set track width, spacing, and size of gaps.

    Returns:
        Copper masks ``[n, image_side, image_side]``, 1 on copper and 0 beside it.
    """
    half = float(0.06 + 0.1 * style[0])
    pitch = 2 * half + float(0.12 + 0.25 * style[1])
    angle = rng.choice([0.0, np.pi / 2, np.pi / 4], count).astype(np.float32)
    along = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    across = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    middle = draw_uniform(rng, -0.25, 0.25, (count, 2))
    edge = 0.05
    copper = np.zeros((count, image_side, image_side), np.float32)
    for lane in range(-3, 4):
        centre = middle + lane * pitch * across
        track = segment_distance(centre - 3 * along, centre + 3 * along, image_side)
        keep = (rng.random(count) < 0.8) | (lane in (0, 1))
        np.maximum(copper, soft_disc(track, half, edge=edge) * keep[:, None, None], out=copper)
    shift = draw_uniform(rng, -0.3, 0.3, count)[:, None]
    on_track = middle + shift * along
    side = np.where(rng.random(count) < 0.5, 1.0, -1.0)[:, None]
    spot = draw_uniform(rng, 0.7, 1.0, count)
    if board_class == "open":
        gap = segment_distance(
            on_track - across * half * 2, on_track + across * half * 2, image_side
        )
        return np.minimum(copper, 1 - soft_disc(gap, 0.04 + 0.12 * float(style[2]), edge=edge))
    if board_class == "short":
        bridge = segment_distance(on_track, on_track + pitch * across, image_side)
        return np.maximum(copper, soft_disc(bridge, half * 0.6 * spot, edge=edge))
    if board_class == "mousebite":
        bite = point_distance(_to_float32(on_track + side * across * half), image_side)
        return np.minimum(copper, 1 - soft_disc(bite, half * 0.9 * spot, edge=edge))
    if board_class == "spur":
        bump = segment_distance(
            _to_float32(on_track),
            _to_float32(on_track + side * across * (half + 0.35 * pitch)),
            image_side,
        )
        return np.maximum(copper, soft_disc(bump, half * 0.45 * spot, edge=edge))
    if board_class == "copper":
        spare = point_distance(_to_float32(on_track + side * across * pitch / 2), image_side)
        return np.maximum(copper, soft_disc(spare, (pitch / 2 - half) * 0.8 * spot, edge=edge))
    if board_class == "pinhole":
        hole = point_distance(_to_float32(on_track), image_side)
        return np.minimum(copper, 1 - soft_disc(hole, half * 0.5 * spot, edge=edge))
    return copper


def _to_float32(coordinates: Field) -> Field:
    return np.asarray(coordinates, dtype=np.float32)
