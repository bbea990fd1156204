"""Characters as strokes, without a font: variants of the ten digits, and invented glyphs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wg_server.zoo.procedural.fields import Field, draw_uniform, path_distance

Stroke = NDArray[np.float64]
Glyph = tuple[Stroke, ...]
Point = tuple[float, float]

_POINTS_PER_ARC = 9  # Number of points on an arc


def _arc_stroke(centre: Point, radii: Point, start_degrees: float, end_degrees: float) -> Stroke:
    """Return an arc of an ellipse; points are (y, x), angles in degrees."""
    (cy, cx), (ry, rx) = centre, radii
    turn = np.radians(np.linspace(start_degrees, end_degrees, _POINTS_PER_ARC))
    return np.stack([cy - ry * np.sin(turn), cx + rx * np.cos(turn)], axis=1)


def _line_stroke(*points: Point) -> Stroke:
    return np.array(points)


_DIGIT_VARIANTS: dict[str, tuple[Glyph, ...]] = {
    "0": ((_arc_stroke((0, 0), (0.7, 0.45), 80, 440),),),
    "1": (
        (_line_stroke((-0.7, 0.05), (0.7, 0.0)),),
        (_line_stroke((-0.35, -0.3), (-0.7, 0.05), (0.7, 0.05)),),
    ),
    "2": (
        (
            _arc_stroke((-0.33, 0), (0.37, 0.4), 170, -50),
            _line_stroke((-0.05, 0.28), (0.7, -0.42), (0.7, 0.45)),
        ),
    ),
    "3": (
        (
            _arc_stroke((-0.35, 0), (0.35, 0.38), 150, -90),
            _arc_stroke((0.34, 0), (0.36, 0.42), 90, -150),
        ),
    ),
    "4": (
        (
            _line_stroke((-0.7, -0.1), (0.15, -0.45), (0.15, 0.45)),
            _line_stroke((-0.3, 0.2), (0.7, 0.15)),
        ),
        (
            _line_stroke((-0.7, 0.15), (0.2, -0.45), (0.2, 0.45)),
            _line_stroke((-0.7, 0.15), (0.7, 0.15)),
        ),
    ),
    "5": (
        (
            _line_stroke((-0.7, 0.4), (-0.7, -0.3), (-0.1, -0.35)),
            _arc_stroke((0.28, -0.02), (0.42, 0.42), 120, -150),
        ),
    ),
    "6": (
        (
            _arc_stroke((0.32, 0), (0.36, 0.38), 0, 360),
            _arc_stroke((0.1, 0.35), (0.8, 0.75), 100, 185),
        ),
    ),
    "7": (
        (_line_stroke((-0.65, -0.42), (-0.65, 0.42), (0.7, -0.1)),),
        (
            _line_stroke((-0.65, -0.42), (-0.65, 0.42), (0.7, -0.1)),
            _line_stroke((0.0, -0.2), (0.0, 0.35)),
        ),
    ),
    "8": (
        (
            _arc_stroke((-0.34, 0), (0.33, 0.34), 270, 630),
            _arc_stroke((0.34, 0), (0.36, 0.4), 90, 450),
        ),
    ),
    "9": (
        (
            _arc_stroke((-0.3, 0), (0.36, 0.38), 0, 360),
            _line_stroke((-0.3, 0.38), (0.1, 0.36), (0.7, 0.2)),
        ),
    ),
}


def draw_digit_shapes(rng: np.random.Generator) -> dict[str, Glyph]:
    """Draw one of the known shapes for each of the ten digits, by its name."""
    return {
        name: shapes[int(rng.integers(len(shapes)))] for name, shapes in _DIGIT_VARIANTS.items()
    }


def draw_invented_glyphs(rng: np.random.Generator, count: int) -> dict[str, Glyph]:
    """Draw the shapes of ``count`` invented characters, with two to four strokes each, by name."""
    characters = {}
    for number in range(count):
        strokes: list[Stroke] = []
        pen = rng.uniform(-0.6, 0.6, 2)
        for _ in range(int(rng.integers(2, 5))):
            if rng.random() < 0.5:
                (cy, cx), (ry, rx) = rng.uniform(-0.35, 0.35, 2), rng.uniform(0.2, 0.45, 2)
                start, sweep = float(rng.uniform(0, 360)), float(rng.choice([90, 180, 270, 360]))
                strokes.append(_arc_stroke((cy, cx), (ry, rx), start, start + sweep))
            else:
                strokes.append(np.stack([pen, rng.uniform(-0.7, 0.7, 2)]))
            pen = strokes[-1][-1] if rng.random() < 0.6 else rng.uniform(-0.6, 0.6, 2)
        characters[f"glyph-{number}"] = tuple(strokes)
    return characters


def render_glyph(
    rng: np.random.Generator, glyph: Sequence[Stroke], count: int, image_side: int, style: Field
) -> Field:
    """Render images of a character with random variation; ink is 1, the background 0.

    Returns ``[count, image_side, image_side]``; the first five numbers of ``style``, 0 to 1, set
    rotation, slant, size, stroke width and shakiness.
    """
    angle = rng.normal(0, 0.05 + 0.12 * style[0], count)
    shear = rng.normal(0.25 * (style[1] - 0.5), 0.1, count)
    zoom = rng.uniform(0.75, 1.05, (count, 2)) * (0.6 + 0.4 * style[2])
    shift = rng.normal(0, 0.08, (count, 1, 2))
    width = draw_uniform(rng, 0.05, 0.08 + 0.1 * float(style[3]), count)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.stack(
        [np.stack([cos, sin], -1), np.stack([-sin + shear, cos], -1)], axis=1
    )  # [n, 2, 2]
    nearest = np.full((count, image_side, image_side), 9.0, np.float32)
    for stroke in glyph:
        shaky = stroke + rng.normal(0, 0.02 + 0.03 * style[4], (count, *stroke.shape))
        if len(stroke) > 4:  # a curve moves as a whole, not point by point
            bend = rng.normal(0, 0.05, (count, 1, 2))
            shaky = stroke + bend + 0.3 * (shaky - stroke)
        points = np.einsum("npi,nij->npj", shaky * zoom[:, None], matrix) + shift
        np.minimum(nearest, path_distance(points.astype(np.float32), image_side), out=nearest)
    return np.asarray(np.clip((width[:, None, None] - nearest) / 0.05 + 0.5, 0, 1), np.float32)
