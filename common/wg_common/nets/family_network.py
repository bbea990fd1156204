"""Whole networks of a plant's family, beside the encoder: what a head of the family lacks.

The encoder is frozen, so no head on it sees more than ImageNet's features show under a plant's
camera. A small network that the operator trained end to end on own records of the family, at
made-up sites without end, sees other things. Its norms and its features are standardised by each
plant's own records (``wg_common.nets.site_norms``, ``wg_common.inference.family_head``), and its
logits stand beside those of the family's head. A small network that
learnt all from the family's records, and the first blocks of ImageNet's, err on other records, so
that one of each comes.

As tensors: ``network.ARCHITECTURE.trunk.*`` as the architecture names them, and
``network.ARCHITECTURE.`` before the names of a ``NetworkHead`` on its features. In a package
trunks, and what a site makes of them, are of float16: half the bytes, and the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common import catalogue
from wg_common.inference import family_head, hostile_tensors
from wg_common.inference.family_head import NetworkHead
from wg_common.modalities.base import Record
from wg_common.modalities.images import ENCODER_PIXELS, PIXELS
from wg_common.nets import network, site_norms
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.encoder.trunk import Records
from wg_common.nets.network import RecordTrunk
from wg_core.errors import DecodeError

PREFIX = "network."  # Of all their tensors

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class FamilyNetwork:
    """A trunk, and the family's head on its features, for K classes.

    Attributes:
        architecture: Name in the catalogue, of a network that does not stand on the encoder.
        trunk: Its ``trunk.*`` tensors.
        head: On its F features, standardised; with what its norms are at a typical site.
    """

    architecture: str
    trunk: Tensors
    head: NetworkHead

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """As float32 tensors, by name."""
        tensors = {**self.trunk, **self.head.tensors()}
        return {name: value.astype(np.float32) for name, value in tensors.items()}

    def of_classes(self, rows: NDArray[np.integer[Any]]) -> FamilyNetwork:
        """The same for some classes, in this order."""
        return replace(self, head=self.head.of_classes(rows))

    def at(self, records: Records, settings: Mapping[str, str]) -> FamilyNetwork:
        """The same with the trunk of one site, whose norms its records standardise.

        Args:
            records: Valid images of the site, labelled or not, at least one.
            settings: Of the encoder's trunk.
        """
        sample = [records[row] for row in site_norms.some(len(records))]
        batch = _pooled(trunks.encoder_batch(sample, pixels := _pixels(settings)), pixels)
        trunk = site_norms.at_site(self.architecture, self.trunk, self.head, batch)
        return replace(self, trunk=trunk)


class TrunkBeside(nn.Module):
    """A family's networks on the batch of images that the encoder sees: M trunks, side by side.

    Args:
        architectures: That there may be, by their names in the catalogue; all for images.
        tensors: ``ARCHITECTURE.trunk.*`` of each; from ``trunk_tensors``.
        settings: Of the encoder's trunk.

    Raises:
        DecodeError: One is of another architecture.
    """

    def __init__(
        self, architectures: Sequence[str], tensors: Tensors, settings: Mapping[str, str]
    ) -> None:
        super().__init__()
        self.pixels = _pixels(settings)
        members = _members(tensors, architectures)
        self.trunks = nn.ModuleList(
            trunks.channels_last(network.load_trunk(name, trunk)) for name, trunk in members.items()
        )
        self.widths = [network.feature_count(name) for name in members]

    @property
    def width(self) -> int:
        """Number of their features."""
        return sum(self.widths)

    def forward(self, batch: Tensor) -> Tensor:
        """Features ``[n, width]`` of images ``[n, 3, pixels, pixels]``, 0 to 255."""
        pooled = _pooled(batch, self.pixels)
        return torch.cat([trunk(pooled) for trunk in self.trunks], dim=1)

    def features(self, records: Iterable[Record]) -> NDArray[np.float32]:
        """Features ``[n, width]`` of valid images; what is not finite counts as 0."""
        with torch.inference_mode():
            return network.in_chunks(
                records, lambda chunk: self(trunks.encoder_batch(chunk, self.pixels)).numpy()
            )


def stored_trunks(
    architectures: Sequence[str], tensors: Tensors, settings: Mapping[str, str]
) -> TrunkBeside | RecordTrunk:
    """The networks beside the encoder that a plant's models stand on; arguments as of the class."""
    if architectures[0] not in catalogue.NETWORKS:
        return TrunkBeside(architectures, tensors, settings)
    (architecture,) = architectures
    return RecordTrunk(architecture, _members(tensors, architectures)[architecture])


