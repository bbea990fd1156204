"""What an encoder stands on: fixed networks, or fixed arithmetic, that see records.

A trunk makes records into tensors and these into raw features. It is public, frozen and pinned by a
hash; only the projection on top of it is fitted (``module``). There are three kinds, and nothing
tells one from the other behind this seam: modules that a modality names, each with a ``TRUNK`` (a
subclass of ``NamedTrunk``); such classes of installed extras, by entry points of the group
``EXTRAS`` that bear the modality's name; and files (``onnx_file.OnnxFile``).
"""

import importlib
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.modalities.base import Record
from wg_common.modalities.registry import modality
from wg_common.nets.encoder.trunk_choice import TrunkChoice
from wg_core.errors import ConfigError

EXTRAS = "weightgate.trunks"
Records = Sequence[Record] | Record


class EncoderTrunk(nn.Module):
    """Prepared records to raw features ``[n, width]``."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name in packages; another one for every change of a raw feature."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of raw features."""

    @property
    def batch(self) -> int:
        """Public records that run together; 1 where records differ in shape."""
        return 1

    @property
    def local_blocks(self) -> tuple[int, ...]:
        """Sizes of the blocks of further local features that ``read`` gives.

        They have no public scale: a plant scales each by how much its own records vary.
        """
        return ()

    @property
    def exports(self) -> bool:
        """True if it is a torch module through and through, and so a part of exported models."""
        return True

    def read(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Raw features of prepared records, and further local ones, block by block.

        Raw features are those of ``forward``, to the last bit.
        """
        raw: Tensor = self(records)
        return raw, ()

    def local(self, records: Tensor) -> Tensor:
        """Local features without a public scale, of a trunk that nothing is released of.

        The blocks of ``local_blocks``, or the raw features where there are none.
        """
        raw, blocks = self.read(records)
        return torch.cat([*blocks], dim=1) if blocks else raw

    @abstractmethod
    def bounds(self) -> NDArray[np.float64] | float:
        """Largest magnitude of each raw feature of any valid record, ``[width]``, or of all."""

    @abstractmethod
    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Up to ``batch`` valid records as one batch."""


class TrunkKind(Protocol):
    """Properties of a trunk without its weights; attributes as of ``EncoderTrunk``."""

    @property
    def data(self) -> bytes:
        """Bytes of its file; empty: it has none."""

    @property
    def label(self) -> str:
        """Name in packages."""

    @property
    def width(self) -> int:
        """Number of raw features."""

    @property
    def batch(self) -> int:
        """Public records that run together."""

    @property
    def directions(self) -> int:
        """Most directions of raw features among the local ones."""

    @property
    def whitening(self) -> float:
        """Exponent of whitening: each direction is divided by its variance to this power.

        0: not at all, distances between raw features are kept; 0.5: all vary alike.
        """

    @property
    def local_norm(self) -> float:
        """Median norm of what public records have along them, in clip radii."""

    @property
    def local_blocks(self) -> tuple[int, ...]:
        """Sizes of the blocks of further local features."""

    @property
    def needs_process(self) -> bool:
        """True if it runs in a process of its own, with limits (``confined_trunk``).

        Only a trunk of this program, whose memory and time the limits of a record bound, does not.
        """

    def choice(self) -> TrunkChoice:
        """Statement of a package about it."""

    def digest(self) -> str:
        """SHA-256 of all that is fixed in raw features, hex; packages are pinned to it."""

    def block_weights(self) -> NDArray[np.float64]:
        """Weight of each number that ``reading`` gives, for the released directions, ``[m]``."""

    def local_weights(self) -> NDArray[np.float64]:
        """Weight of each raw feature for the local directions, ``[width]``."""

    def reading(self) -> NDArray[np.float64] | None:
        """Raw features to what released directions are fitted on, ``[width, m]``; None: as is."""

    def settings(self, *, pixels: int = 0) -> dict[str, str]:
        """Return the zoo plan's settings that stand in a package; 0 pixels are the usual side."""

    def check_settings(self, metadata: Mapping[str, Any]) -> None:
        """Refuse settings out of range, without building anything: ``DecodeError``."""

    def from_settings(self, metadata: Mapping[str, Any]) -> EncoderTrunk:
        """The trunk that a package's metadata name.

        Raises:
            DecodeError: A setting is out of range.
            ConfigError: What it needs is not installed.
        """


class NamedTrunk(EncoderTrunk):
    """A trunk that this program knows: the class itself is its kind, see ``TrunkKind``."""

    label: ClassVar[str]
    data: ClassVar[bytes] = b""
    width: ClassVar[int]
    batch: ClassVar[int] = 1
    local_blocks: ClassVar[tuple[int, ...]] = ()
    needs_process: ClassVar[bool] = True
    directions: ClassVar[int]
    whitening: ClassVar[float] = 0.25
    local_norm: ClassVar[float] = 2.0
    advice: ClassVar[str] = ""  # For whom it is worth naming beside the usual one

    @classmethod
    def choice(cls) -> TrunkChoice:
        """Return its name and hash."""
        return TrunkChoice(name=cls.label, sha256=cls.digest())

    @classmethod
    @abstractmethod
    def digest(cls) -> str:
        """See ``TrunkKind``."""

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
        """Return the zoo plan's settings that stand in a package; 0 pixels are the usual side."""
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


def own_trunks(name: str) -> tuple[type[NamedTrunk], ...]:
    """The trunks of a modality that come with the program; ``DecodeError``: no such modality."""
    modules = modality(name).trunks
    classes = [getattr(_import_trunks(name, at), "TRUNK", None) for at in range(len(modules))]
    return _checked(dict(zip(modules, classes, strict=True)))


def named_trunks(name: str) -> tuple[type[NamedTrunk], ...]:
    """The trunks of a modality that are installed; ``DecodeError``: no such modality."""
    extras = [point for point in entry_points(group=EXTRAS) if point.name == name]
    return own_trunks(name) + _checked({point.value: point.load() for point in extras})


def _checked(trunks: Mapping[str, Any]) -> tuple[type[NamedTrunk], ...]:
    for source, trunk in trunks.items():
        if not (isinstance(trunk, type) and issubclass(trunk, NamedTrunk)):
            raise ConfigError(f"{source}: no trunk")
    return tuple(trunks.values())


def trunk_of(name: str, label: str = "") -> type[NamedTrunk]:
    """A trunk of a modality.

    Args:
        label: Label of the trunk; empty: the usual one, which is the first.

    Raises:
        DecodeError: No such modality.
        ConfigError: No such trunk.
    """
    trunks = named_trunks(name)
    for trunk in trunks:
        if label in ("", trunk.label):
            return trunk
    known_labels = ", ".join(trunk.label for trunk in trunks)
    raise ConfigError(f"trunk {label[:64]!r}: of {modality(name).title} there are {known_labels}")


def file_trunk(name: str, choice: TrunkChoice, data: bytes) -> TrunkKind:
    """A trunk from a file, which nothing has looked at yet.

    Raises:
        DecodeError: No such modality.
        ConfigError: It is read from no files.
    """
    kind = modality(name)
    if not kind.trunk_file:
        raise ConfigError(f"trunk {choice.name}: of {kind.title} none is read from a file")
    make: Callable[[TrunkChoice, bytes], TrunkKind] = _import_trunks(name, -1).FILE
    return make(choice, data)


def _import_trunks(name: str, place: int) -> ModuleType:
    """A module of a modality's trunks; the last is the one that reads files."""
    kind = modality(name)
    module = (*kind.trunks, kind.trunk_file)[place]
    return importlib.import_module(module)
