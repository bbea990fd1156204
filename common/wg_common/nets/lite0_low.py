"""Family network from the first eight blocks of EfficientNet-Lite0, for images of 64 pixels.

The operator trains all of its weights at simulated sites (``wg_common.nets.family_network``). They
start from ImageNet's weights, because a few hundred records do not suffice for a network with
random initial weights. Each batch norm becomes a norm that standardises by the records of a site
(``site_norms``).

Images have 64 pixels a side, so the last map has a side of four. Features are mean and standard
deviation over space of the maps of two blocks, as for the encoder's stages
(``encoder.image_trunk``). A package holds the whole trunk, a quarter of a million numbers.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.modalities.images import NETWORK_SIDE_PIXELS
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.encoder.trunk import Records
from wg_common.nets.network import TRUNK_TENSOR_PREFIX, NetworkKind
from wg_common.nets.site_norms import ChannelScale

FEATURE_BLOCK_INDICES = (4, 7)  # Indices of the blocks whose maps give features
_STEM_CHANNELS = 32
_BATCH_IMAGES = 64  # Number of images resized at once
_BLOCK_SETTINGS = (
    (16, 3, 1, 1),
    (24, 3, 2, 6),
    (24, 3, 1, 6),
    (40, 5, 2, 6),
    (40, 5, 1, 6),
    (80, 3, 2, 6),
    (80, 3, 1, 6),
    (80, 3, 1, 6),
)
"""Output channels, side of the kernel, stride and expansion factor of each block."""
FEATURE_COUNT = 2 * sum(_BLOCK_SETTINGS[block][0] for block in FEATURE_BLOCK_INDICES)


class FirstLite0Blocks(nn.Module):
    """Trunk from images ``[n, 3, 64, 64]``, 0 to 255, to features ``[n, FEATURE_COUNT]``."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, values in zip(("mean", "std"), trunks.IMAGENET_CHANNEL_MOMENTS, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.stem = _ConvolutionLayer(3, _STEM_CHANNELS, 3, stride=2)
        self.blocks = nn.ModuleList()
        channels = _STEM_CHANNELS
        for out, side, stride, expansion in _BLOCK_SETTINGS:
            self.blocks.append(_build_block(channels, out, side, stride, expansion))
            channels = out

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``[n, FEATURE_COUNT]`` of images ``[n, 3, 64, 64]``, 0 to 255."""
        x = F.relu6(self.stem((images / 255.0 - self.mean) / self.std))
        columns: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            x = block(x)  # [n, c, h, w]
            if number in FEATURE_BLOCK_INDICES:
                columns += trunks.spatial_statistics(x)
        return torch.cat(columns, dim=1)


class _ConvolutionLayer(nn.Module):
    """Convolution of the network, with TensorFlow's padding, followed by a norm."""

    def __init__(
        self,
        input_channels: int,
        output_channels: int,
        kernel_side: int,
        *,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        # TensorFlow, the network's origin, pads more on the right and below with stride two.
        self.pads = [] if stride == 1 else [kernel_side // 2 - 1, kernel_side // 2] * 2
        around = 0 if self.pads else kernel_side // 2
        self.conv = nn.Conv2d(
            input_channels,
            output_channels,
            kernel_side,
            stride=stride,
            padding=around,
            groups=groups,
            bias=False,
        )
        self.norm = ChannelScale(output_channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(F.pad(x, self.pads) if self.pads else x))
        return out


def _build_block(
    input_channels: int, output_channels: int, kernel_side: int, stride: int, expansion: int
) -> trunks.InvertedResidualBlock:
    inner = input_channels * expansion
    return trunks.InvertedResidualBlock(
        _ConvolutionLayer(input_channels, inner, 1) if expansion > 1 else None,
        _ConvolutionLayer(inner, inner, kernel_side, stride=stride, groups=inner),
        _ConvolutionLayer(inner, output_channels, 1),
        has_skip=stride == 1 and input_channels == output_channels,
    )


def prepare_images(images: Records) -> NDArray[np.uint8]:
    """Resize valid images to one batch ``[n, 3, 64, 64]`` for the network."""
    batch = np.zeros((len(images), 3, NETWORK_SIDE_PIXELS, NETWORK_SIDE_PIXELS), np.uint8)
    for start in range(0, len(images), _BATCH_IMAGES):
        part = trunks.resize_images(
            list(images[start : start + _BATCH_IMAGES]), NETWORK_SIDE_PIXELS
        )
        batch[start : start + _BATCH_IMAGES] = part.round().clamp(0, 255).to(torch.uint8).numpy()
    return batch


def imagenet_tensors() -> dict[str, NDArray[np.float32]]:
    """Return ImageNet's weights as tensors ``trunk.*`` of this architecture, from which to train.

    Raises:
        ConfigError: The package of the weights is missing, or its file is not the pinned one.
    """
    public = trunks.imagenet_network()
    tensors = {
        f"stem.{name}": value for name, value in _layer_tensors(public._conv_stem, public._bn0)
    }
    for number, block in enumerate(public._blocks[: len(_BLOCK_SETTINGS)]):
        layers = {
            "expand": (getattr(block, "_expand_conv", None), getattr(block, "_bn0", None)),
            "depthwise": (block._depthwise_conv, block._bn1),
            "project": (block._project_conv, block._bn2),
        }
        for layer, (conv, norm) in layers.items():
            if conv is not None:
                for name, value in _layer_tensors(conv, norm):
                    tensors[f"blocks.{number}.{layer}.{name}"] = value
    return {
        TRUNK_TENSOR_PREFIX + name: value.detach().numpy().copy() for name, value in tensors.items()
    }


def _layer_tensors(conv: Any, norm: Any) -> list[tuple[str, Tensor]]:
    """Return a convolution's and its batch norm's tensors by names in ``_ConvolutionLayer``."""
    return [("conv.weight", conv.weight), ("norm.weight", norm.weight), ("norm.bias", norm.bias)]


NETWORK = NetworkKind(
    make_trunk=FirstLite0Blocks,
    prepare_records=prepare_images,
    feature_count=FEATURE_COUNT,
    published_tensors=imagenet_tensors,
    modulation_rank=8,
)
