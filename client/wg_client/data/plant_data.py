"""A plant's configuration, and the records and features that its models are trained on.

Labels and features come from the snapshot (``wg_core.snapshot``), never from the data folder. Only
raw records, which networks beside the encoder need, are read from their files; each of them is
checked against its content digest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from wg_client.data.acceptance_set import AcceptanceSet, decode_acceptance_set
from wg_client.data.dataset import RECORDS_CSV_NAME, configured_modality
from wg_client.data.log_reader import LogReader, open_log_reader
from wg_client.data.recipient_plant import EncodedRecords
from wg_client.data.site_data import SiteData
from wg_common.inference.family_head import FeatureLayout
from wg_common.modalities import record_tables
from wg_common.modalities.arrays import read_labelled_arrays
from wg_common.modalities.base import Record, content_digest
from wg_core import snapshot as snapshots
from wg_core.errors import DataError, VerificationError
from wg_core.release import readiness
from wg_core.site import config as configuration
from wg_core.site import encoder_pin
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.site.config import ClientConfig, DataConfig
from wg_core.site.home import ClientHome
from wg_core.snapshot import FrozenRecords, RecordListing, Snapshot
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_common.nets.encoder.projected_trunk import Encoder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlantData:
    """A plant's configuration, with the records and features of its current snapshot.

    Attributes:
        config: ``client.yaml``.
        snapshot: The current snapshot.
        data: Records of the snapshot; ``units`` are keyed digests, in hex.
        features: Features of the records.
        encoder_sha256: Id of the encoder that the plant holds, hex.
        encoder_package: Encoder package, as bytes.
        acceptance_set: Records on which models are only evaluated; None: there are none.
        package_public_key: Public key of the server, hex, by which packages are verified; empty:
            the key pinned in ``config``.
    """

    config: ClientConfig
    snapshot: Snapshot
    data: SiteData
    features: EncodedRecords
    encoder_sha256: str
    encoder_package: bytes
    acceptance_set: AcceptanceSet | None = None
    package_public_key: str = ""

    @property
    def site_name(self) -> str:
        """Name of the plant's site, as the server knows it."""
        return self.config.site

    @property
    def server_public_key(self) -> str:
        """Server's raw public key, hex, which verifies the plant's packages."""
        return self.package_public_key or self.config.server.signing_key

    @property
    def acceptance_policy(self) -> AcceptanceConfig:
        """Rules by which delivered weights replace the local model."""
        return self.config.acceptance

    @property
    def commitment(self) -> str:
        """Commitment to the frozen data set, hex: a keyed hash in the ledger."""
        return self.snapshot.manifest.commitment

    @property
    def layout(self) -> FeatureLayout:
        """Layout of the encoder's local features."""
        from wg_common.nets.encoder import package as encoders  # torch: seconds to import

        blocks = encoders.unpack_encoder(self.encoder_package).local_block_sizes
        return FeatureLayout(self.features.scaled_width, blocks)

    def load_encoder(self) -> Encoder:
        """Load the plant's encoder from its package; errors as for ``caching_encoder_loader``."""
        return caching_encoder_loader()(self.encoder_package)


def load_encoder_package(home: ClientHome) -> bytes:
    """Read the encoder package; the SHA-256 of its bytes is the encoder's id.

    Raises:
        ConfigError: The home is not initialised, or ``client.yaml`` is wrong.
        VerificationError: The package is not the encoder that the owner confirmed.
    """
    return encoder_pin.load(home, configuration.load(home))


