"""Small convolutional networks for images.

Five convolutions with group norm (Wu and He, ECCV 2018: no batch statistics, so one record never
changes another's output), read at two scales as the encoder is: mean and standard deviation over
space, then one linear layer to the features.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.modalities.images import PIXELS
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.network import Kind
from wg_core.privacy.schema import DIMENSION

_BATCH = 64
_GROUP = 8
Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]


class Cnn(nn.Module):
    """Images ``[n, 3, 64, 64]``, 0 to 255, to features ``[n, features]``."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                _block(3, width, 2),
                _block(width, 2 * width, 2),
                _block(2 * width, 2 * width, 1),
                _block(2 * width, 4 * width, 2),
                _block(4 * width, 4 * width, 1),
            ]
        )
        self.project = nn.Linear(2 * (2 * width) + 2 * (4 * width), DIMENSION)

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[n, features]``."""
        x = images / 127.5 - 1.0  # [n, 3, 64, 64]
        statistics = []
        for number, block in enumerate(self.blocks):
            x = block(x)  # [n, c, h, w]
            if number in (2, 4):
                mean = x.mean(dim=(2, 3), keepdim=True)
                spread = torch.sqrt((x - mean).square().mean(dim=(2, 3)) + 1e-6)
                statistics += [mean.flatten(1), spread]
        out: Tensor = self.project(torch.cat(statistics, dim=1))
        return out


class Block(nn.Module):
    """A convolution of either kind, group norm, SiLU; with a skip where it keeps the shape."""

    def __init__(self, conv: nn.Module, channels: int, *, skip: bool) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.GroupNorm(max(1, channels // _GROUP), channels)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, or its halves."""
        y = F.silu(self.norm(self.conv(x)))
        return x + y if self.skip else y


def _block(inputs: int, outputs: int, stride: int) -> Block:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return Block(conv, outputs, skip=stride == 1)


def prepared(images: Images) -> NDArray[np.uint8]:
    """Valid images of any size as one batch ``[n, 3, 64, 64]`` of uint8, for training."""
    batch = np.zeros((len(images), 3, PIXELS, PIXELS), np.uint8)
    for start in range(0, len(images), _BATCH):
        part = trunks.prepare(list(images[start : start + _BATCH]), PIXELS)
        batch[start : start + _BATCH] = part.round().clamp(0, 255).to(torch.uint8).numpy()
    return batch


NETWORK = Kind(trunk=Cnn, prepare=prepared, site_norms=16)
