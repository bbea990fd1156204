"""Random shapes of parts, seen from above: an outline, and a height."""

import numpy as np

from wg_server.zoo.procedural.fields import Field, coordinate_grid, draw_uniform


def draw_silhouettes(
    rng: np.random.Generator, shape_coefficients: Field, count: int, image_side: int
) -> tuple[Field, Field]:
    """Draw images of one part, each slightly moved, rotated, scaled and deformed.

    Args:
        shape_coefficients: Fourier coefficients 1 to 4 of the outline's radius, and its aspect,
            ``[5]``, 0 to 1.
        count: Number of images n.
        image_side: Side in pixels.

    Returns:
        Mask of the part, 0 to 1, and its height, which is 0 outside, both ``[n, image_side,
        image_side]``.
    """
    y, x = coordinate_grid(image_side)
    shift = rng.normal(0, 0.06, (count, 2)).astype(np.float32)
    turn = rng.normal(0, 0.2, count).astype(np.float32)[:, None, None]
    dy, dx = y - shift[:, 0, None, None], x - shift[:, 1, None, None]
    along = dx * np.cos(turn) + dy * np.sin(turn)
    across = (dy * np.cos(turn) - dx * np.sin(turn)) * (0.6 + 1.2 * shape_coefficients[4])
    angle = np.arctan2(across, along)
    radius = np.full_like(angle, 0.5)
    for harmonic in range(1, 5):
        wobble = shape_coefficients[harmonic - 1] + rng.normal(0, 0.02, count).astype(np.float32)
        radius += 0.28 / harmonic**0.5 * (wobble[:, None, None] - 0.5) * np.cos(harmonic * angle)
    radius *= draw_uniform(rng, 0.85, 1.15, count)[:, None, None]
    depth = radius - np.sqrt(along**2 + across**2)
    mask = np.clip(depth / 0.05 + 0.5, 0, 1).astype(np.float32)
    return mask, np.sqrt(np.clip(depth, 0, None)).astype(np.float32)
