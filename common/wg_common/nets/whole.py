"""Whole networks: what every kind of them has in common, whatever records it is for.

A *kind* says how records become one batch of arrays, and builds a trunk of a given width; here are
the sizes by name, and all that is done with a trunk without knowing its kind. A head of one row a
class stands on its 64 features.

Tensors: ``trunk.*`` as the kind's module names them, ``head.weight`` ``[K, 64]`` and ``head.bias``
``[K]``. A batch has one record in each row of its first axis, so that rows can be chosen from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.nets import cnn, cnn1d
from wg_common.nets.encoder import Modality, Records

FEATURES = 64
TRUNK = "trunk."
"""Prefix of the trunk's tensors."""
_BATCH = 64

Batch = NDArray[Any]
"""Records as ``prepared`` gives them: uint8 ``[n, 3, 64, 64]``, or float16 ``[n, C, ROW]``."""
Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of whole networks.

    Attributes:
        modality: What records it takes.
        widths: Channels of the first convolution, by architecture.
        trunk: From a width and a number of features to a module; it takes a batch as float32.
        prepare: Records of any sizes as one batch; raises ``DataError``.
        last: How the names of layers of the last stage begin.
    """

    modality: Modality
    widths: Mapping[str, int]
    trunk: Callable[[int, int], nn.Module]
    prepare: Callable[[Records], Batch]
    last: tuple[str, ...]


IMAGES = Kind(
    "images",
    {"cnn-s": 8, "cnn-m": 16, "cnn-l": 40},
    cnn.Cnn,
    cnn.prepared,
    ("blocks.3.", "blocks.4.", "project"),
)
"""24, 82 and 476 thousand parameters."""
WINDOWS = Kind(
    "windows",
    {"cnn1d-s": 8, "cnn1d-m": 16},
    cnn1d.Cnn1d,
    cnn1d.prepared,
    ("blocks.3.", "blocks.4.", "code", "project"),
)
"""39 and 82 thousand parameters."""
KINDS: Mapping[str, Kind] = {name: kind for kind in (IMAGES, WINDOWS) for name in kind.widths}
"""The kind of each architecture."""


class NetworkModel(nn.Module):
    """A prepared batch to logits: trunk and head."""

    def __init__(self, trunk: nn.Module, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, batch: Tensor) -> Tensor:
        """Logits ``[n, K]``."""
        logits: Tensor = self.head(self.trunk(batch.float()))
        return logits


def width(architecture: str) -> int:
    """Channels of the first convolution; larger networks have more."""
    return KINDS[architecture].widths[architecture]


def prepared(architecture: str, records: Records) -> Batch:
    """Records of any sizes as one batch.

    Raises:
        DataError: A record has another type or shape.
    """
    return KINDS[architecture].prepare(records)


def as_input(batch: Tensor) -> Tensor:
    """A batch as a trunk takes it, in the layout that is fast: channels last for images."""
    found = batch.float()
    return found.contiguous(memory_format=torch.channels_last) if found.ndim == 4 else found


def build_trunk(architecture: str) -> nn.Module:
    """A trunk of whatever weights torch gives it."""
    return KINDS[architecture].trunk(width(architecture), FEATURES)


def trunk_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Names (with prefix) and shapes of the trunk's tensors, in the network's order."""
    with torch.device("meta"):
        state = build_trunk(architecture).state_dict()
    return {TRUNK + name: tuple(value.shape) for name, value in state.items()}


def load_trunk(architecture: str, tensors: Tensors) -> nn.Module:
    """A trunk with the ``trunk.*`` tensors given; others are ignored. In evaluation mode."""
    module = build_trunk(architecture)
    module.load_state_dict(
        {
            name.removeprefix(TRUNK): torch.from_numpy(np.array(value))
            for name, value in tensors.items()
            if name.startswith(TRUNK)
        }
    )
    return module.eval()


def trunk_tensors(trunk: nn.Module) -> dict[str, NDArray[np.float32]]:
    """A trunk's tensors, with their prefix, copied."""
    return {TRUNK + name: value.numpy().copy() for name, value in trunk.state_dict().items()}


def draw_trunk(architecture: str, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """A random trunk: matrices scaled by their inputs, norms at rest."""
    found = {}
    for name, shape in trunk_shapes(architecture).items():
        if len(shape) == 1:
            value = np.ones(shape) if name.endswith("norm.weight") else np.zeros(shape)
        else:
            value = rng.normal(0, float(np.prod(shape[1:])) ** -0.5, shape)
        found[name] = value.astype(np.float32)
    return found


def features(trunk: nn.Module, batch: Batch) -> NDArray[np.float32]:
    """Features ``[n, 64]`` of a batch from ``prepared``."""
    found = [np.zeros((0, FEATURES), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(batch), _BATCH):
            found.append(trunk(as_input(torch.from_numpy(batch[start : start + _BATCH]))).numpy())
    return np.concatenate(found)


def together(trunk: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """Features of all records of several batches, in their order; differentiable.

    Batches whose records are of one shape run as one, and none is padded to another's shape.
    """
    shapes: dict[tuple[int, ...], list[int]] = {}
    for number, batch in enumerate(batches):
        shapes.setdefault(batch.shape[1:], []).append(number)
    found: dict[int, Tensor] = {}
    for numbers in shapes.values():
        joined = np.concatenate([batches[number] for number in numbers])
        out = trunk(as_input(torch.from_numpy(joined)))
        sizes = [len(batches[number]) for number in numbers]
        found.update(zip(numbers, out.split(sizes), strict=True))
    return torch.cat([found[number] for number in range(len(batches))])
