"""Interface of trunks, the fixed networks or computations under an encoder.

A trunk turns records into tensors, and tensors into raw features. It is public, frozen and pinned
by a hash; only the projection on top of it is fitted (``module``). Trunks come from three sources
with the same interface: modules that a modality names, each with a ``TRUNK`` (a subclass of
``NamedTrunk``); such classes in installed extras, found by entry points in the group
``TRUNKS_GROUP`` with the modality's name; and files (``onnx_file.OnnxFile``).
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
from wg_common.modalities.registry import find_modality
from wg_common.nets.encoder.trunk_choice import TrunkChoice
from wg_core.errors import ConfigError

TRUNKS_GROUP = "weightgate.trunks"
Records = Sequence[Record] | Record


class EncoderTrunk(nn.Module):
    """Trunk of an encoder: module from prepared records to raw features ``[n, width]``."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the trunk in packages, which changes whenever a raw feature changes."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of raw features of the trunk."""

    @property
    def batch(self) -> int:
        """Trunk's batch size for public records; 1 if records differ in shape."""
        return 1

    @property
    def local_blocks(self) -> tuple[int, ...]:
        """Sizes of the blocks of further local features from ``compute_features``.

        They have no public scale: a plant scales each by the variation of its own records.
        """
        return ()

    @property
    def is_exportable(self) -> bool:
        """True if torch computes the whole trunk, so that exported models can include it."""
        return True

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return raw features of prepared records, and further local features block by block.

        Raw features equal those of ``forward`` to the last bit.
        """
        raw: Tensor = self(records)
        return raw, ()

    def local_features(self, records: Tensor) -> Tensor:
        """Return local features ``[n, D]`` of prepared records, from any trunk but the first.

        Releases use the first trunk alone; these features serve only the plant's own models. They
        are the blocks of ``local_blocks``, or the raw features if there are no blocks.
        """
        raw, blocks = self.compute_features(records)
        return torch.cat([*blocks], dim=1) if blocks else raw

    @abstractmethod
    def feature_bounds(self) -> NDArray[np.float64] | float:
        """Return bounds on the magnitudes of raw features, ``[width]``, or one common bound.

        They hold for any valid record.
        """

    @abstractmethod
    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Convert up to ``batch`` valid records to one batch for the trunk."""


class TrunkKind(Protocol):
    """Kind of trunk: its properties without weights; attributes as for ``EncoderTrunk``."""

    @property
    def data(self) -> bytes:
        """Content of the trunk's file; empty if the trunk has no file."""

    @property
    def label(self) -> str:
        """Name of the trunk in encoder packages."""

    @property
    def width(self) -> int:
        """Number of raw features of the trunk."""

    @property
    def batch(self) -> int:
        """Number of public records that are encoded together."""

    @property
    def directions(self) -> int:
        """Largest number of local features that are projections of raw features."""

    @property
    def whitening(self) -> float:
        """Exponent of whitening: each local direction is divided by its variance to this power.

        0 keeps distances between raw features; 0.5 gives all directions equal variance.
        """

    @property
    def local_norm(self) -> float:
        """Median norm of public records' projected local features, in clip radii."""

    @property
    def local_blocks(self) -> tuple[int, ...]:
        """Sizes of the trunk's blocks of further local features."""

    @property
    def needs_process(self) -> bool:
        """True if the trunk runs in a separate process with limits (``confined_trunk``).

        False only for a trunk of this program, whose memory and time the limits of a record bound.
        """

    def choice(self) -> TrunkChoice:
        """Return the description of the trunk in a package."""

    def digest(self) -> str:
        """Return the SHA-256 of all that determines raw features, hex; packages pin it."""

    def block_weights(self) -> NDArray[np.float64]:
        """Return the weights ``[m]`` on outputs of ``pre_projection`` for released directions."""

    def local_weights(self) -> NDArray[np.float64]:
        """Return the weights ``[width]`` of raw features for the local directions."""

    def pre_projection(self) -> NDArray[np.float64] | None:
        """Return the map ``[width, m]`` before the fit of released directions; None: identity."""

    def settings(self, *, pixels: int = 0) -> dict[str, str]:
        """Return the trunk's settings for a package; 0 pixels stand for the default side."""

    def check_settings(self, metadata: Mapping[str, Any]) -> None:
        """Raise ``DecodeError`` if a setting is out of range, without building anything."""

    def from_settings(self, metadata: Mapping[str, Any]) -> EncoderTrunk:
        """Build the trunk with the settings in a package's metadata.

        Raises:
            DecodeError: A setting is out of range.
            ConfigError: A required package is not installed.
        """


