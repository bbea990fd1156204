"""Architectures by name: what tensors they have, how they start, and how they run.

``lite0-head``: the public encoder, frozen, and one linear layer. Generated tensors are
``head.weight`` ``[K, d]`` and ``head.bias`` ``[K]``; logits = features @ weight.T + bias.

``window-head``: the same tensors on the encoder of sensor windows.

``cnn-s``, ``cnn-m``, ``cnn-l``: whole small networks for images (``wg_common.nets.cnn``).

``cnn1d-s``, ``cnn1d-m``: whole small networks for sensor windows (``wg_common.nets.cnn1d``).

``lite0``: the public encoder's network with norms, deltas of low rank and a head of its own
(``wg_common.nets.lite0``).

A set of tensors of a whole network is always all of it, whatever part the weight plan generates;
the rest is the public base's. The encoder has no part in running them, but for ``lite0``: its base
is the encoder, and no set holds what is the encoder's. What is done with them without knowing their
kind is in ``wg_common.nets.network``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.errors import ConfigError, DecodeError
from wg_common.nets import network as networks
from wg_common.nets.encoder.module import Encoder, EncoderModule
from wg_common.nets.encoder.package import Modality

LITE0_HEAD = "lite0-head"
WINDOW_HEAD = "window-head"
HEADS: Mapping[Modality, str] = {"images": LITE0_HEAD, "windows": WINDOW_HEAD}
"""Architecture of a head by the modality of the encoder that it stands on."""
HEAD_PLAN = "head"
NETWORK_PLANS = ("head", "norm", "low-rank", "layers", "whole")
HEAD_WEIGHT = "head.weight"
HEAD_BIAS = "head.bias"

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Architecture:
    """One kind of network.

    Attributes:
        name: Its name in manifests.
        modality: What records it takes.
        plans: Names of the weight plans that it can be generated under, the widest last.
        whole: Whether the tensors hold a trunk of their own, rather than a head on the encoder.
    """

    name: str
    modality: Modality
    plans: tuple[str, ...]
    whole: bool = False

    def widest(self, plan: str) -> str:
        """A weight plan by name, or the widest that there is of one that is wider."""
        return plan if plan in self.plans or plan not in NETWORK_PLANS else self.plans[-1]


ARCHITECTURES: Mapping[str, Architecture] = {
    **{name: Architecture(name, modality, (HEAD_PLAN,)) for modality, name in HEADS.items()},
    **{
        name: Architecture(name, kind.modality, kind.plans, whole=True)
        for name, kind in networks.KINDS.items()
    },
}


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
        features = self.encoder(images.float())  # [n, D], those that are released first
        logits: Tensor = self.head(features[:, : self.head.in_features])
        return logits


def tensor_shapes(architecture: str, classes: int, dimension: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the generated tensors.

    Raises:
        ConfigError: No such architecture.
    """
    head = {HEAD_WEIGHT: (classes, dimension), HEAD_BIAS: (classes,)}
    if not known(architecture).whole:
        return head
    trunk = networks.own_shapes(architecture)
    return trunk | head | {HEAD_WEIGHT: (classes, networks.feature_count(architecture))}


def check_tensors(architecture: str, tensors: Tensors, classes: int, dimension: int) -> None:
    """Refuse tensors that are not those of the architecture.

    Raises:
        DecodeError: A name, shape or type is wrong, or a value is not finite.
        ConfigError: No such architecture.
    """
    expected = tensor_shapes(architecture, classes, dimension)
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    if found != expected:
        wrong = sorted(k for k in expected | found if expected.get(k) != found.get(k))
        raise DecodeError(
            f"{architecture}: tensor {wrong[0]!r}: {found.get(wrong[0])}, expected"
            f" {expected.get(wrong[0])}"
        )
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
    trunk = {}
    if known(architecture).whole:
        trunk = networks.own(architecture, networks.draw_trunk(architecture, rng))
    weight = rng.normal(0, shapes[HEAD_WEIGHT][1] ** -0.5, shapes[HEAD_WEIGHT])
    return trunk | {
        HEAD_WEIGHT: weight.astype(np.float32),
        HEAD_BIAS: np.zeros(shapes[HEAD_BIAS], np.float32),
    }


def build_model(
    architecture: str, encoder: Encoder | None, tensors: Tensors, labels: Sequence[str]
) -> nn.Module:
    """A network ready to run or to export.

    Args:
        architecture: Name in the registry.
        encoder: The public encoder; whole networks need none, unless they stand on it.
        tensors: Generated tensors, or a plant's: its heads stand on the local features.
        labels: Label domain, in the order of class rows.

    Returns:
        A module in evaluation mode; input as ``HeadModel`` says, or as a whole network's kind
        deploys it: images as ``cnn.prepared`` gives them, or windows as ``cnn1d.prepared`` does.

    Raises:
        DecodeError: The tensors are not those of the architecture.
        ConfigError: No such architecture, or no encoder where it needs one.
    """
    whole = known(architecture).whole
    if encoder is None and not whole:
        raise ConfigError(f"{architecture}: needs the encoder")
    dimension = 0 if encoder is None else encoder.dimension
    if encoder is not None and tensors[HEAD_WEIGHT].shape[1:] == (encoder.local_dimension,):
        dimension = encoder.local_dimension
    check_tensors(architecture, tensors, len(labels), dimension)
    weight, bias = (torch.from_numpy(tensors[name].copy()) for name in (HEAD_WEIGHT, HEAD_BIAS))
    if encoder is None or whole:
        return networks.build(architecture, networks.complete(architecture, tensors, encoder))
    return HeadModel(encoder.module, weight, bias).eval()


def known(architecture: str) -> Architecture:
    """The architecture of a name.

    Raises:
        ConfigError: No such architecture.
    """
    try:
        return ARCHITECTURES[architecture]
    except KeyError:
        names = ", ".join(ARCHITECTURES)
        raise ConfigError(f"architecture {architecture!r}: expected one of {names}") from None