def _pixels(settings: Mapping[str, str]) -> int:
    """Side of images that the encoder sees, a multiple of ``PIXELS``."""
    return int(settings.get("pixels", ENCODER_PIXELS))


def _pooled(batch: Tensor, pixels: int) -> Tensor:
    return F.avg_pool2d(batch, pixels // PIXELS)


def packed(networks: Sequence[FamilyNetwork]) -> dict[str, NDArray[np.float32]]:
    """The tensors of a family's networks, beside those of its head."""
    return {
        f"{PREFIX}{member.architecture}.{name}": value
        for member in networks
        for name, value in member.tensors().items()
    }


def in_half(networks: Sequence[FamilyNetwork]) -> dict[str, NDArray[np.floating]]:
    """As ``packed``, for a package: what does not grow with the classes is of float16.

    A tensor with a number that float16 has not, beyond 65,504, stays as it is.
    """
    return {
        name: value.astype(np.float16) if _can_be_half(name, value) else value
        for name, value in packed(networks).items()
    }


def _can_be_half(name: str, value: NDArray[np.float32]) -> bool:
    tensor_name = name.removeprefix(PREFIX).partition(".")[2]
    large = tensor_name.startswith(network.TRUNK) or tensor_name in family_head.OF_NORMS
    return large and bool(np.abs(value).max(initial=0.0) <= np.finfo(np.float16).max)


def trunk_tensors(networks: Sequence[FamilyNetwork]) -> dict[str, NDArray[np.float32]]:
    """What a ``TrunkBeside`` of them is made of."""
    return {
        f"{member.architecture}.{name}": value
        for member in networks
        for name, value in member.trunk.items()
    }


def unpacked(
    tensors: Tensors, architectures: Sequence[str], classes: int
) -> tuple[FamilyNetwork, ...]:
    """Read what ``packed`` wrote, without ``PREFIX``; no tensors are no networks.

    Args:
        architectures: That there may be.

    Raises:
        DecodeError: A name or shape is wrong or beyond its limit, or a number is not finite.
    """
    members = _members(tensors, architectures)
    return tuple(_from_tensors(member, name, classes) for name, member in members.items())


def _from_tensors(tensors: Tensors, architecture: str, classes: int) -> FamilyNetwork:
    """Read what ``FamilyNetwork.tensors`` wrote; errors as of ``unpacked``."""
    trunk = network.trunk_only(tensors)
    head = {k: v for k, v in tensors.items() if k not in trunk}
    shapes = network.trunk_shapes(architecture)
    checked = hostile_tensors.checked("network of the family", trunk, shapes)
    return FamilyNetwork(
        architecture,
        {name: value.astype(np.float32) for name, value in checked.items()},
        head_from_tensors(head, architecture, classes),
    )


def head_from_tensors(tensors: Tensors, architecture: str, classes: int) -> NetworkHead:
    """The head of a network of a family, from its tensors; errors as of ``unpacked``."""
    features = network.feature_count(architecture)
    return family_head.network_head(tensors, classes, features, site_norms.shapes(architecture))


def _members(
    tensors: Tensors, architectures: Sequence[str]
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Tensors of each network, by architecture, in the order of these."""
    members: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, value in tensors.items():
        architecture, _, tensor_name = name.partition(".")
        members.setdefault(architecture, {})[tensor_name] = value
    if excess := sorted(set(members) - set(architectures)):
        expected = ", ".join(architectures) or "none"
        raise DecodeError(
            f"networks of the family: {excess[0]!r}, expected {expected}; what another version made"
            " is not read: fetch a new package"
        )
    return {name: members[name] for name in architectures if name in members}
