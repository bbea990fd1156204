"""A whole network of a plant's family, beside the encoder: what a head of the family lacks.

The encoder is frozen, so no head on it sees more than ImageNet's features show under a plant's
camera. A small network that the operator trained end to end on own records of the family, at
made-up sites without end, sees other things. Its norms and its features are standardised by each
plant's own records (``wg_common.nets.site_norms``, ``wg_common.inference.family_head``), and its
logits stand beside those of the family's head.

As tensors: ``network.ARCHITECTURE.trunk.*`` as the architecture names them, and
``network.ARCHITECTURE.`` before the names of a ``NetworkHead`` on its features. In a package the
trunk, and what a site makes of it, are of float16: half the bytes, and the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

PREFIX = "network."  # Of all its tensors

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class FamilyNetwork:
    """A trunk, and the family's head on its features, for K classes.

    Attributes:
        architecture: Name in the catalogue, of a network that does not stand on the encoder.
        trunk: ``trunk.*`` tensors.
        head: On its F features, standardised; with what its norms are at a typical site.
    """

    architecture: str
    trunk: Tensors
    head: NetworkHead

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the parameters as float32 tensors, by name."""
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
        sample = [records[row] for row in site_norms.measured_rows(len(records))]
        batch = _pool_pixels(trunks.encoder_batch(sample, pixels := _pixels(settings)), pixels)
        trunk = site_norms.at_site(self.architecture, self.trunk, self.head, batch)
        return replace(self, trunk=trunk)


class TrunkBeside(nn.Module):
    """A family's network on the batch of images that the encoder sees.

    Args:
        architecture: Name in the catalogue, of a network for images.
        trunk: ``trunk.*`` tensors, for the plant's site.
        settings: Settings of the encoder's trunk.
    """

    def __init__(self, architecture: str, trunk: Tensors, settings: Mapping[str, str]) -> None:
        super().__init__()
        self.pixels = _pixels(settings)
        self.trunk = trunks.channels_last(network.load_trunk(architecture, trunk))
        self.width = network.feature_count(architecture)

    def forward(self, batch: Tensor) -> Tensor:
        """Features ``[n, width]`` of images ``[n, 3, pixels, pixels]``, 0 to 255."""
        features: Tensor = self.trunk(_pool_pixels(batch, self.pixels))
        return features

    def features(self, records: Iterable[Record]) -> NDArray[np.float32]:
        """Features ``[n, width]`` of valid images; what is not finite counts as 0."""
        with torch.inference_mode():
            return network.in_chunks(
                records, lambda chunk: self(trunks.encoder_batch(chunk, self.pixels)).numpy()
            )


def stored_trunk(
    architecture: str, tensors: Tensors, settings: Mapping[str, str]
) -> TrunkBeside | RecordTrunk:
    """Return the network, or the networks, beside the encoder that a plant's models stand on.

    Args:
        architecture: Name in the catalogue.
        tensors: ``ARCHITECTURE.trunk.*``, as models are kept with them; of several networks
            ``ARCHITECTURE.NUMBER.trunk.*``.
        settings: Settings of the encoder's trunk.

    Raises:
        DecodeError: The tensors are of another architecture.
    """
    values = _of(architecture, tensors)
    if architecture in catalogue.NETWORKS:
        return RecordTrunk(architecture, network.by_number(values))
    return TrunkBeside(architecture, values, settings)


def _pixels(settings: Mapping[str, str]) -> int:
    """Side of images that the encoder sees, a multiple of ``PIXELS``."""
    return int(settings.get("pixels", ENCODER_PIXELS))


def _pool_pixels(batch: Tensor, pixels: int) -> Tensor:
    return F.avg_pool2d(batch, pixels // PIXELS)


def pack_network(family_network: FamilyNetwork | None) -> dict[str, NDArray[np.float32]]:
    """The tensors of a family's network, beside those of its head; without one, none."""
    if family_network is None:
        return {}
    prefix = f"{PREFIX}{family_network.architecture}."
    return {prefix + name: value for name, value in family_network.tensors().items()}


def in_half(family_network: FamilyNetwork | None) -> dict[str, NDArray[np.floating]]:
    """Pack for a package, in float16 where the size does not grow with the classes.

    A tensor with a number that float16 has not, beyond 65,504, stays as it is.
    """
    return {
        name: value.astype(np.float16) if _can_be_half(name, value) else value
        for name, value in pack_network(family_network).items()
    }


def _can_be_half(name: str, value: NDArray[np.float32]) -> bool:
    tensor_name = name.removeprefix(PREFIX).partition(".")[2]
    large = tensor_name.startswith(network.TRUNK) or tensor_name in family_head.OF_NORMS
    return large and bool(np.abs(value).max(initial=0.0) <= np.finfo(np.float16).max)


def unpack_network(tensors: Tensors, architecture: str, classes: int) -> FamilyNetwork | None:
    """Read what ``pack_network`` wrote, without ``PREFIX``; no tensors are no network.

    Args:
        architecture: That it may be; empty: there may be none.

    Raises:
        DecodeError: A name or shape is wrong or beyond its limit, or a number is not finite.
    """
    if not tensors:
        return None
    values = _of(architecture, tensors)
    trunk = network.trunk_only(values)
    tensors_checked = hostile_tensors.check_tensors(
        "network of the family", trunk, network.trunk_shapes(architecture)
    )
    head = family_head.network_head(
        {name: value for name, value in values.items() if name not in trunk},
        classes,
        network.feature_count(architecture),
        site_norms.shapes(architecture),
    )
    return FamilyNetwork(
        architecture,
        {name: value.astype(np.float32) for name, value in tensors_checked.items()},
        head,
    )


def _of(architecture: str, tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """Tensors without the name of their network's architecture."""
    values: dict[str, NDArray[np.float32]] = {}
    for name, value in tensors.items():
        prefix, _, tensor_name = name.partition(".")
        if prefix != architecture:
            raise DecodeError(
                f"network of the family: {prefix!r}, expected {architecture or 'none'}; what"
                " another version made is not read: fetch a new package"
            )
        values[tensor_name] = value
    return values
