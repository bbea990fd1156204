"""Interface of trunks, the fixed networks or computations on which encoders are built.

A trunk prepares records as a batch, and computes raw features of a batch. It is public, frozen and
pinned by a hash; only the projection of its raw features is fitted (``projected_trunk``). A trunk
is a subclass of ``NamedTrunk`` called ``TRUNK`` in a module that its modality names; or such a
class in another installed package, found by an entry point in the group ``weightgate.trunks`` that
has the modality's name; or a file (``onnx_file.OnnxFile``).
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

ENTRY_POINT_GROUP = "weightgate.trunks"
Records = Sequence[Record] | Record


class EncoderTrunk(nn.Module):
    """Trunk of an encoder: torch module from a prepared batch to raw features ``[n, width]``."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Name of the trunk in packages; a version whose features differ has another name."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of raw features of the trunk."""

    @property
    def batch_size(self) -> int:
        """Largest number of public records that ``prepare`` accepts; 1 if their shapes differ."""
        return 1

    @property
    def local_block_sizes(self) -> tuple[int, ...]:
        """Number of features in each block of further local features from ``compute_features``.

        These features have no public scale: a plant scales each block by its own records.
        """
        return ()

    @property
    def is_exportable(self) -> bool:
        """True if torch computes the whole trunk, so that exported models can include it."""
        return True

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Compute raw features ``[n, width]`` of a batch, and the blocks of further local features.

        Raw features equal those of ``forward`` to the last bit.
        """
        raw: Tensor = self(records)
        return raw, ()

    def local_features(self, records: Tensor) -> Tensor:
        """Compute what a trunk other than the encoder's first adds to a batch's local features.

        These features ``[n, sum(local_block_sizes)]`` are never released. They are all blocks of
        ``compute_features``, or the raw features ``[n, width]`` if the trunk has no blocks.
        """
        raw, blocks = self.compute_features(records)
        return torch.cat([*blocks], dim=1) if blocks else raw

    @abstractmethod
    def feature_bounds(self) -> NDArray[np.float64] | float:
        """Return bounds ``[width]`` on any valid record's raw magnitudes, or one common bound."""

    @abstractmethod
    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Convert up to ``batch_size`` valid records to one batch for the trunk."""


class TrunkKind(Protocol):
    """Kind of trunk: what is known of a trunk before its weights are loaded."""

    @property
    def file_bytes(self) -> bytes:
        """Content of the trunk's file; empty if the trunk has no file."""

    @property
    def label(self) -> str:
        """Name of the trunk in encoder packages."""

    @property
    def width(self) -> int:
        """Number of raw features of the trunk."""

    @property
    def batch_size(self) -> int:
        """Largest number of public records that are encoded together."""

    @property
    def direction_count(self) -> int:
        """Number of projected local features, unless fewer public records limit it."""

    @property
    def whitening_exponent(self) -> float:
        """Exponent of whitening: each local direction is divided by its variance to this power.

        0 keeps distances between raw features; 0.5 gives all directions equal variance.
        """

    @property
    def median_local_norm(self) -> float:
        """Median L2 norm to which public records' projected local features are scaled."""

    @property
    def local_block_sizes(self) -> tuple[int, ...]:
        """Number of features in each block of the trunk's further local features."""

    @property
    def needs_process(self) -> bool:
        """True if the trunk must run in a separate process with limits (``confined_trunk``).

        False is safe only for trunks whose memory and time are bounded for every valid record.
        """

    def choice(self) -> TrunkChoice:
        """Return the trunk's name and hash, or the format of its file, as in a package."""

    def digest(self) -> str:
        """Return the SHA-256 of all that determines raw features, hex; packages pin it."""

    def released_fit_weights(self) -> NDArray[np.float64]:
        """Return weights ``[m]`` of features after ``pre_projection`` in the released fit."""

    def local_fit_weights(self) -> NDArray[np.float64]:
        """Return weights ``[width]`` of raw features in the fit of projected local features."""

    def pre_projection(self) -> NDArray[np.float64] | None:
        """Return a map ``[width, m]`` of raw features before the released projection, or None."""

    def settings(self, *, pixels: int = 0) -> dict[str, str]:
        """Return settings for a package; ``pixels`` is the images' side, 0 for the default."""

    def check_settings(self, metadata: Mapping[str, Any]) -> None:
        """Raise ``DecodeError`` if a setting is out of range, without building anything."""

    def from_settings(self, metadata: Mapping[str, Any]) -> EncoderTrunk:
        """Build the trunk with the settings in a package's metadata.

        Raises:
            DecodeError: A setting is out of range.
            ConfigError: A required package is not installed.
        """


