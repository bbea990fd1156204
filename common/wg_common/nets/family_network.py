"""Whole networks of a plant's family, beside the encoder: what a head of the family lacks.

The encoder is frozen, so no head on it sees more than ImageNet's features show under a plant's
camera. A small network that the operator trained end to end on own records of the family, at
made-up sites without end, sees other things. Its norms and its features are standardised by each
plant's own records (``wg_common.nets.site_norms``, ``wg_common.inference.family_head``), and its
logits stand beside those of the family's head (docs/decisions/0169, 0175). Two that learnt from
other made-up sites err on other records, so that two come (docs/decisions/0190).

As tensors: ``network.0.trunk.*`` as the architecture names them, and ``network.0.`` before the
names of a ``NetworkHead`` on its features; ``network.1.`` for the next one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.errors import DecodeError
from wg_common.inference import family_head, hostile_tensors
from wg_common.inference.family_head import NetworkHead
from wg_common.modalities.base import Record
from wg_common.modalities.images import ENCODER_PIXELS, PIXELS
from wg_common.nets import network, site_norms
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.encoder.trunk import Records

PREFIX = "network."  # Of all their tensors
MEMBER_LIMIT = 4
"""Networks of one family that stand beside its head."""
_BATCH = 64

Tensors = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class FamilyNetwork:
    """A trunk, and the family's head on its features, for K classes.

    Attributes:
        architecture: Name in the catalogue, of a whole network that does not stand on the encoder.
        trunk: Its ``trunk.*`` tensors.
        head: On its F features, standardised; with what its norms are at a typical site.
    """

    architecture: str
    trunk: Tensors
    head: NetworkHead

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """As float32 tensors, by name."""
        found = {**self.trunk, **self.head.tensors()}
        return {name: value.astype(np.float32) for name, value in found.items()}

    def of_classes(self, rows: NDArray[np.integer[Any]]) -> FamilyNetwork:
        """The same for some classes, in this order."""
        return replace(self, head=self.head.of_classes(rows))

    def at(self, records: Records, settings: Mapping[str, str]) -> FamilyNetwork:
        """The same with the trunk of one site, whose norms its records standardise.

        Args:
            records: Valid images of the site, labelled or not, at least one.
            settings: Of the encoder's trunk.
        """
        few = [records[row] for row in site_norms.some(len(records))]
        batch = _pooled(trunks.encoder_batch(few, pixels := _pixels(settings)), pixels)
        trunk = site_norms.at_site(self.architecture, self.trunk, self.head, batch)
        return replace(self, trunk=trunk)


class TrunkBeside(nn.Module):
    """A family's networks on the batch of images that the encoder sees: M trunks, side by side.

    Args:
        architecture: Name in the catalogue, of a whole network for images.
        tensors: ``0.trunk.*`` of the first one, and so on; from ``trunk_tensors``.
        settings: Of the encoder's trunk.

    Raises:
        DecodeError: They are not numbered from 0 on, or too many.
    """

    def __init__(self, architecture: str, tensors: Tensors, settings: Mapping[str, str]) -> None:
        super().__init__()
        self.pixels = _pixels(settings)
        self.trunks = nn.ModuleList(
            trunks.channels_last(network.load_trunk(architecture, own)) for own in _members(tensors)
        )
        self.width = network.feature_count(architecture) * len(self.trunks)

    def forward(self, batch: Tensor) -> Tensor:
        """Features ``[n, M F]`` of images ``[n, 3, pixels, pixels]``, 0 to 255."""
        seen = _pooled(batch, self.pixels)
        return torch.cat([trunk(seen) for trunk in self.trunks], dim=1)

    def features(self, records: Iterable[Record]) -> NDArray[np.float32]:
        """Features ``[n, M F]`` of valid images; what is not finite counts as 0."""
        rest = iter(records)
        found: list[NDArray[np.float32]] = []
        while (chunk := list(itertools.islice(rest, _BATCH))) or not found:
            with torch.inference_mode():
                found.append(self(trunks.encoder_batch(chunk, self.pixels)).numpy())
        joined = np.concatenate(found)
        return np.where(np.isfinite(joined), joined, np.float32(0))


def _pixels(settings: Mapping[str, str]) -> int:
    """Side of images that the encoder sees, a multiple of ``PIXELS``."""
    return int(settings.get("pixels", ENCODER_PIXELS))


def _pooled(batch: Tensor, pixels: int) -> Tensor:
    return F.avg_pool2d(batch, pixels // PIXELS)


def packed(networks: Sequence[FamilyNetwork]) -> dict[str, NDArray[np.float32]]:
    """The tensors of a family's networks in a package."""
    return {PREFIX + name: value for name, value in _numbered([n.tensors() for n in networks])}


def trunk_tensors(networks: Sequence[FamilyNetwork]) -> dict[str, NDArray[np.float32]]:
    """What a ``TrunkBeside`` of them is made of."""
    return dict(_numbered([network.trunk for network in networks]))


def unpacked(tensors: Tensors, architecture: str, classes: int) -> tuple[FamilyNetwork, ...]:
    """Read what ``packed`` wrote, without ``PREFIX``; no tensors are no networks.

    Raises:
        DecodeError: A name or shape is wrong or beyond its limit, or a number is not finite.
    """
    return tuple(from_tensors(own, architecture, classes) for own in _members(tensors))


def from_tensors(tensors: Tensors, architecture: str, classes: int) -> FamilyNetwork:
    """Read what ``FamilyNetwork.tensors`` wrote.

    Raises:
        DecodeError: As above.
    """
    if not architecture:
        raise DecodeError("network of the family: records of this modality have none")
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
    """The head of a network of a family, from its tensors.

    Raises:
        DecodeError: As above.
    """
    features = network.feature_count(architecture)
    return family_head.network_head(tensors, classes, features, site_norms.shapes(architecture))


def _numbered(each: Sequence[Tensors]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for number, tensors in enumerate(each):
        for name, value in tensors.items():
            yield f"{number}.{name}", value


def _members(tensors: Tensors) -> list[dict[str, NDArray[np.float32]]]:
    """The other way round."""
    found: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, value in tensors.items():
        number, _, own = name.partition(".")
        found.setdefault(number, {})[own] = value
    wanted = [str(number) for number in range(len(found))]
    if sorted(found) != wanted or len(found) > MEMBER_LIMIT:
        raise DecodeError(
            f"networks of the family: expected tensors of at most {MEMBER_LIMIT}, numbered from 0"
        )
    return [found[number] for number in wanted]
