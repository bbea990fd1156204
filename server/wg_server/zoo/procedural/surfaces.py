"""Surfaces: sheets of material from which a site's images are cut.

A sheet is an image ``[256, 256]`` with brightness of about 0 to 1, periodic if the material allows
it. A family has a *recipe*, the parameters of its surface; each site draws its own sheet from them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wg_server.zoo.procedural.fields import (
    Field,
    Grain,
    cosine_grating,
    periodic_noise,
    soft_step,
    standardise_field,
    voronoi_cells,
)

SHEET_SIDE_PIXELS = 256

SurfaceParameters = Sequence[float]


@dataclass(frozen=True, slots=True)
class SurfaceRecipe:
    """Parameters from which pictures of one family's surface are drawn.

    Attributes:
        kind: Kind of surface, a key of ``SURFACE_DRAWERS``.
        parameters: Eight numbers in 0..1 whose meaning depends on the kind.
        mean_brightness: Mean brightness.
        brightness_deviation: Standard deviation of the brightness.
    """

    kind: str
    parameters: tuple[float, ...]
    mean_brightness: float
    brightness_deviation: float


def draw_recipe(rng: np.random.Generator, kind: str | None = None) -> SurfaceRecipe:
    """Draw a surface recipe; ``kind`` is in ``SURFACE_DRAWERS``, or None for a random kind."""
    name = kind or str(rng.choice(DRAWN_SURFACE_KINDS))
    values = tuple(float(v) for v in rng.uniform(0, 1, 8))
    if kind is None and name == "concrete" and values[7] > 0.5:
        name = "cracked"
    return SurfaceRecipe(
        name, values, float(rng.uniform(0.25, 0.75)), float(rng.uniform(0.02, 0.12))
    )


def draw_sheet(rng: np.random.Generator, recipe: SurfaceRecipe) -> Field:
    """Draw one sheet ``[256, 256]`` of material, with slight variation of the recipe."""
    jitter = np.clip(np.array(recipe.parameters) + rng.normal(0, 0.03, 8), 0, 1).tolist()
    field = standardise_field(SURFACE_DRAWERS[recipe.kind](rng, SHEET_SIDE_PIXELS, jitter))
    field = np.clip(field, -3, 3)
    return np.asarray(
        recipe.mean_brightness + recipe.brightness_deviation * field, dtype=np.float32
    )


def cut_images(rng: np.random.Generator, sheet: Field, count: int, image_side: int) -> Field:
    """Cut images from a sheet, some of them mirrored, ``[count, image_side, image_side]``."""
    top, left_edges = rng.integers(0, SHEET_SIDE_PIXELS, (2, count))
    rows = (top[:, None] + np.arange(image_side)) % SHEET_SIDE_PIXELS
    columns = (left_edges[:, None] + np.arange(image_side)) % SHEET_SIDE_PIXELS
    is_mirrored = rng.random(count) < 0.5
    columns[is_mirrored] = columns[is_mirrored, ::-1]
    return np.asarray(sheet[rows[:, :, None], columns[:, None, :]], dtype=np.float32)


def _quantised_angle(value: float) -> float:
    return float(round(value * 8) / 8 * np.pi)


def _rolled_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    lines = periodic_noise(
        rng, size, 1 + 2 * v[0], grain=Grain(10 + 20 * v[1], _quantised_angle(v[2]))
    )
    return lines + v[3] * periodic_noise(rng, size, 6 + 20 * v[4], roughness=0.3)


def _ground_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    grain = periodic_noise(rng, size, 0.7, grain=Grain(15 + 25 * v[0], _quantised_angle(v[1])))
    cross_grain = periodic_noise(
        rng, size, 0.7, grain=Grain(15 + 25 * v[0], _quantised_angle(v[1]) + 0.3 + v[2])
    )
    return grain + v[3] * cross_grain


def _cast_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    grain = periodic_noise(rng, size, 1 + 3 * v[0], roughness=0.5)
    return grain + v[1] * np.abs(periodic_noise(rng, size, 3 + 8 * v[2]))


def _woven_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    period = size / round(20 + 44 * v[0])
    warp, weft = cosine_grating(size, period, 0.0), cosine_grating(size, period, np.pi / 2)
    over = soft_step(cosine_grating(size, 2 * period, np.pi / 4) * v[1] + warp * weft, 0, 0.5)
    return (
        over * warp + (1 - over) * weft + 0.4 * v[2] * periodic_noise(rng, size, 1.5, roughness=0.5)
    )


def _printed_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    period = size / round(16 + 40 * v[0])
    turn = _quantised_angle(v[1])
    dots = cosine_grating(size, period, turn) + cosine_grating(size, period, turn + np.pi / 2)
    return soft_step(
        dots + v[2] * periodic_noise(rng, size, 8), 0.4 * v[3], 0.6
    ) + 0.1 * periodic_noise(rng, size, 0.8)


def _concrete_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    stones = soft_step(periodic_noise(rng, size, 2 + 3 * v[0]), 1.0, 0.4)
    pores = soft_step(-periodic_noise(rng, size, 1 + v[1]), 1.8, 0.2)
    return np.asarray(
        periodic_noise(rng, size, 10, roughness=0.6) + v[2] * stones - 2 * v[3] * pores
    )


def _cracked_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    """Draw plates between ragged gaps, like mud, glaze or old paint, with finer plates inside."""
    edge_noise = periodic_noise(rng, size, 1.5 + 2 * v[0], roughness=0.4)
    _, wide, plate = voronoi_cells(rng, size, int(20 + 120 * v[1]))
    _, fine, _ = voronoi_cells(rng, size, int(150 + 400 * v[2]))
    tone = rng.normal(0, 0.5, plate.max() + 1).astype(np.float32)[plate]
    gap = soft_step(1.0 + 2 * v[3] - wide - 0.8 * edge_noise, 0, 1.2)
    hair = soft_step(0.6 - fine - 0.5 * edge_noise, 0, 0.8)
    return np.asarray(
        v[4] * tone
        + 0.4 * periodic_noise(rng, size, 2, roughness=0.6)
        - 2.5 * gap
        - (0.3 + v[5]) * hair
    )


def _photovoltaic_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    grains = voronoi_cells(rng, size, int(30 + 200 * v[0]))[2]
    tone = rng.normal(0, 1, grains.max() + 1).astype(np.float32)[grains]
    fingers = soft_step(cosine_grating(size, size / round(24 + 40 * v[1]), 0.0), 0.85, 0.1)
    bars = soft_step(cosine_grating(size, size / round(2 + 4 * v[2]), np.pi / 2), 0.985, 0.01)
    return np.asarray(v[3] * tone + 0.5 * periodic_noise(rng, size, 12) - fingers - 2 * bars)


def _brushed_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    return periodic_noise(
        rng, size, 0.8 + v[0], grain=Grain(30 + 30 * v[1], _quantised_angle(v[2])), roughness=0.2
    )


def _sand_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    return periodic_noise(rng, size, 0.4 + 1.2 * v[0], roughness=v[1])


def _marble_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    veins = np.abs(periodic_noise(rng, size, 8 + 16 * v[0], roughness=0.3))
    return np.asarray(-np.exp(-veins * (3 + 8 * v[1])) + 0.3 * periodic_noise(rng, size, 15))


def _wood_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    warp = periodic_noise(rng, size, 10 + 10 * v[0], grain=Grain(6, np.pi / 2))
    x = np.arange(size, dtype=np.float32)[None, :]
    rings = np.sin(2 * np.pi * round(8 + 16 * v[1]) * x / size + (1 + 3 * v[2]) * warp)
    return np.asarray(rings + 0.4 * periodic_noise(rng, size, 0.8, grain=Grain(20, np.pi / 2)))


def _leather_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    _, border, _ = voronoi_cells(rng, size, int(300 + 1500 * v[0]))
    return soft_step(border, 0.5 + v[1], 2.0) + 0.2 * periodic_noise(rng, size, 1)


def _grain_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    _, border, index = voronoi_cells(rng, size, int(100 + 800 * v[0]))
    tone = rng.normal(0, 1, index.max() + 1).astype(np.float32)[index]
    return np.asarray(v[1] * tone - 1.5 * (1 - soft_step(border, 0.8, 1.0)))


def _foam_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    distance, _, _ = voronoi_cells(rng, size, int(200 + 1000 * v[0]))
    return np.asarray(-np.cos(distance * (0.5 + v[1])) + 0.2 * periodic_noise(rng, size, 1))


def _tile_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    count = round(4 + 12 * v[0])
    gap = np.maximum(
        cosine_grating(size, size / count, 0.0), cosine_grating(size, size / count, np.pi / 2)
    )
    return -soft_step(gap, 0.96, 0.04) + (0.3 + v[1]) * 0.3 * periodic_noise(
        rng, size, 3, roughness=0.5
    )


def _corrugated_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    waves = cosine_grating(size, size / round(8 + 40 * v[0]), _quantised_angle(v[1]))
    return waves + 0.3 * periodic_noise(rng, size, 2, roughness=0.5)


def _knurled_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    period = size / round(12 + 30 * v[0])
    turn = np.pi / 4
    ridges = np.maximum(cosine_grating(size, period, turn), cosine_grating(size, period, -turn))
    return np.asarray(ridges + 0.3 * v[1] * periodic_noise(rng, size, 1.5))


def _plain_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    return periodic_noise(rng, size, 20 + 20 * v[0]) + 0.3 * periodic_noise(rng, size, 0.6)


def _paper_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    fibres = np.abs(periodic_noise(rng, size, 1.0, grain=Grain(6, np.pi * v[0])))
    return fibres + np.abs(periodic_noise(rng, size, 1.0, grain=Grain(6, np.pi * v[1])))


def _clouded_surface(rng: np.random.Generator, size: int, v: SurfaceParameters) -> Field:
    return periodic_noise(rng, size, 4 + 12 * v[0], roughness=0.2 + 0.8 * v[1])


SURFACE_DRAWERS: Mapping[str, Callable[[np.random.Generator, int, SurfaceParameters], Field]] = {
    "brushed": _brushed_surface,
    "cast": _cast_surface,
    "clouded": _clouded_surface,
    "concrete": _concrete_surface,
    "corrugated": _corrugated_surface,
    "cracked": _cracked_surface,
    "foam": _foam_surface,
    "grains": _grain_surface,
    "ground": _ground_surface,
    "knurled": _knurled_surface,
    "leather": _leather_surface,
    "marble": _marble_surface,
    "paper": _paper_surface,
    "photovoltaic": _photovoltaic_surface,
    "plain": _plain_surface,
    "printed": _printed_surface,
    "rolled": _rolled_surface,
    "sand": _sand_surface,
    "tiles": _tile_surface,
    "wood": _wood_surface,
    "woven": _woven_surface,
}

DRAWN_SURFACE_KINDS = sorted(set(SURFACE_DRAWERS) - {"cracked"})
"""Kinds of surface drawn at random. Half of the concrete ones become cracked: a longer list would
change the surface of every family for every seed, and thus the id of every encoder."""
