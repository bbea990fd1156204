"""Simulated cameras by torchvision's transforms, independent of the product's simulation.

A site's camera has rotation and tilt, exposure, contrast and gamma, colour tint, blur and
vignetting of the lens, noise of the sensor, and compression of the file. It uses no code of
``wg_common.modalities.cameras``, and no training uses it.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

Picture = NDArray[np.uint8]


def draw_camera(rng: np.random.Generator) -> Callable[[Picture], Picture]:
    """Draw a site's camera; its noise comes from the given generator."""
    turn, tilt = float(rng.uniform(-12, 12)), rng.uniform(0, 0.12, (4, 2))
    light, contrast, gamma = (float(np.exp(rng.uniform(-s, s))) for s in (0.4, 0.35, 0.35))
    tints = torch.tensor(np.exp(rng.uniform(-0.15, 0.15, (3, 1, 1)))).float()
    blur, dark = float(rng.uniform(0.1, 1.8)), float(rng.uniform(0, 0.6))
    noise, quality = float(rng.uniform(0, 0.08)), int(rng.integers(15, 90))
    compress = v2.JPEG(quality)

    def see(picture: Picture) -> Picture:
        colours = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        image = torch.from_numpy(colours.copy()).permute(2, 0, 1)
        height, width = image.shape[1:]
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * [width - 1, height - 1]
        inward = tilt * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [width, height]
        starts, ends = corners.tolist(), (corners + inward).round().astype(int).tolist()
        fill = [float(v) for v in image.float().mean(dim=(1, 2))]
        image = functional.perspective(image, ends, starts, fill=fill)
        image = functional.rotate(image, turn, fill=fill)
        values = functional.adjust_contrast(image.float() / 255 * light, contrast).clamp(0, 1)
        values = functional.adjust_gamma(values, gamma) * (tints if picture.ndim == 3 else 1)
        values = functional.gaussian_blur(values, [9, 9], [blur * min(height, width) / 96 + 0.05])
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
        )
        grain = torch.tensor(rng.normal(0, noise, (height, width))).float()
        values = values * (1 - dark * (x**2 + y**2) / 2) + grain
        seen = compress((values.clamp(0, 1) * 255).round().byte()).permute(1, 2, 0).numpy()
        return np.asarray(seen if picture.ndim == 3 else seen.mean(axis=2).round().astype(np.uint8))

    return see
