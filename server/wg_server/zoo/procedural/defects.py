"""Painters of surface defects, each of which draws one kind of defect on a batch of images.

A painter takes images ``[n, s, s]`` and a *style*, and returns new images. A style is eight numbers
in 0..1, such as length and width of scratches, so that two classes of one family may be long and
short scratches.
"""

from collections.abc import Callable, Mapping

import numpy as np

from wg_server.zoo.procedural.fields import (
    Field,
    draw_uniform,
    path_distance,
    periodic_noise,
    point_distance,
    segment_distance,
    soft_disc,
    soft_step,
)

Style = tuple[float, ...]
Painter = Callable[[np.random.Generator, Field, Style], Field]


def _signed_contrast(style: Style) -> float:
    """Return the brightness of a defect minus that of its surroundings, from its style."""
    return (0.15 + 0.45 * style[7]) * (1.0 if style[6] > 0.5 else -1.0)


def _blend_by_mask(images: Field, mask: Field, style: Style) -> Field:
    return np.asarray(images + _signed_contrast(style) * mask, dtype=np.float32)


def _draw_directions(rng: np.random.Generator, style: Style, count: int) -> Field:
    """Draw directions in radians, ``[n]``, uniform or near one direction, as the style says."""
    if style[0] < 0.6:
        return np.asarray(
            np.pi * np.round(style[1] * 4) / 4 + rng.normal(0, 0.15, count), dtype=np.float32
        )
    return draw_uniform(rng, 0, np.pi, count)


def _segment_ends(centre: Field, angle: Field, half_length: Field) -> tuple[Field, Field]:
    way = np.stack([np.sin(angle), np.cos(angle)], axis=1) * half_length[:, None]
    return (centre - way).astype(np.float32), (centre + way).astype(np.float32)


