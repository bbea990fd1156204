"""Three simulated cameras that render the same digits differently for the demo's plants.

scikit-learn's digits are 8x8 grey images with values 0 to 16. Each camera renders them as 64x64
pictures in its own way; the noise is seeded, so a plant's data set is the same in every run.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SIZE = 64
Pictures = NDArray[np.uint8]
Camera = Callable[[NDArray[np.float64], np.random.Generator], Pictures]


def bright_field(digits: NDArray[np.float64], rng: np.random.Generator) -> Pictures:
    """Render digits as dark ink on a bright ground, with the banding of a line-scan sensor.

    Args:
        digits: Images ``[n, 8, 8]``, 0 to 1.
        rng: Source of the sensor's noise.

    Returns:
        Grey pictures ``[n, 64, 64]``.
    """
    ink = _enlarge(digits)
    banding = rng.normal(0, 0.03, (len(ink), SIZE, 1))
    return _picture(0.9 - 0.7 * ink + banding + rng.normal(0, 0.02, ink.shape))


def dark_field(digits: NDArray[np.float64], rng: np.random.Generator) -> Pictures:
    """Render digits as glowing strokes on a dark, noisy ground; see ``bright_field``."""
    ink = ndimage.gaussian_filter(_enlarge(digits), (0, 1.5, 1.5))
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    vignette = 1 - 0.45 * (x**2 + y**2)
    return _picture((0.12 + 0.75 * ink) * vignette + rng.normal(0, 0.07, ink.shape))


def oblique(digits: NDArray[np.float64], rng: np.random.Generator) -> Pictures:
    """Render digits as stamped marks seen at an angle in raking light; see ``bright_field``."""
    relief = _enlarge(digits)
    angle = np.deg2rad(12)
    shear = np.array([[1.0, 0.0], [-0.25, 1.0]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ shear
    centre = np.full(2, (SIZE - 1) / 2)
    offset = centre - matrix @ centre
    seen = np.stack([ndimage.affine_transform(r, matrix, offset, order=1) for r in relief])
    shade = np.gradient(ndimage.gaussian_filter(seen, (0, 1.2, 1.2)), axis=(1, 2))
    grain = ndimage.gaussian_filter(rng.normal(0, 1, seen.shape), (0, 0.5, 3.0)) * 0.08
    return _picture(0.5 + 2.2 * (shade[0] + shade[1]) - 0.1 * seen + grain)


CAMERAS: dict[str, Camera] = {
    "bright-field": bright_field,
    "dark-field": dark_field,
    "oblique": oblique,
}


def _enlarge(digits: NDArray[np.float64]) -> NDArray[np.float64]:
    zoomed = ndimage.zoom(digits, (1, 6, 6), order=1)
    edge = (SIZE - zoomed.shape[1]) // 2
    return np.pad(zoomed, ((0, 0), (edge, edge), (edge, edge)))


def _picture(light: NDArray[np.float64]) -> Pictures:
    return np.round(255 * np.clip(light, 0, 1)).astype(np.uint8)
