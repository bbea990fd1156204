"""Fields (images of real numbers) for drawing surfaces and defects: noise, cells, distances."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial import cKDTree

Field = NDArray[np.floating[Any]]


class Grain(NamedTuple):
    """Grain of a noise field: the direction along which it varies less.

    Attributes:
        stretch: Factor on the correlation length along the direction.
        angle: Direction in radians.
    """

    stretch: float
    angle: float


ISOTROPIC = Grain(1.0, 0.0)


def periodic_noise(
    rng: np.random.Generator,
    image_side: int,
    correlation_pixels: float,
    *,
    grain: Grain = ISOTROPIC,
    roughness: float = 0.0,
) -> Field:
    """Draw periodic Gaussian noise of zero mean and unit variance, ``[image_side, image_side]``.

    Args:
        image_side: Side in pixels.
        correlation_pixels: Correlation length in pixels.
        grain: Direction along which the noise varies less.
        roughness: Share of noise at finer scales, with a power-law spectrum, 0 to 1.
    """
    stretch, angle = grain
    white = rng.standard_normal((image_side, image_side), dtype=np.float32)
    fy = np.fft.fftfreq(image_side).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(image_side).astype(np.float32)[None, :]
    along = fx * np.cos(angle) + fy * np.sin(angle)
    across = fy * np.cos(angle) - fx * np.sin(angle)
    radius = (2 * np.pi * correlation_pixels) ** 2 * (
        (along * stretch) ** 2 + across**2 / stretch**0.5
    )
    gain = np.exp(-radius / 2) * (1 - roughness) + roughness / (1 + radius)
    field = fft.irfft2(fft.rfft2(white) * gain, s=(image_side, image_side)).astype(np.float32)
    return standardise_field(field)


def standardise_field(field: Field) -> Field:
    """Standardise a field to zero mean and unit variance."""
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), dtype=np.float32)


def voronoi_cells(
    rng: np.random.Generator, image_side: int, cell_count: int
) -> tuple[Field, Field, NDArray[np.intp]]:
    """Draw periodic Voronoi cells (Worley 1996).

    Returns:
        Distance to the nearest seed, distance to the border between cells (both in pixels), and the
        cell's number, each ``[image_side, image_side]``.
    """
    seeds = rng.uniform(0, image_side, (cell_count, 2))
    y, x = np.mgrid[:image_side, :image_side] + 0.5
    distance, index = cKDTree(seeds, boxsize=image_side).query(
        np.stack([y, x], -1).reshape(-1, 2), k=2
    )
    nearest, second = (
        distance.reshape(image_side, image_side, 2).astype(np.float32).transpose(2, 0, 1)
    )
    return nearest, second - nearest, index[:, 0].reshape(image_side, image_side)


def cosine_grating(image_side: int, period_pixels: float, angle_radians: float) -> Field:
    """Return a plane cosine wave ``[image_side, image_side]``; its angle is in radians."""
    y, x = np.mgrid[:image_side, :image_side].astype(np.float32)
    turn = 2 * np.pi / period_pixels * (x * np.cos(angle_radians) + y * np.sin(angle_radians))
    return np.asarray(np.cos(turn), dtype=np.float32)


def soft_step(field: Field, edge: float, width: float) -> Field:
    """Map a field to 0 where it is below ``edge`` and 1 above, with a linear ramp of ``width``."""
    return np.asarray(np.clip((field - edge) / width + 0.5, 0, 1), dtype=np.float32)


def coordinate_grid(image_side: int) -> tuple[Field, Field]:
    """Return the pixels' coordinates y ``[1, side, 1]`` and x ``[1, 1, side]``, -1 to 1."""
    axis = np.linspace(-1, 1, image_side, dtype=np.float32)
    return axis[None, :, None], axis[None, None, :]


def segment_distance(start: Field, end: Field, image_side: int) -> Field:
    """Return the distance from each pixel to a segment, one segment per image.

    Args:
        start: Start points as (y, x) in -1..1, ``[n, 2]``.
        end: End points, ``[n, 2]``.
        image_side: Side in pixels.

    Returns:
        ``[n, image_side, image_side]`` in units of half the side.
    """
    y, x = coordinate_grid(image_side)
    way = end - start
    length = (way**2).sum(axis=1) + 1e-8
    dy, dx = y - start[:, 0, None, None], x - start[:, 1, None, None]
    along = (dy * way[:, 0, None, None] + dx * way[:, 1, None, None]) / length[:, None, None]
    along = np.clip(along, 0, 1)
    dy = dy - along * way[:, 0, None, None]
    dx = dx - along * way[:, 1, None, None]
    return np.asarray(np.sqrt(dy * dy + dx * dx), dtype=np.float32)


def path_distance(points: Field, image_side: int) -> Field:
    """Return pixels' distances ``[n, image_side, image_side]`` to polylines ``[n, p, 2]``."""
    nearest = segment_distance(points[:, 0], points[:, 1], image_side)
    for index in range(1, points.shape[1] - 1):
        np.minimum(
            nearest,
            segment_distance(points[:, index], points[:, index + 1], image_side),
            out=nearest,
        )
    return nearest


def point_distance(centre: Field, image_side: int, aspect: Field | None = None) -> Field:
    """Return each pixel's distance ``[n, image_side, image_side]`` to a point ``[n, 2]`` (y, x).

    Distances in y count ``aspect`` times, ``[n]``, so that discs become ellipses.
    """
    y, x = coordinate_grid(image_side)
    dy = y - centre[:, 0, None, None]
    if aspect is not None:
        dy = dy * aspect[:, None, None]
    dx = x - centre[:, 1, None, None]
    return np.asarray(np.sqrt(dy * dy + dx * dx), dtype=np.float32)


def soft_disc(distance: Field, radius: Field | float, edge: float = 0.04) -> Field:
    """Return 1 where a distance is below the radius and 0 beyond, with an edge of a given width."""
    limit = radius[:, None, None] if isinstance(radius, np.ndarray) else radius
    return np.asarray(np.clip((limit - distance) / edge + 0.5, 0, 1), dtype=np.float32)


def draw_uniform(
    rng: np.random.Generator, low: float, high: float, shape: int | tuple[int, ...]
) -> Field:
    """Draw an array of float32 numbers, uniform between ``low`` and ``high``."""
    return rng.uniform(low, high, shape).astype(np.float32)
