"""Numbers that a freeze computes from each record: local features and machine features.

Machine features are computed if ``data-sheet.yaml`` states a machine and the confirmed encoder has
a reading map for that kind of machine. They depend on the data sheet as well as on the encoder, so
a snapshot stores the sheet.
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
from wg_core.release import encoding_failures, readiness
from wg_core.site.config import ClientConfig
from wg_core.wire import canonical
from wg_core.wire.data_sheet import DataSheet

_MACHINE_FEATURES_FILE = "machine.array"  # It exists only while a snapshot is made


class RecordEncoder(Protocol):
    """Interface of the encoder of a plant's records (``projected_trunk.Encoder``)."""

    @property
    def modality(self) -> str:
        """Name of the records' modality."""

    @property
    def clip_radius(self) -> float:
        """Largest L2 norm of a released feature vector."""

    @property
    def dimension(self) -> int:
        """Number of released features."""

    @property
    def local_dimension(self) -> int:
        """Number of local features: all features of a record, the released ones first."""

    @property
    def scaled_dimension(self) -> int:
        """Number of local features that have a public scale."""

    @property
    def machine_kinds(self) -> tuple[str, ...]:
        """Kinds of machine that ``machine_features`` knows, named like a data sheet's fields."""

    def encode_local(self, records: Sequence[Any], /) -> NDArray[np.float32]:
        """Return all local features ``[n, local_dimension]``, each row from its record alone.

        The released features come first; the others never leave the plant.
        """

    def machine_features(
        self, records: Sequence[Any], data_sheet: DataSheet, /
    ) -> NDArray[np.float32]:
        """Return the machine features ``[n, 32]``, each row from its record and the data sheet.

        An unreadable record gives zeros. A call without records only checks the data sheet.

        Raises:
            ConfigError: The machine is unlike those on which the reading map was trained.
        """


LoadEncoder = Callable[[bytes], RecordEncoder]
"""Function from the bytes of an encoder package to the encoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReader:
    """Reader that computes the features of records: local, then machine features.

    Attributes:
        schema: Layout of class statistics.
        data_sheet: Data sheet of the machine; None: no machine features are computed.
        unread_machine_reason: Reason why the stated machine has no statistics; empty if it has
            some, or if no machine is stated.
    """

    encoder: RecordEncoder
    schema: StatisticsSchema
    data_sheet: DataSheet | None
    unread_machine_reason: str

    @property
    def feature_count(self) -> int:
        """Number of features per record: D local features, then the machine features."""
        return self.encoder.local_dimension + (0 if self.data_sheet is None else MACHINE_DIMENSION)

    @property
    def encoding_id(self) -> str:
        """Hash, hex, of the encoder and the data sheet on which a record's features depend."""
        if self.data_sheet is None:
            return self.schema.encoder
        inputs = self.schema.encoder.encode() + canonical.encode(self.data_sheet)
        return canonical.sha256_hex(inputs)

    def compute_features(
        self, records: Sequence[Any]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Compute the features of some records, with zeros where the encoder fails.

        Returns:
            Features ``[n, feature_count]``, and a mask ``[n]`` that is True where the encoder
            failed.
        """
        encoder, sheet = self.encoder, self.data_sheet
        rows, failures = encoding_failures.encode_or_zero(
            encoder.encode_local, encoder.local_dimension, records
        )
        if sheet is None:
            return rows, failures
        numbers, unread = encoding_failures.encode_or_zero(
            lambda part: encoder.machine_features(part, sheet), MACHINE_DIMENSION, records
        )
        return np.concatenate([rows, numbers], axis=1), failures | unread


def make_record_reader(
    config: ClientConfig, encoder: RecordEncoder, package_sha256: str
) -> RecordReader:
    """Return the reader of a plant's records; ``package_sha256`` is the encoder package's, hex."""
    sheet, reason = config.data_sheet, ""
    if sheet is not None:
        try:
            if sheet.kind not in encoder.machine_kinds:
                raise ConfigError(
                    f"the encoder has no reading map of a {sheet.kind}: ask the server's operator"
                    " for one that has"
                )
            encoder.machine_features([], sheet)  # raises if the map does not cover the machine
        except ConfigError as error:
            sheet, reason = None, str(error)
    schema = readiness.class_statistics_schema(
        config,
        encoder_sha256=package_sha256,
        dimension=encoder.dimension,
        clip_radius=float(encoder.clip_radius),
    )
    return RecordReader(
        encoder=encoder, schema=schema, data_sheet=sheet, unread_machine_reason=reason
    )


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Local and machine features of all records, in memory-mapped files.

    Attributes:
        features: Local features ``[n, D]``.
        machine_features: Machine features ``[n, 32]``, or ``[n, 0]`` if no machine is stated, in a
            file that is already unlinked.
    """

    features: np.memmap[Any, np.dtype[np.float32]]
    machine_features: np.memmap[Any, np.dtype[np.float32]]

    @classmethod
    def create(cls, path: Path, record_count: int, reader: RecordReader) -> Self:
        """Create feature rows for ``record_count`` records, in a new file at ``path``."""
        split = reader.encoder.local_dimension
        nameless = path.with_name(_MACHINE_FEATURES_FILE)
        features = _create_memory_map(path, (record_count, split))
        numbers = _create_memory_map(nameless, (record_count, reader.feature_count - split))
        nameless.unlink()  # a snapshot stores only the sums of these numbers
        return cls(features, numbers)

    def store(self, row: int | list[int], values: NDArray[np.float32]) -> None:
        """Store the features of some records in their rows."""
        split = self.features.shape[1]
        self.features[row], self.machine_features[row] = values[..., :split], values[..., split:]

    def drop_pages(self) -> None:
        """Free the memory of written feature rows; the files keep them."""
        snapshots.drop_pages(self.features)
        snapshots.drop_pages(self.machine_features)


def _create_memory_map(path: Path, shape: tuple[int, int]) -> np.memmap[Any, np.dtype[np.float32]]:
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    path.chmod(atomic.PRIVATE_FILE_MODE)
    return rows