class NamedTrunk(EncoderTrunk):
    """Trunk that an installed module defines; the class itself also serves as ``TrunkKind``."""

    label: ClassVar[str]
    file_bytes: ClassVar[bytes] = b""
    width: ClassVar[int]
    batch_size: ClassVar[int] = 1
    local_block_sizes: ClassVar[tuple[int, ...]] = ()
    needs_process: ClassVar[bool] = True
    direction_count: ClassVar[int]
    whitening_exponent: ClassVar[float] = 0.25
    median_local_norm: ClassVar[float] = 2.0
    advice: ClassVar[str] = ""  # Reason, for operators, to use it in addition to the default trunk

    @classmethod
    def is_available(cls) -> bool:
        """Return True if the packages with the trunk's weights or code are installed."""
        return True

    @classmethod
    def choice(cls) -> TrunkChoice:
        """Return the trunk's name and hash, as in a package."""
        return TrunkChoice(name=cls.label, sha256=cls.digest())

    @classmethod
    @abstractmethod
    def digest(cls) -> str:
        """Return the SHA-256 of all that determines the trunk's raw features, hex."""

    @classmethod
    @abstractmethod
    def released_fit_weights(cls) -> NDArray[np.float64]:
        """Return weights ``[m]`` of features after ``pre_projection`` in the released fit."""

    @classmethod
    def local_fit_weights(cls) -> NDArray[np.float64]:
        """Return weights ``[width]`` of raw features in the fit of projected local features.

        Unless a trunk overrides this, they are those of ``released_fit_weights``.
        """
        return cls.released_fit_weights()

    @classmethod
    def pre_projection(cls) -> NDArray[np.float64] | None:
        """Return None: the released projection is fitted on raw features themselves."""
        return None

    @classmethod
    def settings(cls, *, pixels: int = 0) -> dict[str, str]:
        """Return an empty dict: a trunk has no settings unless it overrides this."""
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


def builtin_trunks(modality_name: str) -> tuple[type[NamedTrunk], ...]:
    """Import the trunks of a modality in this program; ``DecodeError`` for an unknown modality."""
    modules = find_modality(modality_name).trunk_modules
    classes = [
        getattr(_import_trunk_module(modality_name, at), "TRUNK", None)
        for at in range(len(modules))
    ]
    return _check_trunk_classes(dict(zip(modules, classes, strict=True)))


def default_trunks(modality_name: str) -> tuple[type[NamedTrunk], ...]:
    """Return a modality's trunks whose packages are installed, for plants without a server.

    Raises:
        DecodeError: There is no such modality.
    """
    builtin = builtin_trunks(modality_name)
    extras = installed_trunks(modality_name)[len(builtin) :]
    return builtin + tuple(trunk for trunk in extras if trunk.is_available())


def installed_trunks(modality_name: str) -> tuple[type[NamedTrunk], ...]:
    """Return a modality's trunks, in this program and then in other installed packages."""
    extras = [
        point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name == modality_name
    ]
    return builtin_trunks(modality_name) + _check_trunk_classes(
        {point.value: point.load() for point in extras}
    )


def _check_trunk_classes(trunks: Mapping[str, Any]) -> tuple[type[NamedTrunk], ...]:
    for source, trunk in trunks.items():
        if not (isinstance(trunk, type) and issubclass(trunk, NamedTrunk)):
            raise ConfigError(f"{source}: no trunk")
    return tuple(trunks.values())


def find_trunk(modality_name: str, label: str = "") -> type[NamedTrunk]:
    """Look up a trunk of a modality.

    Args:
        modality_name: Name of the modality.
        label: Label of the trunk; empty for the default trunk, the first.

    Raises:
        DecodeError: There is no such modality.
        ConfigError: There is no such trunk.
    """
    trunks = installed_trunks(modality_name)
    for trunk in trunks:
        if label in ("", trunk.label):
            return trunk
    known_labels = ", ".join(trunk.label for trunk in trunks)
    raise ConfigError(
        f"trunk {label[:64]!r}: of {find_modality(modality_name).title} there are {known_labels}"
    )


def trunk_from_file(modality_name: str, choice: TrunkChoice, file_bytes: bytes) -> TrunkKind:
    """Return a trunk kind for the bytes of a trunk file, without checking the file.

    Raises:
        DecodeError: There is no such modality.
        ConfigError: The modality reads no trunks from files.
    """
    kind = find_modality(modality_name)
    if not kind.trunk_file_module:
        raise ConfigError(f"trunk {choice.name}: of {kind.title} none is read from a file")
    make: Callable[[TrunkChoice, bytes], TrunkKind] = _import_trunk_module(modality_name, -1).FILE
    return make(choice, file_bytes)


def _import_trunk_module(modality_name: str, module_index: int) -> ModuleType:
    """Import the trunk module with an index of a modality; index -1: the one that reads files."""
    kind = find_modality(modality_name)
    module = (*kind.trunk_modules, kind.trunk_file_module)[module_index]
    return importlib.import_module(module)
