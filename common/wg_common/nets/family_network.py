"""Family network: a small image network that an operator trained for one family of plants.

It complements the family head (``wg_common.inference.family_head``), which is limited to features
of the frozen encoder. The operator trains the network end to end on its own records of the family,
at many simulated sites. Each plant standardises the network's norms (``wg_common.nets.site_norms``)
and features by the plant's own records, and combines its logits with those of the family head.

The tensors of the trunk are called ``network.ARCHITECTURE.trunk.*``, and those of the
``NetworkHead`` on its features ``network.ARCHITECTURE.*``. In a package, the trunk and the tensors
that adapt it to a site are float16, which halves the size and leaves predictions unchanged.
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
from wg_common.inference.hostile_tensors import Tensors
from wg_common.modalities.base import Record
from wg_common.modalities.images import ENCODER_SIDE_PIXELS, NETWORK_SIDE_PIXELS
from wg_common.nets import network, site_norms
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.encoder.trunk import Records
from wg_common.nets.network import NetworkTrunks
from wg_core.errors import DecodeError

TENSOR_PREFIX = "network."  # Prefix of the names of all family networks' tensors


@dataclass(frozen=True, slots=True, eq=False)
class FamilyNetwork:
    """Trained family network for K classes: a trunk, and a linear head on its features.

    Attributes:
        architecture: Name of the network in the catalogue.
        trunk_tensors: Tensors of the trunk, named ``trunk.*``.
        head: Head on the F standardised features, with tensors that adapt the trunk to a site.
    """

    architecture: str
    trunk_tensors: Tensors
    head: NetworkHead

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return the tensors of trunk and head as float32, named without ``TENSOR_PREFIX``."""
        tensors = {**self.trunk_tensors, **self.head.tensors()}
        return {name: value.astype(np.float32) for name, value in tensors.items()}

    def select_classes(self, rows: NDArray[np.integer[Any]]) -> FamilyNetwork:
        """Return the family network for the classes with indices ``rows``, in that order."""
        return replace(self, head=self.head.select_classes(rows))

    def adapt_to_site(self, records: Records, trunk_settings: Mapping[str, str]) -> FamilyNetwork:
        """Return the family network with its trunk adapted to one site's records.

        Args:
            records: Valid images of the site, labelled or not, at least one.
            trunk_settings: Settings of the encoder's trunk.
        """
        sample = [records[row] for row in site_norms.measured_rows(len(records))]
        batch = _pool_to_network_side(
            trunks.resized_batch(sample, pixels := _encoder_image_side(trunk_settings)), pixels
        )
        trunk = site_norms.adapt_trunk_to_site(
            self.architecture, self.trunk_tensors, self.head, batch
        )
        return replace(self, trunk_tensors=trunk)


class FamilyTrunk(nn.Module):
    """Trunk of a family's network that runs on the encoder's batch of images.

    Args:
        architecture: Name of an image network in the catalogue.
        trunk_tensors: Tensors ``trunk.*``, adapted to the plant's site.
        trunk_settings: Settings of the encoder's trunk.
    """

    def __init__(
        self, architecture: str, trunk_tensors: Tensors, trunk_settings: Mapping[str, str]
    ) -> None:
        super().__init__()
        self.pixels = _encoder_image_side(trunk_settings)
        self.trunk = trunks.to_channels_last(network.load_trunk(architecture, trunk_tensors))
        self.width = network.feature_count(architecture)

    def forward(self, batch: Tensor) -> Tensor:
        """Return features ``[n, width]`` of images ``[n, 3, pixels, pixels]``, 0 to 255."""
        features: Tensor = self.trunk(_pool_to_network_side(batch, self.pixels))
        return features

    def features(self, records: Iterable[Record]) -> NDArray[np.float32]:
        """Return features ``[n, width]`` of valid images, with 0 for values that are not finite."""
        with torch.inference_mode():
            return network.features_in_chunks(
                records, lambda chunk: self(trunks.resized_batch(chunk, self.pixels)).numpy()
            )


