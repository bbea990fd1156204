"""Simulation of lights and cameras, which differ from site to site."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

FloatImages = NDArray[np.floating[Any]]
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Simulated camera and lighting; the default values leave an image unchanged.

    Attributes:
        gain: Factor on the contrast about mid-grey.
        offset: Added brightness; 0 is black and 1 is white.
        gamma: Exponent on brightness.
        is_inverted: True for a negative image (dark field, X-ray).
        emboss: Weight of a relief view under raking light, 0 to 1.
        light_angle: Direction of the raking light and of the gradient, radians.
        gradient: Change of brightness from the image's centre to its edge.
        vignette: Relative loss of brightness in the corners, 0 to 1.
        blur_pixels: Box width in pixels; 0 or 1 for no blur.
        noise: Standard deviation of each pixel's noise, in brightness.
        banding: Standard deviation of each row's common noise, in brightness.
        coarseness: Side, in pixels of the image, of one pixel of the sensor.
        quarter_turns: Number of quarter turns by which the camera is mounted.
        tint: Factors on red, green and blue; None for a grey camera.
    """

    gain: float = 1.0
    offset: float = 0.0
    gamma: float = 1.0
    is_inverted: bool = False
    emboss: float = 0.0
    light_angle: float = 0.0
    gradient: float = 0.0
    vignette: float = 0.0
    blur_pixels: int = 0
    noise: float = 0.0
    banding: float = 0.0
    coarseness: int = 1
    quarter_turns: int = 0
    tint: tuple[float, float, float] | None = None


def draw_camera(rng: np.random.Generator, *, strength: float, may_turn: bool) -> Camera:
    """Draw the settings of a random simulated camera.

    Args:
        rng: Generator that draws the settings.
        strength: Deviation from a clean camera, 0 to 1.
        may_turn: True to draw quarter turns too, where no label depends on the orientation.
    """
    s = strength
    return Camera(
        gain=float(np.exp(rng.normal(0, 0.35 * s))),
        offset=float(rng.normal(0, 0.12 * s)),
        gamma=float(np.exp(rng.normal(0, 0.3 * s))),
        is_inverted=bool(rng.random() < 0.3 * s),
        emboss=float(rng.uniform(0, 1)) if rng.random() < 0.25 * s else 0.0,
        light_angle=float(rng.uniform(0, 2 * np.pi)),
        gradient=float(rng.normal(0, 0.2 * s)),
        vignette=float(rng.uniform(0, 0.5 * s)) if rng.random() < 0.5 else 0.0,
        blur_pixels=int(rng.integers(2, 6)) if rng.random() < 0.4 * s else 0,
        noise=float(rng.uniform(0, 0.09 * s)),
        banding=float(rng.uniform(0, 0.06)) if rng.random() < 0.3 * s else 0.0,
        coarseness=int(rng.choice([2, 4])) if rng.random() < 0.3 * s else 1,
        quarter_turns=int(rng.integers(4)) if may_turn and rng.random() < 0.3 * s else 0,
        tint=tuple(float(t) for t in rng.uniform(0.6, 1.1, 3))  # type: ignore[arg-type]
        if rng.random() < 0.3
        else None,
    )


def photograph(rng: np.random.Generator, scenes: FloatImages, camera: Camera) -> Pictures:
    """Render images of scenes through a simulated camera.

    Args:
        rng: Generator that draws pixel noise.
        scenes: Scenes ``[n, s, s]``, about 0 to 1.
        camera: Simulated camera.

    Returns:
        Images, uint8 ``[n, s, s]``, or ``[n, s, s, 3]`` for a colour camera.
    """
    x = np.rot90(scenes, camera.quarter_turns, axes=(1, 2)) if camera.quarter_turns else scenes
    n, size = x.shape[:2]
    if camera.emboss:
        dy, dx = np.gradient(x, axis=(1, 2))
        relief = 0.5 + 2.5 * (np.sin(camera.light_angle) * dy + np.cos(camera.light_angle) * dx)
        x = camera.emboss * relief + (1 - camera.emboss) * x
    if camera.blur_pixels > 1:
        x = uniform_filter(x, (0, camera.blur_pixels, camera.blur_pixels), mode="nearest")
    if camera.coarseness > 1:
        c = camera.coarseness
        small = x.reshape(n, size // c, c, size // c, c).mean(axis=(2, 4))
        x = small.repeat(c, axis=1).repeat(c, axis=2)
    if camera.is_inverted:
        x = 1 - x
    x = 0.5 + camera.gain * (x - 0.5) + camera.offset
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    y_, x_ = axis[:, None], axis[None, :]
    x = x + camera.gradient * (np.sin(camera.light_angle) * y_ + np.cos(camera.light_angle) * x_)
    if camera.vignette:
        x = x * (1 - camera.vignette * (y_**2 + x_**2) / 2)
    x = np.clip(x, 0, 1)
    if camera.gamma != 1:
        x = x**camera.gamma
    if camera.noise:
        x = x + camera.noise * rng.standard_normal(x.shape, dtype=np.float32)
    if camera.banding:
        x = x + camera.banding * rng.standard_normal((n, size, 1), dtype=np.float32)
    if camera.tint is not None:
        x = x[..., None] * np.array(camera.tint, np.float32)
    return np.asarray(np.clip(x, 0, 1) * 255 + 0.5).astype(np.uint8)


def rephotograph_centre(rng: np.random.Generator, image: Pictures, camera: Camera) -> Pictures:
    """Render an image's central square, uint8 ``[h, w]`` or ``[h, w, 3]``, through a camera.

    The colours of a colour image are kept only by a colour camera, which has a tint.
    """
    side = min(image.shape[:2]) // 4 * 4
    row, column = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[row : row + side, column : column + side].astype(np.float32) / 255
    if square.ndim == 3 and camera.tint is not None:
        channels = photograph(rng, square.transpose(2, 0, 1), replace(camera, tint=None))
        picture = channels.transpose(1, 2, 0) * np.array(camera.tint, np.float32)
        return np.asarray(np.clip(picture, 0, 255) + 0.5).astype(np.uint8)
    scene = square.mean(axis=2) if square.ndim == 3 else square
    return np.asarray(photograph(rng, scene[None], camera)[0])
