"""Small convolutional networks for edge devices, in three sizes.

Five convolutions with group norm (Wu and He, ECCV 2018: no batch statistics, so one record never
changes another's output), read at two scales as the encoder is: mean and standard deviation over
space, then one linear layer to 64 features. A head of one row a class stands on these.

Tensors: ``trunk.*`` as ``Cnn`` names them, ``head.weight`` ``[K, 64]`` and ``head.bias`` ``[K]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.nets import trunk as trunks

PIXELS = 64
FEATURES = 64
WIDTHS: Mapping[str, int] = {"cnn-s": 8, "cnn-m": 16, "cnn-l": 40}
"""Channels of the first convolution: 24, 82 and 476 thousand parameters."""
TRUNK = "trunk."
"""Prefix of the trunk's tensors."""

_BATCH = 64
_GROUP = 8
Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]


class Cnn(nn.Module):
    """Images ``[n, 3, 64, 64]``, 0 to 255, to features ``[n, 64]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                _Block(3, width, 2),
                _Block(width, 2 * width, 2),
                _Block(2 * width, 2 * width, 1),
                _Block(2 * width, 4 * width, 2),
                _Block(4 * width, 4 * width, 1),
            ]
        )
        self.project = nn.Linear(2 * (2 * width) + 2 * (4 * width), FEATURES)

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[n, 64]``."""
        x = images / 127.5 - 1.0  # [n, 3, 64, 64]
        found = []
        for number, block in enumerate(self.blocks):
            x = block(x)  # [n, c, h, w]
            if number in (2, 4):
                mean = x.mean(dim=(2, 3), keepdim=True)
                spread = torch.sqrt((x - mean).square().mean(dim=(2, 3)) + 1e-6)
                found += [mean.flatten(1), spread]
        out: Tensor = self.project(torch.cat(found, dim=1))
        return out


class CnnModel(nn.Module):
    """Images to logits: trunk and head."""

    def __init__(self, trunk: Cnn, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[n, K]`` of images ``[n, 3, 64, 64]`` of 0 to 255 (uint8 or float)."""
        logits: Tensor = self.head(self.trunk(images.float()))
        return logits


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.GroupNorm(max(1, outputs // _GROUP), outputs)
        self.skip = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.silu(self.norm(self.conv(x)))
        return x + y if self.skip else y


def trunk_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Names (with prefix) and shapes of the trunk's tensors, in the network's order."""
    with torch.device("meta"):
        state = Cnn(WIDTHS[architecture]).state_dict()
    return {TRUNK + name: tuple(value.shape) for name, value in state.items()}


def load_trunk(architecture: str, tensors: Mapping[str, NDArray[np.float32]]) -> Cnn:
    """A trunk with the ``trunk.*`` tensors given; others are ignored. In evaluation mode."""
    module = Cnn(WIDTHS[architecture])
    module.load_state_dict(
        {
            name.removeprefix(TRUNK): torch.from_numpy(np.array(value))
            for name, value in tensors.items()
            if name.startswith(TRUNK)
        }
    )
    return module.eval()


def trunk_tensors(trunk: Cnn) -> dict[str, NDArray[np.float32]]:
    """A trunk's tensors, with their prefix, copied."""
    return {TRUNK + name: value.numpy().copy() for name, value in trunk.state_dict().items()}


def draw_trunk(architecture: str, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """A random trunk: convolutions and the projection scaled by their inputs, norms at rest."""
    found = {}
    for name, shape in trunk_shapes(architecture).items():
        if len(shape) == 1:
            value = np.ones(shape) if name.endswith("norm.weight") else np.zeros(shape)
        else:
            value = rng.normal(0, float(np.prod(shape[1:])) ** -0.5, shape)
        found[name] = value.astype(np.float32)
    return found


def prepared(images: Images) -> NDArray[np.uint8]:
    """Images of any size as one batch ``[n, 3, 64, 64]`` of uint8, for training.

    Raises:
        DataError: An image has another type or shape.
    """
    found = np.zeros((len(images), 3, PIXELS, PIXELS), np.uint8)
    for start in range(0, len(images), _BATCH):
        part = trunks.prepare(list(images[start : start + _BATCH]), PIXELS)
        found[start : start + _BATCH] = part.round().clamp(0, 255).to(torch.uint8).numpy()
    return found


def features(trunk: Cnn, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features ``[n, 64]`` of images from ``prepared``."""
    found = [np.zeros((0, FEATURES), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(batch), _BATCH):
            found.append(trunk(torch.from_numpy(batch[start : start + _BATCH]).float()).numpy())
    return np.concatenate(found)