def paint_scratch(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw one or two straight thin lines on each image."""
    n, size = len(images), images.shape[1]
    mask = np.zeros_like(images)
    for number in range(1 + int(style[2] > 0.5)):
        angle = _draw_directions(rng, style, n)
        half = draw_uniform(rng, 0.15 + 0.4 * style[3], 0.4 + 0.7 * style[3], n)
        start, end = _segment_ends(draw_uniform(rng, -0.55, 0.55, (n, 2)), angle, half)
        line = soft_disc(segment_distance(start, end, size), 0.012 + 0.035 * style[4])
        mask = np.maximum(mask, line * (1.0 if number == 0 else 0.7))
    return _blend_by_mask(images, mask, style)


def paint_pits(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw two or more small round holes on each image."""
    n, size = len(images), images.shape[1]
    mask = np.zeros_like(images)
    for _ in range(2 + int(style[2] * 6)):
        radius = draw_uniform(rng, 0.02, 0.05 + 0.09 * style[3], n)
        spot = point_distance(draw_uniform(rng, -0.9, 0.9, (n, 2)), size)
        np.maximum(mask, soft_disc(spot, radius), out=mask)
    return _blend_by_mask(images, mask, style)


def paint_patch(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw one large blotch with a ragged edge on each image."""
    n, size = len(images), images.shape[1]
    edge_noise = _noise_crops(rng, n, size, 3 + 6 * style[2])
    aspect = draw_uniform(rng, 0.6, 1.6, n)
    spot = point_distance(draw_uniform(rng, -0.4, 0.4, (n, 2)), size, aspect)
    radius = draw_uniform(rng, 0.3, 0.45 + 0.4 * style[3], n)
    return _blend_by_mask(images, soft_disc(spot + 0.12 * edge_noise, radius, 0.1), style)


def paint_patches(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw many irregular blotches, like scale or corrosion."""
    n, size = len(images), images.shape[1]
    field = _noise_crops(rng, n, size, 2 + 7 * style[2])
    edge = draw_uniform(rng, 0.3 + style[3], 0.8 + style[3], n)[:, None, None]
    return _blend_by_mask(images, soft_step(field - edge, 0, 0.5), style)


def paint_crack(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw a wandering line across the image."""
    n, size = len(images), images.shape[1]
    turns = 7
    angle = _draw_directions(rng, style, n)
    heading = angle[:, None] + np.cumsum(rng.normal(0, 0.15 + 0.5 * style[2], (n, turns)), axis=1)
    stride = 0.2 + 0.12 * style[3]
    way = np.stack([np.sin(heading), np.cos(heading)], axis=2) * stride
    points = np.concatenate([np.zeros((n, 1, 2)), np.cumsum(way, axis=1)], axis=1)
    points = points - points.mean(axis=1, keepdims=True) + rng.normal(0, 0.25, (n, 1, 2))
    width = 0.012 + 0.03 * style[4]
    return _blend_by_mask(
        images, soft_disc(path_distance(points.astype(np.float32), size), width), style
    )


def paint_craze(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw a network of hairline cracks all over the image."""
    n, size = len(images), images.shape[1]
    field = np.abs(_noise_crops(rng, n, size, 2.5 + 4 * style[2]))
    return _blend_by_mask(images, 0.7 * soft_disc(field, 0.05 + 0.12 * style[3], 0.15), style)


def paint_inclusion(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw short, nearly parallel streaks, like inclusions along the rolling direction."""
    n, size = len(images), images.shape[1]
    mask = np.zeros_like(images)
    angle = np.full(n, np.pi * np.round(style[1] * 2) / 2, dtype=np.float32)
    for _ in range(1 + int(style[2] * 4)):
        centre = draw_uniform(rng, -0.8, 0.8, (n, 2))
        half = draw_uniform(rng, 0.05, 0.15 + 0.35 * style[3], n)
        start, end = _segment_ends(centre, angle + draw_uniform(rng, -0.1, 0.1, n), half)
        width = draw_uniform(rng, 0.02, 0.04 + 0.06 * style[4], n)
        np.maximum(mask, soft_disc(segment_distance(start, end, size), width), out=mask)
    return _blend_by_mask(images, mask, style)


def paint_rolled_in_scale(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw mill scale that was rolled in: speckle in a band or on the whole image."""
    n, size = len(images), images.shape[1]
    speckle = soft_step(_noise_crops(rng, n, size, 1.0 + 1.5 * style[2]), 0.6, 0.5)
    if style[3] > 0.5:
        centre = draw_uniform(rng, -0.5, 0.5, (n, 2))
        start, end = _segment_ends(
            centre, _draw_directions(rng, style, n), np.full(n, 2.0, np.float32)
        )
        speckle = speckle * soft_disc(segment_distance(start, end, size), 0.35, 0.3)
    return _blend_by_mask(images, speckle, style)


def paint_stain(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw a smooth round stain with a rim, like a dried drop."""
    n, size = len(images), images.shape[1]
    spot = point_distance(
        draw_uniform(rng, -0.4, 0.4, (n, 2)), size, draw_uniform(rng, 0.7, 1.4, n)
    )
    radius = draw_uniform(rng, 0.25, 0.4 + 0.35 * style[2], n)[:, None, None]
    inside = np.clip((radius - spot) / 0.25 + 0.5, 0, 1)
    rim = np.exp(-(((spot - radius) / 0.06) ** 2))
    return _blend_by_mask(images, (1 - style[3]) * 0.6 * inside + style[3] * rim, style)


def paint_dent(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw a dent, which is bright on one side and dark on the other."""
    n, size = len(images), images.shape[1]
    centre = draw_uniform(rng, -0.45, 0.45, (n, 2))
    radius = draw_uniform(rng, 0.15, 0.25 + 0.35 * style[2], n)[:, None, None]
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    dy = (axis[None, :, None] - centre[:, 0, None, None]) / radius
    dx = (axis[None, None, :] - centre[:, 1, None, None]) / radius
    bowl = np.exp(-(dy**2 + dx**2))
    light = 2 * np.pi * style[3]
    return _blend_by_mask(images, 1.6 * (np.sin(light) * dy + np.cos(light) * dx) * bowl, style)


def paint_band(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw a wide soft stripe, like the mark of a roller, or a shunted solar cell."""
    n, size = len(images), images.shape[1]
    centre = draw_uniform(rng, -0.6, 0.6, (n, 2))
    start, end = _segment_ends(centre, _draw_directions(rng, style, n), np.full(n, 2.5, np.float32))
    width = draw_uniform(rng, 0.08, 0.15 + 0.3 * style[2], n)
    return _blend_by_mask(images, soft_disc(segment_distance(start, end, size), width, 0.15), style)


def shade_one_side(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Darken or brighten the image from one side, like a broken or inactive area."""
    n, size = len(images), images.shape[1]
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    angle = draw_uniform(rng, 0, 2 * np.pi, n)[:, None, None]
    depth = axis[None, :, None] * np.sin(angle) + axis[None, None, :] * np.cos(angle)
    edge = draw_uniform(rng, 0.1, 0.4 + 0.4 * style[2], n)[:, None, None]
    return _blend_by_mask(images, soft_step(depth - edge, 0, 0.05 + 0.3 * style[3]), style)


def paint_scuff(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw a bundle of short parallel scratches."""
    n, size = len(images), images.shape[1]
    mask = np.zeros_like(images)
    angle = _draw_directions(rng, style, n)
    middle = draw_uniform(rng, -0.4, 0.4, (n, 2))
    for _ in range(3 + int(3 * style[2])):
        half = draw_uniform(rng, 0.1, 0.2 + 0.3 * style[3], n)
        start, end = _segment_ends(middle + draw_uniform(rng, -0.25, 0.25, (n, 2)), angle, half)
        np.maximum(mask, soft_disc(segment_distance(start, end, size), 0.015), out=mask)
    return _blend_by_mask(images, mask, style)


def paint_burr(rng: np.random.Generator, images: Field, style: Style) -> Field:
    """Draw a coarse rough area on each image, like a burr."""
    n, size = len(images), images.shape[1]
    rough = _noise_crops(rng, n, size, 0.8 + style[2])
    spot = point_distance(draw_uniform(rng, -0.4, 0.4, (n, 2)), size)
    window = soft_disc(spot, draw_uniform(rng, 0.35, 0.5 + 0.4 * style[3], n), 0.3)
    return _blend_by_mask(images, 0.5 * rough * window, style)


PAINTERS: Mapping[str, Painter] = {
    "band": paint_band,
    "burr": paint_burr,
    "corner": shade_one_side,
    "crack": paint_crack,
    "craze": paint_craze,
    "dent": paint_dent,
    "inclusion": paint_inclusion,
    "patch": paint_patch,
    "patches": paint_patches,
    "pits": paint_pits,
    "scale": paint_rolled_in_scale,
    "scratch": paint_scratch,
    "scuff": paint_scuff,
    "stain": paint_stain,
}


def _noise_crops(
    rng: np.random.Generator, count: int, image_side: int, correlation_pixels: float
) -> Field:
    """Cut noise for ``count`` images from one field, which is faster than a field per image."""
    field = periodic_noise(rng, 256, correlation_pixels, roughness=0.15)
    top, left_edges = rng.integers(0, 256, (2, count))
    rows = (top[:, None] + np.arange(image_side)) % 256
    columns = (left_edges[:, None] + np.arange(image_side)) % 256
    return np.asarray(field[rows[:, :, None], columns[:, None, :]], dtype=np.float32)
