"""Numbers that a freeze reads of each record: local features, and those at a stated machine.

Numbers are read where ``data-sheet.yaml`` states a machine and the confirmed encoder has a reading
map of its kind. They depend on the sheet as on the encoder, so a snapshot names it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from wg_core import atomic
from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError
from wg_core.privacy.schema import MACHINE_DIMENSION, StatisticsSchema
from wg_core.release import readiness, total
from wg_core.site.config import ClientConfig
from wg_core.wire import canonical
from wg_core.wire.data_sheet import DataSheet

_NUMBERS = "machine.array"  # Numbers of each record's machine, while a snapshot is made


class RecordEncoder(Protocol):
    """Maker of features; see ``wg_common.nets.encoder.module.Encoder``."""

    @property
    def modality(self) -> str:
        """Name of the modality of its records."""

    @property
    def clip_radius(self) -> float:
        """Longest released feature vector."""

    @property
    def dimension(self) -> int:
        """Number of released features."""

    @property
    def local_dimension(self) -> int:
        """Number of features that stay at the plant, the released ones included."""

    @property
    def scaled_dimension(self) -> int:
        """Number of local features that have a public scale."""

    @property
    def machine_kinds(self) -> tuple[str, ...]:
        """Kinds of machine, as fields of a data sheet, that it has a reading map of."""

    def encode_local(self, records: Sequence[Any], /) -> NDArray[np.float32]:
        """Local features ``[n, local_dimension]`` of records, one at a time; see ``total``."""

    def machine_numbers(
        self, records: Sequence[Any], data_sheet: DataSheet, /
    ) -> NDArray[np.float32]:
        """Numbers ``[n, 32]`` of records at a stated machine, one at a time.

        A record that cannot be read has zeros. No records at all ask whether the machine can be.

        Raises:
            ConfigError: The machine is unlike all that its map was made for.
        """


LoadEncoder = Callable[[bytes], RecordEncoder]
"""Loads the confirmed package: ``wg_client.data.plant.encoder_loader``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The numbers that are read of a record: local features, then those at a stated machine.

    Attributes:
        schema: Layout of class statistics.
        sheet: Data sheet of the machine at which records are read; None: at none.
        unread_machine: Reason why the stated machine has no statistics; empty: it has, or none is
            stated.
    """

    encoder: RecordEncoder
    schema: StatisticsSchema
    sheet: DataSheet | None
    unread_machine: str

    @property
    def width(self) -> int:
        """Numbers of a record: D local features, then those of its machine."""
        return self.encoder.local_dimension + (0 if self.sheet is None else MACHINE_DIMENSION)

    @property
    def name(self) -> str:
        """Name of all that these numbers depend on beside the record, hex."""
        if self.sheet is None:
            return self.schema.encoder
        return canonical.sha256_hex(self.schema.encoder.encode() + canonical.encode(self.sheet))

    def read(self, records: Sequence[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Numbers of some records, zeros where the encoder fails, as of ``total.encode``.

        Returns:
            Numbers ``[n, width]``, and whether the encoder failed on each record, ``[n]``.
        """
        rows, failures = total.encode(self.encoder, records)
        if self.sheet is None:
            return rows, failures
        numbers, unread = total.encode(_AtMachine(self.encoder, self.sheet), records)
        return np.concatenate([rows, numbers], axis=1), failures | unread


@dataclass(frozen=True, slots=True)
class _AtMachine:
    """An encoder whose features are the numbers of records at a stated machine."""

    encoder: RecordEncoder
    sheet: DataSheet
    local_dimension: int = MACHINE_DIMENSION

    def encode_local(self, records: Sequence[Any], /) -> NDArray[np.float32]:
        """Numbers ``[n, 32]`` of records."""
        return self.encoder.machine_numbers(records, self.sheet)


def reading_of(config: ClientConfig, encoder: RecordEncoder, identity: str) -> Reading:
    """Settle what an encoder reads here; ``identity`` is the SHA-256 of its package, hex."""
    sheet, reason = config.data_sheet, ""
    if sheet is not None:
        try:
            if sheet.kind not in encoder.machine_kinds:
                raise ConfigError(
                    f"the encoder has no reading map of a {sheet.kind}: ask the server's operator"
                    " for one that has"
                )
            encoder.machine_numbers([], sheet)  # refuses a machine that it was not made for
        except ConfigError as error:
            sheet, reason = None, str(error)
    schema = readiness.schema_for(
        config,
        encoder=identity,
        dimension=encoder.dimension,
        clip_radius=float(encoder.clip_radius),
    )
    return Reading(encoder=encoder, schema=schema, sheet=sheet, unread_machine=reason)


@dataclass(frozen=True, slots=True)
class Rows:
    """Numbers of all records, in files.

    Attributes:
        features: Local features ``[n, D]``.
        numbers: Numbers at the machine ``[n, 32]``, or ``[n, 0]``; their file has no name.
    """

    features: np.memmap[Any, np.dtype[np.float32]]
    numbers: np.memmap[Any, np.dtype[np.float32]]

    @classmethod
    def create(cls, path: Path, records: int, reading: Reading) -> Self:
        """Make rows for so many records, with the features in a new file at ``path``."""
        split = reading.encoder.local_dimension
        nameless = path.with_name(_NUMBERS)
        features = _memory_map(path, (records, split))
        numbers = _memory_map(nameless, (records, reading.width - split))
        nameless.unlink()  # a snapshot keeps the sums alone
        return cls(features, numbers)

    def put(self, row: int | list[int], values: NDArray[np.float32]) -> None:
        """Keep what was read of some records."""
        split = self.features.shape[1]
        self.features[row], self.numbers[row] = values[..., :split], values[..., split:]

    def let_go(self) -> None:
        """Take what was written out of memory."""
        snapshots.let_go(self.features)
        snapshots.let_go(self.numbers)


def _memory_map(path: Path, shape: tuple[int, int]) -> np.memmap[Any, np.dtype[np.float32]]:
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    path.chmod(atomic.PRIVATE)
    return rows