def open_plant_data(home: ClientHome, package_public_key: str = "") -> PlantData:
    """Read a home's configuration, snapshot and encoder.

    Args:
        package_public_key: Server's public key that verifies packages, hex; empty: the pinned key.

    Raises:
        ConfigError: The home is not initialised, ``client.yaml`` is wrong, or there is no snapshot
            that fits it.
        VerificationError: The snapshot is damaged.
    """
    config = configuration.load(home)
    package = encoder_pin.load(home, config)
    encoder = canonical.sha256_hex(package)
    snapshot = snapshots.load_current(home)
    readiness.check_snapshot_settings(config, snapshot, encoder_sha256=encoder)
    records, listing, manifest = snapshot.records(), snapshot.listing(), snapshot.manifest
    frozen = open_snapshot_records(home, config, listing, records, manifest.modality)
    acceptance = snapshot.read_acceptance_set()
    return PlantData(
        config=config,
        snapshot=snapshot,
        data=SiteData(
            records=frozen,
            modality=manifest.modality,
            labels=records.labels,
            label_names=config.data.labels,
            names=listing.names,
            privacy_units=tuple(bytes(row).hex() for row in records.units)
            if manifest.unit_column
            else None,
        ),
        features=EncodedRecords(
            local_features=np.asarray(snapshot.features()),
            released_width=manifest.schema.dimension,
            scaled_width=manifest.scaled,
            clip_radius=manifest.schema.radius,
        ),
        encoder_sha256=encoder,
        encoder_package=package,
        acceptance_set=decode_acceptance_set(acceptance, str(snapshot.folder))
        if acceptance
        else None,
        package_public_key=package_public_key,
    )


def open_snapshot_records(
    home: ClientHome,
    config: ClientConfig,
    listing: RecordListing,
    records: FrozenRecords,
    modality: str,
) -> SnapshotRecords:
    """Return the frozen records as a sequence that reads each one's file on access."""
    return SnapshotRecords(listing, records, modality, home.load_site_secret(), config.data)


def caching_encoder_loader() -> Callable[[bytes], Encoder]:
    """Return a function that loads encoder packages, each once.

    The function raises ``DecodeError``, ``VerificationError`` or ``ConfigError`` if the bytes are
    not an encoder package, could overflow on a record, or need a trunk that is not installed.
    """

    @functools.cache
    def load(package: bytes) -> Encoder:
        from wg_common.nets.encoder.projected_trunk import load_encoder  # torch: seconds to import

        return load_encoder(package)

    return load


def load_pinned_encoder(home: ClientHome, encoder_sha256: str) -> Encoder:
    """Load the encoder of a plant's home, and check that it is the one that models were made for.

    Args:
        encoder_sha256: Id of the encoder that the models were made for, hex.

    Raises:
        VerificationError: The home holds another encoder.
    """
    package = load_encoder_package(home)
    digest = canonical.sha256_hex(package)
    if digest != encoder_sha256:
        raise VerificationError(
            f"{home.encoder}: encoder {digest[:16]}, the model was made for {encoder_sha256[:16]}"
        )
    return caching_encoder_loader()(package)


class SnapshotRecords(Sequence[Record]):
    """Records of a snapshot, each read from its file and checked on access."""

    def __init__(
        self,
        listing: RecordListing,
        records: FrozenRecords,
        modality_name: str,
        secret: bytes,
        config: DataConfig,
    ) -> None:
        reading = config.reading
        self._root = Path(listing.path)
        self._names = listing.names
        self._records = records
        self._modality = configured_modality(modality_name, reading)
        self._encoding, self._text = reading.encoding, reading.text_column
        self._config = config
        self._secret = secret

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        record = self._read_record(range(len(self))[index])
        keyed_digest = snapshots.keyed_content_digest(self._secret, content_digest(record))
        if keyed_digest != bytes(self._records.contents[index]):
            raise DataError(
                f"{self._root}: {self._names[index]}: changed since it was frozen; run 'wg-client"
                " freeze'"
            )
        return record

    def _read_record(self, index: int) -> Record:
        if self._config.reading.log is not None:
            return self._log_reader.read_named_window(self._root, self._names[index])
        row = int(self._records.rows[index])
        if row >= 0:
            return self._read_archive_row(row)
        return self._modality.read(self._root / self._names[index])

    def _read_archive_row(self, row: int) -> Record:
        if row >= len(self._archive_records):
            raise DataError(f"{self._root}: has no row {row}; it changed since it was frozen")
        record: Record = self._archive_records[row]
        return record

    @cached_property
    def _log_reader(self) -> LogReader:
        config = self._config
        return open_log_reader(
            self._root, config.reading, config.unit_column, allow_missing_table=True
        )

    @cached_property
    def _archive_records(self) -> Sequence[Record] | Record:
        table = self._root / RECORDS_CSV_NAME if self._root.is_dir() else self._root
        if record_tables.is_record_table(table, text_column=self._text):
            return record_tables.read_cell_table(
                table, encoding=self._encoding, text_column=self._text
            ).records
        return read_labelled_arrays(self._root, modality=self._modality.name).records
