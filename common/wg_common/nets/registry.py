"""Architectures by name: what tensors they have, how they start, and how they run.

``lite0-head``: the public encoder, frozen, and one linear layer. Generated tensors are
``head.weight`` ``[K, d]`` and ``head.bias`` ``[K]``; logits = features @ weight.T + bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.errors import ConfigError, DecodeError
from wg_common.nets.encoder import Encoder, EncoderModule

LITE0_HEAD = "lite0-head"
HEAD_PLAN = "head"
HEAD_WEIGHT = "head.weight"
HEAD_BIAS = "head.bias"

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One kind of network.

    Attributes:
        name: Its name in manifests.
        plans: Names of the weight plans that it can be generated under.
    """

    name: str
    plans: tuple[str, ...]


ARCHITECTURES: Mapping[str, Architecture] = {LITE0_HEAD: Architecture(LITE0_HEAD, (HEAD_PLAN,))}


class HeadModel(nn.Module):
    """Images ``[n, 3, p, p]`` of 0 to 255 (uint8 or float), p the encoder's pixels, to logits."""

    def __init__(self, encoder: EncoderModule, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[n, K]``."""
        logits: Tensor = self.head(self.encoder(images.float()))
        return logits


def tensor_shapes(architecture: str, classes: int, dimension: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the generated tensors.

    Raises:
        ConfigError: No such architecture.
    """
    _known(architecture)
    return {HEAD_WEIGHT: (classes, dimension), HEAD_BIAS: (classes,)}


def check_tensors(architecture: str, tensors: Tensors, classes: int, dimension: int) -> None:
    """Refuse tensors that are not those of the architecture.

    Raises:
        DecodeError: A name, shape or type is wrong, or a value is not finite.
        ConfigError: No such architecture.
    """
    expected = tensor_shapes(architecture, classes, dimension)
    found = {name: value.shape for name, value in tensors.items()}
    if found != expected:
        raise DecodeError(f"{architecture}: tensors {found}, expected {expected}")
    for name, value in tensors.items():
        if value.dtype != np.float32 or not np.isfinite(value).all():
            raise DecodeError(f"{architecture}: tensor {name!r} is not finite float32")


def initial_tensors(
    architecture: str, classes: int, dimension: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """A random start: the reference that every other candidate should beat.

    Args:
        architecture: Name in the registry.
        classes: K.
        dimension: d.
        rng: Where the weights come from.
    """
    shapes = tensor_shapes(architecture, classes, dimension)
    weight = rng.normal(0, dimension**-0.5, shapes[HEAD_WEIGHT])
    return {
        HEAD_WEIGHT: weight.astype(np.float32),
        HEAD_BIAS: np.zeros(shapes[HEAD_BIAS], np.float32),
    }


def build_model(
    architecture: str, encoder: Encoder, tensors: Tensors, labels: Sequence[str]
) -> nn.Module:
    """A network ready to run or to export.

    Args:
        architecture: Name in the registry.
        encoder: The public encoder.
        tensors: Generated tensors.
        labels: Label domain, in the order of class rows.

    Returns:
        A module in evaluation mode; input as ``HeadModel`` says.

    Raises:
        DecodeError: The tensors are not those of the architecture.
        ConfigError: No such architecture.
    """
    check_tensors(architecture, tensors, len(labels), encoder.dimension)
    weight, bias = (torch.from_numpy(tensors[name].copy()) for name in (HEAD_WEIGHT, HEAD_BIAS))
    return HeadModel(encoder.module, weight, bias).eval()


def _known(architecture: str) -> Architecture:
    try:
        return ARCHITECTURES[architecture]
    except KeyError:
        names = ", ".join(ARCHITECTURES)
        raise ConfigError(f"architecture {architecture!r}: expected one of {names}") from None
