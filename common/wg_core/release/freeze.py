"""Freeze: checks a data set, encodes every record once, and stores the result as a snapshot.

The caller gives the records (``InspectedRecords``, whose problems are set aside) and the encoder
(``RecordEncoder``). Afterwards a release depends on the snapshot alone, so that no change to the
data folder can be seen in an answer.

A freeze creates a new version even of equal data: a new salt, hence another commitment, an entry on
the ledger, and new charges. The ledger shows that a plant froze, but not what changed; its entry
has the time at which the freeze began, not the duration. So freeze on a schedule, not because
something changed.

*Resume.* Features encoded before a crash or Ctrl-C are kept by content (``feature_cache``); the
next freeze reads and hashes every record again, and encodes only those missing.

*Crash safety.* The snapshot is completed in a temporary folder and renamed, then the pointer moves
to it, then it is registered on the ledger. Until the pointer moves, the earlier snapshot stays in
use; after that, the next release or freeze registers the new one.
"""

import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from wg_core import atomic
from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError, DataError, StorageError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.privacy.schema import NO_LABEL, machine_schema
from wg_core.release import budget_history, quality
from wg_core.release.answer_time import check_answer_slot
from wg_core.release.encoding import FeatureRows, LoadEncoder, RecordReader, make_record_reader
from wg_core.release.feature_cache import EncodedFeatureCache
from wg_core.release.quality import QualityReport
from wg_core.release.query_answers import open_ledger
from wg_core.site import config as configuration
from wg_core.site import encoder_pin, locks
from wg_core.site import reading_config as reading_settings
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.snapshot import (
    DuplicateRecord,
    FrozenRecords,
    MachineStatistics,
    RecordListing,
    Snapshot,
    SnapshotManifest,
    UnusableItem,
)
from wg_core.wire import canonical

log = logging.getLogger(__name__)

ProgressCallback = Callable[[str, int, int], None]  # (name of the stage, records done, total)


class RecordTable(Protocol):
    """Interface of the records to be frozen; see ``wg_client.data.dataset.SiteData``."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Index of each record's label in the label domain, ``[n]``; -1 = unlabelled."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each record, for messages and predictions."""

    @property
    def privacy_units(self) -> tuple[str, ...] | None:
        """Privacy unit of each record; None: each record is its own unit."""

    @property
    def source_rows(self) -> NDArray[np.int64] | None:
        """Row of each record in the file that holds it; None: each record is a file."""

    def __len__(self) -> int:
        """Return the number n of records."""