class NamedTrunk(EncoderTrunk):
    """Trunk that the program knows by name; the class itself is its ``TrunkKind``."""

    label: ClassVar[str]
    data: ClassVar[bytes] = b""
    width: ClassVar[int]
    batch: ClassVar[int] = 1
    local_blocks: ClassVar[tuple[int, ...]] = ()
    needs_process: ClassVar[bool] = True
    directions: ClassVar[int]
    whitening: ClassVar[float] = 0.25
    local_norm: ClassVar[float] = 2.0
    advice: ClassVar[str] = ""  # Reason to use it beside the default trunk

    @classmethod
    def is_available(cls) -> bool:
        """Return True if what the trunk reads is installed."""
        return True

    @classmethod
    def choice(cls) -> TrunkChoice:
        """Return the trunk's description in a package: name and hash."""
        return TrunkChoice(name=cls.label, sha256=cls.digest())

    @classmethod
    @abstractmethod
    def digest(cls) -> str:
        """Return the SHA-256 of all that determines the trunk's raw features, hex."""

    @classmethod
    @abstractmethod
    def block_weights(cls) -> NDArray[np.float64]:
        """Return the weights ``[m]`` on outputs of ``pre_projection`` for released directions."""

    @classmethod
    def local_weights(cls) -> NDArray[np.float64]:
        """Return the weights ``[width]`` of raw features for the local directions."""
        return cls.block_weights()

    @classmethod
    def pre_projection(cls) -> NDArray[np.float64] | None:
        """Return the map ``[width, m]`` before the fit of released directions; None: identity."""
        return None

    @classmethod
    def settings(cls, *, pixels: int = 0) -> dict[str, str]:
        """Return the trunk's settings for a package; 0 pixels stand for the default side."""
        return {}

    @classmethod
    def from_settings(cls, metadata: Mapping[str, Any]) -> Self:
        """Build the trunk with the settings in a package's metadata.

        Raises:
            DecodeError: A setting is out of range.
            ConfigError: A required package is not installed.
        """
        cls.check_settings(metadata)
        return cls()

    @classmethod
    def check_settings(cls, metadata: Mapping[str, Any]) -> None:
        """Raise ``DecodeError`` if a setting is out of range, without building anything."""


def builtin_trunks(name: str) -> tuple[type[NamedTrunk], ...]:
    """Return the trunks of a modality in this program; ``DecodeError``: no such modality."""
    modules = find_modality(name).trunks
    classes = [getattr(_import_trunks(name, at), "TRUNK", None) for at in range(len(modules))]
    return _check_trunk_classes(dict(zip(modules, classes, strict=True)))


def default_trunks(name: str) -> tuple[type[NamedTrunk], ...]:
    """Return a modality's trunks whose packages are installed, for plants without a server.

    Raises:
        DecodeError: There is no such modality.
    """
    builtin = builtin_trunks(name)
    extras = installed_trunks(name)[len(builtin) :]
    return builtin + tuple(trunk for trunk in extras if trunk.is_available())


def installed_trunks(name: str) -> tuple[type[NamedTrunk], ...]:
    """Return all installed trunks of a modality; ``DecodeError``: no such modality."""
    extras = [point for point in entry_points(group=TRUNKS_GROUP) if point.name == name]
    return builtin_trunks(name) + _check_trunk_classes(
        {point.value: point.load() for point in extras}
    )


def _check_trunk_classes(trunks: Mapping[str, Any]) -> tuple[type[NamedTrunk], ...]:
    for source, trunk in trunks.items():
        if not (isinstance(trunk, type) and issubclass(trunk, NamedTrunk)):
            raise ConfigError(f"{source}: no trunk")
    return tuple(trunks.values())


def find_trunk(name: str, label: str = "") -> type[NamedTrunk]:
    """Look up a trunk of a modality.

    Args:
        name: Name of the modality.
        label: Label of the trunk; empty for the default trunk, the first.

    Raises:
        DecodeError: There is no such modality.
        ConfigError: There is no such trunk.
    """
    trunks = installed_trunks(name)
    for trunk in trunks:
        if label in ("", trunk.label):
            return trunk
    known_labels = ", ".join(trunk.label for trunk in trunks)
    raise ConfigError(
        f"trunk {label[:64]!r}: of {find_modality(name).title} there are {known_labels}"
    )


def trunk_from_file(name: str, choice: TrunkChoice, data: bytes) -> TrunkKind:
    """Wrap a file as a trunk of a modality, without checking the file.

    Raises:
        DecodeError: There is no such modality.
        ConfigError: The modality reads no trunks from files.
    """
    kind = find_modality(name)
    if not kind.trunk_file:
        raise ConfigError(f"trunk {choice.name}: of {kind.title} none is read from a file")
    make: Callable[[TrunkChoice, bytes], TrunkKind] = _import_trunks(name, -1).FILE
    return make(choice, data)


def _import_trunks(name: str, index: int) -> ModuleType:
    """Import a module of trunks that a modality names; the last module reads files."""
    kind = find_modality(name)
    module = (*kind.trunks, kind.trunk_file)[index]
    return importlib.import_module(module)