def rebuild_stored_trunk(
    architecture: str, tensors: Tensors, trunk_settings: Mapping[str, str]
) -> FamilyTrunk | NetworkTrunks:
    """Rebuild the network or networks that a plant's stored model uses in addition to the encoder.

    Args:
        architecture: Name in the catalogue.
        tensors: Stored tensors ``ARCHITECTURE.trunk.*``, or ``ARCHITECTURE.NUMBER.trunk.*`` for
            several networks.
        trunk_settings: Settings of the encoder's trunk.

    Raises:
        DecodeError: The tensors' names have another architecture.
    """
    values = _strip_architecture(architecture, tensors)
    if architecture in catalogue.PACKAGE_NETWORKS:
        return NetworkTrunks(architecture, network.split_by_trunk(values))
    return FamilyTrunk(architecture, values, trunk_settings)


def _encoder_image_side(trunk_settings: Mapping[str, str]) -> int:
    """Return the side of the encoder's input images, a multiple of ``NETWORK_SIDE_PIXELS``."""
    return int(trunk_settings.get("pixels", ENCODER_SIDE_PIXELS))


def _pool_to_network_side(batch: Tensor, pixels: int) -> Tensor:
    return F.avg_pool2d(batch, pixels // NETWORK_SIDE_PIXELS)


def pack_network(family_network: FamilyNetwork | None) -> dict[str, NDArray[np.float32]]:
    """Return a family network's tensors, named with ``TENSOR_PREFIX``; empty without a network."""
    if family_network is None:
        return {}
    prefix = f"{TENSOR_PREFIX}{family_network.architecture}."
    return {prefix + name: value for name, value in family_network.tensors().items()}


def pack_half_precision(family_network: FamilyNetwork | None) -> dict[str, NDArray[np.floating]]:
    """Return the tensors of ``pack_network``, with trunk and norms in float16, for a package.

    A tensor with a magnitude above 65,504, the largest float16, stays float32.
    """
    return {
        name: value.astype(np.float16) if _fits_half_precision(name, value) else value
        for name, value in pack_network(family_network).items()
    }


def _fits_half_precision(name: str, value: NDArray[np.float32]) -> bool:
    tensor_name = name.removeprefix(TENSOR_PREFIX).partition(".")[2]
    large = (
        tensor_name.startswith(network.TRUNK_TENSOR_PREFIX)
        or tensor_name in family_head.NORM_TENSORS
    )
    return large and bool(np.abs(value).max(initial=0.0) <= np.finfo(np.float16).max)


def unpack_network(tensors: Tensors, architecture: str, classes: int) -> FamilyNetwork | None:
    """Rebuild a family network from the tensors of ``pack_network``; None without tensors.

    Args:
        tensors: Tensors, named without ``TENSOR_PREFIX``.
        architecture: Name of the only accepted architecture; empty accepts none.
        classes: Number of classes K.

    Raises:
        DecodeError: A name or shape is wrong, or a number is not finite or beyond its limit.
    """
    if not tensors:
        return None
    values = _strip_architecture(architecture, tensors)
    trunk = network.select_trunk_tensors(values)
    tensors_checked = hostile_tensors.check_tensors(
        "network of the family", trunk, network.trunk_shapes(architecture)
    )
    head = family_head.network_head_from_tensors(
        {name: value for name, value in values.items() if name not in trunk},
        classes,
        network.feature_count(architecture),
        site_norms.network_head_shapes(architecture),
    )
    return FamilyNetwork(
        architecture,
        {name: value.astype(np.float32) for name, value in tensors_checked.items()},
        head,
    )


def _strip_architecture(architecture: str, tensors: Tensors) -> dict[str, NDArray[np.float32]]:
    """Strip ``ARCHITECTURE.`` from tensor names; ``DecodeError`` for any other architecture."""
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