class InspectedRecords(Protocol):
    """Interface of inspected records and their problems (``wg_client.data.record_inspection``)."""

    @property
    def data(self) -> RecordTable:
        """Records to be frozen."""

    @property
    def digests(self) -> tuple[bytes, ...]:
        """SHA-256 of each record's content."""

    @property
    def shapes(self) -> NDArray[np.int64]:
        """First two dimensions of each record's array, ``[n, 2]``; 0 for a missing one."""

    @property
    def problems(self) -> tuple[UnusableItem, ...]:
        """Files and rows that are set aside, with reasons."""

    @property
    def duplicates(self) -> tuple[DuplicateRecord, ...]:
        """Records left out because another record has the same content."""

    @property
    def paths(self) -> Sequence[Path] | None:
        """File of each record; None: all records are in the data set's single file."""

    def read(self, row: int) -> tuple[Any, bytes]:
        """Return one record's values and the SHA-256 of its content, or raise ``DataError``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeResult:
    """Result of a freeze: the new snapshot, and the names of its records.

    Attributes:
        unread_machine_reason: Reason why the stated machine has no statistics; empty if it has
            some, or if no machine is stated.
    """

    snapshot: Snapshot
    listing: RecordListing
    unread_machine_reason: str = ""

    @property
    def records(self) -> int:
        """Number of records in the snapshot."""
        return len(self.listing.names)


@dataclass(frozen=True, slots=True)
class _FreezeInput:
    """Records of one freeze, with the settings and the encoder that read them."""

    config: ClientConfig
    reader: RecordReader
    inspection: InspectedRecords


def freeze(
    home: ClientHome,
    inspection: InspectedRecords,
    *,
    load_encoder: LoadEncoder,
    acceptance_set: bytes = b"",
    on_progress: ProgressCallback | None = None,
    clock: Callable[[], float] = time.time,
) -> FreezeResult:
    """Freeze a plant's records into the next snapshot, and put the snapshot in use.

    Args:
        inspection: Inspected records; their problems are set aside.
        load_encoder: Function from the bytes of an encoder package to the encoder.
        acceptance_set: Encoded acceptance set, which no release reads; stored with the snapshot.
        on_progress: Function called with the stage's name, the records done, and their total.
        clock: Function that returns the Unix time, seconds; called once, as the freeze begins.

    Raises:
        ConfigError: The home is not initialised, its ledger has another cap, its time slot is too
            short, or another process freezes.
        DataError: Some data cannot be used; nothing changed.
        StorageError: The disk is full; nothing changed.
    """
    start_time = clock()
    config = configuration.load(home)
    package = encoder_pin.load(home, config)
    encoder = load_encoder(package)
    reading = make_record_reader(config, encoder, canonical.sha256_hex(package))
    check_answer_slot(config, len(inspection.data), encoder.local_dimension)
    source = _FreezeInput(config, reading, inspection)
    records = frozen_records(config, inspection, home.load_site_secret())
    with _checked_ledger(home, config, start_time):
        pass  # before the long work, and once more after it
    names, left_out, twice = inspection.data.names, inspection.problems, inspection.duplicates
    listing = RecordListing(
        path=config.data.path, names=names, set_aside=left_out, duplicates=twice
    )
    with (
        locks.lock_freeze(home),
        _new_snapshot_folder(home) as folder,
        EncodedFeatureCache(home, reading.encoding_id, reading.feature_count) as encoded_file,
    ):
        rows, report = _encode_records(folder, source, records.contents, encoded_file, on_progress)
        exact = _exact_statistics(source, rows)
        hashes = _write_parts(folder, exact, records, listing, acceptance_set)
        quality.write(folder, report)
        with _checked_ledger(home, config, start_time) as ledger:
            manifest = _new_manifest(home, source, hashes, int(start_time))
            snapshot = _install_snapshot(home, folder, manifest)
            budget_history.register_dataset_version(ledger, config, manifest.commitment)
            _delete_earlier_snapshots(home, manifest.number)
    log.info("snapshot %d: frozen", manifest.number)
    return FreezeResult(
        snapshot=snapshot, listing=listing, unread_machine_reason=reading.unread_machine_reason
    )


@contextmanager
def _checked_ledger(home: ClientHome, config: ClientConfig, start_time: float) -> Iterator[Ledger]:
    """Yield the open, locked ledger, after checking its cap against ``client.yaml``.

    New entries get the time at which the freeze began, or that of the newest entry if later.
    """
    with locks.lock_ledger(home):
        with open_ledger(home) as ledger:
            newest_time = entries.decode(ledger.entry_bytes(ledger.size - 1)).head.time
        with open_ledger(home, entry_time=max(start_time, newest_time)) as ledger:
            past = budget_history.read_budget_history(ledger)
            budget_history.record_charged_units(home, past)
            budget_history.check_budget_terms(config, past)
            yield ledger


@contextmanager
def _new_snapshot_folder(home: ClientHome) -> Iterator[Path]:
    """Yield a folder for a snapshot's parts; delete it and older such folders afterwards."""
    folder = home.snapshots / f".new-{secrets.token_hex(8)}"
    try:
        home.snapshots.mkdir(mode=0o700, exist_ok=True)
        for stale in home.snapshots.glob(".new-*"):
            shutil.rmtree(stale)
        folder.mkdir(mode=0o700)
        yield folder
    except OSError as error:
        raise StorageError(f"{home.snapshots}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _new_manifest(
    home: ClientHome, freeze_input: _FreezeInput, hashes: dict[str, str], start_time: int
) -> SnapshotManifest:
    """Return the manifest of the next snapshot, with a new salt."""
    config, reading = freeze_input.config, freeze_input.reader
    salt, encoder = secrets.token_bytes(snapshots.SALT_BYTES), reading.encoder
    machine: MachineStatistics | UnsetType = UNSET
    if reading.data_sheet is not None:
        machine = MachineStatistics(
            data_sheet=reading.data_sheet,
            schema=machine_schema(reading.schema.encoder, config.data.unit_rule),
            statistics_sha256=hashes[snapshots.MACHINE_STATISTICS_FILE],
        )
    return SnapshotManifest(
        number=_next_snapshot_number(home),
        created=start_time,
        dataset=config.data.name,
        salt=salt.hex(),
        commitment=_data_commitment(freeze_input, home.load_site_secret(), salt),
        modality=encoder.modality,
        local_dimension=encoder.local_dimension,
        scaled=encoder.scaled_dimension,
        unit_column=config.data.unit_column or "",
        schema=reading.schema,
        statistics_sha256=hashes[snapshots.STATISTICS_FILE],
        features_sha256=hashes[snapshots.FEATURES_FILE],
        records_sha256=hashes[snapshots.RECORDS_FILE],
        listing_sha256=hashes[snapshots.LISTING_FILE],
        acceptance_sha256=hashes.get(snapshots.ACCEPTANCE_FILE, ""),
        machine=machine,
    )


