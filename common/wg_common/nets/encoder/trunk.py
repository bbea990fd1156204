"""What an encoder of one modality stands on: the torch half of a modality.

A modality names a module that has a ``TRUNK``: a subclass of ``EncoderTrunk``, which makes records
into tensors and these into raw features. It is public, frozen and pinned by a hash; only the
projection on top of it is fitted (``module``).
"""

import importlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.modalities.base import Record
from wg_common.modalities.registry import modality
from wg_core.errors import ConfigError

Records = Sequence[Record] | Record


class EncoderTrunk(nn.Module):
    """Prepared records to raw features ``[n, width]``.

    Attributes:
        label: Name in packages; another one for every change of a raw feature.
        width: Number of raw features.
        batch: Public records that run together; 1 where records differ in shape.
        devices: Whether it may run elsewhere than on the CPU.
        directions: Most directions of raw features among the local ones.
        whitening: How far these are made alike: each is divided by its variance to this power. 0:
            not at all, distances between raw features are kept; 0.5: all vary alike.
        local_norm: Median norm of what public records have along them, in clip radii.
        local_blocks: Sizes of the blocks of further local features that ``read`` gives. They have
            no public scale: a plant scales each by how much its own records vary.
    """

    label: ClassVar[str]
    width: ClassVar[int]
    batch: ClassVar[int] = 1
    devices: ClassVar[bool] = False
    directions: ClassVar[int]
    whitening: ClassVar[float] = 0.25
    local_norm: ClassVar[float] = 2.0
    local_blocks: ClassVar[tuple[int, ...]] = ()

    @classmethod
    @abstractmethod
    def digest(cls) -> str:
        """SHA-256 of all that is fixed in raw features, hex; packages are pinned to it."""

    @classmethod
    @abstractmethod
    def block_weights(cls) -> NDArray[np.float64]:
        """Weight of each number that ``reading`` gives, for the released directions, ``[m]``."""

    @classmethod
    def local_weights(cls) -> NDArray[np.float64]:
        """Weight of each raw feature for the local directions, ``[width]``."""
        return cls.block_weights()

    @classmethod
    def reading(cls) -> NDArray[np.float64] | None:
        """Raw features to what released directions are fitted on, ``[width, m]``; None: as is."""
        return None

    @classmethod
    def settings(cls, *, pixels: int = 0) -> dict[str, str]:
        """What of a zoo plan's settings stands in a package; 0 pixels are the usual side."""
        return {}

    @classmethod
    def from_settings(cls, metadata: Mapping[str, Any]) -> Self:
        """The trunk that a package's metadata name.

        Raises:
            DecodeError: A setting is out of range.
            ConfigError: What it needs is not installed.
        """
        cls.check_settings(metadata)
        return cls()

    @classmethod
    def check_settings(cls, metadata: Mapping[str, Any]) -> None:
        """Refuse settings out of range, without building anything: ``DecodeError``."""

    def read(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Raw features of prepared records, and further local ones, block by block.

        Raw features are those of ``forward``, to the last bit.
        """
        raw: Tensor = self(records)
        return raw, ()

    def maps(self, batch: Tensor) -> list[Tensor]:
        """Features by place, ``[n, c, h, w]`` each, of a batch from ``prepare``, for heat maps.

        Empty where records have no places.
        """
        return []

    @abstractmethod
    def bounds(self) -> NDArray[np.float64] | float:
        """Largest magnitude of each raw feature of any valid record, ``[width]``, or of all."""

    @abstractmethod
    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Up to ``batch`` valid records as one batch."""


def trunk_of(name: str) -> type[EncoderTrunk]:
    """The trunk of a modality.

    Raises:
        DecodeError: No such modality.
    """
    module = modality(name).trunk
    trunk = getattr(importlib.import_module(module), "TRUNK", None)
    if not (isinstance(trunk, type) and issubclass(trunk, EncoderTrunk)):
        raise ConfigError(f"{module}: has no TRUNK")
    return trunk