def frozen_records(config: ClientConfig, records: InspectedRecords, secret: bytes) -> FrozenRecords:
    """Return a snapshot's arrays: labels, keyed digests, shapes, file rows, stamps of records."""
    data = records.data
    contents = [snapshots.keyed_content_digest(secret, digest) for digest in records.digests]
    units = contents
    if data.privacy_units is not None:
        column = config.data.unit_column or ""
        units = [snapshots.keyed_unit_digest(secret, column, unit) for unit in data.privacy_units]
    n = len(data)
    stamps = [size_and_mtime_ns(path) for path in records.paths or [Path(config.data.path)] * n]
    return FrozenRecords(
        labels=data.labels,
        contents=_digest_rows(contents),
        units=_digest_rows(units),
        shapes=records.shapes,
        rows=np.full(n, -1, dtype=np.int64) if data.source_rows is None else data.source_rows,
        stamps=np.array(stamps, dtype=np.int64).reshape(-1, 2),
    )


def _digest_rows(digests: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, snapshots.DIGEST_BYTES)


def size_and_mtime_ns(path: Path) -> tuple[int, int]:
    """Return size and modification time (nanoseconds) of a file; zeros if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _encode_records(
    folder: Path,
    freeze_input: _FreezeInput,
    content_digests: NDArray[np.uint8],
    feature_cache: EncodedFeatureCache,
    on_progress: ProgressCallback | None,
) -> tuple[FeatureRows, QualityReport]:
    """Compute the features of all records, chunk by chunk, checking each record's hash.

    Features cached by an interrupted freeze are reused. Nothing is cached for a record on which
    the encoder failed. ``content_digests`` are the contents' keyed digests, ``[n, 32]``.
    """
    reading, inspection = freeze_input.reader, freeze_input.inspection
    data, failures = inspection.data, list[str]()
    n = len(data)
    rows = FeatureRows.create(folder / snapshots.FEATURES_FILE, n, reading)
    for start in range(0, n, reading_settings.RECORDS_PER_CHUNK):
        stop = min(start + reading_settings.RECORDS_PER_CHUNK, n)
        keys = {row: content_digests[row].tobytes() for row in range(start, stop)}
        before = {row: feature_cache.find_features(key) for row, key in keys.items()}
        new = [row for row, features in before.items() if features is None]
        for row, features in before.items():
            if features is not None:
                rows.store(row, features)
        records = [inspection.read(row) for row in new]
        for row, (_, digest) in zip(new, records, strict=True):
            if digest != inspection.digests[row]:
                raise DataError(f"{data.names[row]}: changed while it was frozen; freeze again")
        if new:
            part, failure_mask = reading.compute_features([record for record, _ in records])
            rows.store(new, part)
            encoded_rows = np.flatnonzero(~failure_mask)
            feature_cache.add_features([keys[new[row]] for row in encoded_rows], part[encoded_rows])
            failures += [data.names[new[row]] for row in np.flatnonzero(failure_mask)]
        rows.drop_pages()
        if on_progress is not None:
            on_progress("encoded", stop, n)
    rows.features.flush()
    return rows, QualityReport(failures=tuple(failures))


def _exact_statistics(
    freeze_input: _FreezeInput, rows: FeatureRows
) -> dict[str, NDArray[np.int64]]:
    """Return the exact statistics of each kind by name of the snapshot file that stores them."""
    config, reading, data = freeze_input.config, freeze_input.reader, freeze_input.inspection.data
    schema, labels = reading.schema, data.labels
    if len(data) > schema.record_capacity:
        raise DataError(
            f"{config.data.path}: more than the {schema.record_capacity} records of a release"
        )
    units = data.privacy_units if config.data.unit_column is not None else None
    exact = {snapshots.STATISTICS_FILE: snapshots.exact_sums(schema, rows.features, labels, units)}
    if reading.data_sheet is not None:
        of_machine = machine_schema(schema.encoder, config.data.unit_rule)
        nowhere = np.full_like(labels, NO_LABEL)
        exact[snapshots.MACHINE_STATISTICS_FILE] = snapshots.exact_sums(
            of_machine, rows.machine_features, nowhere, units
        )
    return exact


def _data_commitment(freeze_input: _FreezeInput, secret: bytes, salt: bytes) -> str:
    data = freeze_input.inspection.data
    names = [*freeze_input.config.data.labels, ""]
    return snapshots.data_commitment(
        secret,
        salt,
        [
            snapshots.record_digest(
                names[data.labels[row]],
                "" if data.privacy_units is None else data.privacy_units[row],
                digest,
            )
            for row, digest in enumerate(freeze_input.inspection.digests)
        ],
    )


def _write_parts(
    folder: Path,
    statistics: dict[str, NDArray[np.int64]],
    records: FrozenRecords,
    listing: RecordListing,
    acceptance_set: bytes,
) -> dict[str, str]:
    """Write all files of a snapshot except the manifest; return their SHA-256, hex, by name."""
    for name, integers in statistics.items():
        data = integers.astype("<i8").tobytes()
        atomic.write_private_bytes(folder / name, data)
    with (folder / snapshots.RECORDS_FILE).open("wb") as stream:
        atomic.set_file_mode(stream, atomic.PRIVATE_FILE_MODE)
        np.savez(stream, **records.arrays())  # type: ignore[arg-type]  # numpy's stubs are too strict
        stream.flush()
        os.fsync(stream.fileno())
    text = canonical.encode(listing)
    atomic.write_private_bytes(folder / snapshots.LISTING_FILE, text)
    parts = [*statistics, snapshots.FEATURES_FILE, snapshots.RECORDS_FILE, snapshots.LISTING_FILE]
    if acceptance_set:
        atomic.write_private_bytes(folder / snapshots.ACCEPTANCE_FILE, acceptance_set)
        parts.append(snapshots.ACCEPTANCE_FILE)
    return {name: snapshots.file_sha256(folder / name) for name in parts}


def _next_snapshot_number(home: ClientHome) -> int:
    """Return the number of a new snapshot, above those of all earlier snapshots."""
    newest = snapshots.find_current(home)
    numbers = [int(path.name) for path in home.snapshots.glob("*") if path.name.isdecimal()]
    return 1 + max([0, *numbers, newest.manifest.number if newest else 0])


def _install_snapshot(home: ClientHome, temporary: Path, manifest: SnapshotManifest) -> Snapshot:
    data = canonical.encode(manifest)
    if len(data) > snapshots.MANIFEST_BYTES_LIMIT:
        raise ConfigError(f"snapshot: a manifest of {len(data)} bytes")
    atomic.write_private_bytes(temporary / snapshots.MANIFEST_FILE, data)
    target = home.snapshots / str(manifest.number)
    atomic.rename_file(temporary, target)
    snapshot = Snapshot(target, manifest)
    snapshots.make_current(home, snapshot)
    return snapshot


def _delete_earlier_snapshots(home: ClientHome, current_number: int) -> None:
    """Delete earlier snapshots, so that records deleted by the plant disappear here, too."""
    for path in home.snapshots.glob("*"):
        if path.name.isdecimal() and int(path.name) != current_number:
            (path / snapshots.MANIFEST_FILE).unlink(missing_ok=True)  # no longer a snapshot
            shutil.rmtree(path, ignore_errors=True)
