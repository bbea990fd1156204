"""Snapshot: the frozen version of a plant's data set from which all its releases are made.

::

    snapshots/current            number of the snapshot in use, and SHA-256 of its manifest
    snapshots/3/manifest.json    ``SnapshotManifest``: the facts that an answer needs, of fixed size
    snapshots/3/statistics.bin   exact integer class statistics, of fixed size
    snapshots/3/machine.bin      exact machine statistics, if the encoder reads the stated machine
    snapshots/3/features.array   local features, float32 ``[n, D]``
    snapshots/3/records.npz      labels, keyed digests of contents and units, shapes, rows, stamps
    snapshots/3/listing.json     ``RecordListing``: names, records set aside, duplicates
    snapshots/3/acceptance.npz   acceptance set: records that no release reads, if any
    snapshots/3/quality.json     ``QualityReport``, for the plant's own people alone

An answer reads the manifest, the statistics, and for the sums of a centred release also features,
labels and units. Its outcome depends on no record; its duration depends on the number of records,
which the time slot hides (docs/centred-release.md). Everything is private, mode 0600 in folders of
mode 0700. A snapshot is written to a temporary folder and renamed, so it is either complete or
absent; ``freeze`` creates snapshots.

The commitment to a version is an HMAC, under the site's secret of 32 random bytes, of the *salt*
and the sorted record digests: two versions of equal content have different commitments, and only
the plant can tell that they are equal.
"""

import hashlib
import hmac
import io
import mmap
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from wg_core import atomic
from wg_core.errors import ConfigError, NoMachineStatistics, VerificationError, reraise_os_errors
from wg_core.ledger.commitment import commit_to_data
from wg_core.privacy.class_centres import Centre
from wg_core.privacy.exact_statistics import exact_statistics
from wg_core.privacy.schema import (
    CLASS_STATISTICS,
    MACHINE_STATISTICS,
    StatisticsKind,
    StatisticsSchema,
)
from wg_core.site.home import ClientHome
from wg_core.wire import canonical
from wg_core.wire.data_sheet import DataSheet

VERSION = 1
MANIFEST_FILE = "manifest.json"
STATISTICS_FILE = "statistics.bin"
MACHINE_STATISTICS_FILE = "machine.bin"
FEATURES_FILE = "features.array"
RECORDS_FILE = "records.npz"
LISTING_FILE = "listing.json"
ACCEPTANCE_FILE = "acceptance.npz"
POINTER_FILE = "current"

DIGEST_BYTES = hashlib.sha256().digest_size
SALT_BYTES = DIGEST_BYTES
MANIFEST_BYTES_LIMIT = 8 << 20
_STATISTICS_LIMIT = 64 << 20
_RECORDS_LIMIT = 1 << 30
_RECORDS_PER_CHUNK = 1 << 13
_CONTENT_CONTEXT = b"weightgate/v1/record-content\n"
_UNIT_CONTEXT = b"weightgate/v1/privacy-unit\n"

Digests = NDArray[np.uint8]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineStatistics:
    """Facts about a snapshot's machine statistics, whose numbers are in ``machine.bin``.

    Attributes:
        data_sheet: Data sheet of the machine that the records come from.
        schema: Layout of the statistics' release.
        statistics_sha256: SHA-256 of ``machine.bin``, hex.
    """

    data_sheet: DataSheet
    schema: StatisticsSchema
    statistics_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotManifest:
    """Facts about a snapshot that an answer needs.

    Attributes:
        number: Version of the data set, counted from 1.
        created: Unix time, seconds.
        dataset: Name of the data set on the ledger.
        salt: 32 random bytes that enter the commitment, hex.
        commitment: Keyed commitment to the records of this version, hex.
        local_dimension: Number D of local features.
        scaled: Number of local features that have a public scale.
        unit_column: Column that names the privacy unit; empty: no such column.
        schema: Layout of the release; names encoder, label domain and unit rule.
        statistics_sha256: SHA-256 of ``statistics.bin``, hex, like those of the other files.
        acceptance_sha256: SHA-256 of ``acceptance.npz``, hex; empty: no acceptance set.
        machine: Machine statistics; absent: no data sheet of a machine that the encoder reads.
    """

    version: int = VERSION
    number: int
    created: int
    dataset: str
    salt: str
    commitment: str
    modality: str
    local_dimension: int
    scaled: int
    unit_column: str
    schema: StatisticsSchema
    statistics_sha256: str
    features_sha256: str
    records_sha256: str
    listing_sha256: str
    acceptance_sha256: str = ""
    machine: MachineStatistics | UnsetType = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotPointer:
    """Reference to the snapshot in use: its number, and the SHA-256 of its manifest, hex."""

    number: int
    manifest_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableItem:
    """File (path below the data folder), or row of a file, that cannot be used, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateRecord:
    """Record ``name``, left out because the record ``same_as`` has the same content."""

    name: str
    same_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordListing:
    """Names of a snapshot's records, for the plant's engineer.

    Attributes:
        path: The data folder or file.
        names: Names of the records in the snapshot, in order.
        set_aside: Files and rows that cannot be used.
    """

    path: str
    names: tuple[str, ...]
    set_aside: tuple[UnusableItem, ...] = ()
    duplicates: tuple[DuplicateRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrozenRecords:
    """Arrays with one row for each of the n records of a snapshot.

    Attributes:
        labels: int64 ``[n]``, -1 = unlabelled.
        contents: uint8 ``[n, 32]``, keyed digest of each record's content.
        units: uint8 ``[n, 32]``, keyed digest of each record's privacy unit.
        shapes: int64 ``[n, 2]``, first two dimensions of each record.
        rows: int64 ``[n]``, row in the ``.npz`` file or table; -1: the record is a whole file.
        stamps: int64 ``[n, 2]``, size and modification time (nanoseconds) of the file when frozen.
    """

    labels: NDArray[np.int64]
    contents: Digests
    units: Digests
    shapes: NDArray[np.int64]
    rows: NDArray[np.int64]
    stamps: NDArray[np.int64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return these arrays by name, as stored in ``records.npz``."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Snapshot on disk; its files are checked against the manifest's hashes when read."""

    folder: Path
    manifest: SnapshotManifest = field(repr=False)

    @property
    def encoder_sha256(self) -> str:
        """SHA-256 of the package of the encoder that computed the features, hex."""
        return self.manifest.schema.encoder

    @property
    def machine_statistics(self) -> MachineStatistics:
        """Description of the snapshot's machine statistics.

        Raises:
            NoMachineStatistics: The snapshot has no machine statistics.
        """
        if self.manifest.machine is UNSET:
            raise NoMachineStatistics(
                f"{self.folder}: snapshot {self.manifest.number} has no machine statistics; run"
                f" 'wg-client freeze --home {self.folder.parent.parent}': it reads them where a"
                " data sheet is stated of a machine that the encoder reads, and says so where it"
                " does not"
            )
        return self.manifest.machine

    def schema(self, kind: StatisticsKind) -> StatisticsSchema:
        """Return the schema of a kind of statistics; ``NoMachineStatistics`` if there are none."""
        return self.manifest.schema if kind == CLASS_STATISTICS else self.machine_statistics.schema

    def statistics(self, kind: StatisticsKind = CLASS_STATISTICS) -> Integers:
        """Return exact statistics of a kind, int64 ``[schema.vector_length]``, which are private.

        Raises:
            NoMachineStatistics: Machine statistics are asked for, and the snapshot has none.
            VerificationError: The file changed since the freeze.
        """
        name, sha256 = STATISTICS_FILE, self.manifest.statistics_sha256
        if kind == MACHINE_STATISTICS:
            name, sha256 = MACHINE_STATISTICS_FILE, self.machine_statistics.statistics_sha256
        path, length = self.folder / name, self.schema(kind).vector_length
        data = self._read_unchanged_file(path, sha256, _STATISTICS_LIMIT)
        integers: Integers = np.frombuffer(data, dtype="<i8").astype(np.int64)
        if integers.shape != (length,):
            raise VerificationError(f"{path}: {integers.shape}, not of the manifest's schema")
        return integers

    def statistics_about_centre(self, centre: Centre) -> Integers:
        """Return exact class statistics with sums about ``centre``, which are private.

        The array is int64 ``[schema.vector_length]``.

        Raises:
            VerificationError: Features or records changed since the freeze.
        """
        schema, records = self.manifest.schema, self.records()
        units = None
        if schema.unit_rule != "record":
            units = [digest.tobytes().hex() for digest in records.units]
        return exact_sums(schema, self.features(), records.labels, units, centre)

    def verify_files(self) -> None:
        """Raise ``VerificationError`` if a file that a release needs changed since the freeze."""
        self.statistics()
        if self.manifest.machine is not UNSET:
            self.statistics(MACHINE_STATISTICS)
        self.features()
        self.records()

    def features(self) -> NDArray[np.float32]:
        """Return the local features ``[n, D]`` as a memory-mapped array.

        Raises:
            VerificationError: The file changed since the freeze.
        """
        path = self.folder / FEATURES_FILE
        _check_unchanged(path, file_sha256(path), self.manifest.features_sha256)
        try:
            features: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise VerificationError(f"{path}: damaged: {error}") from error
        return features

    def records(self) -> FrozenRecords:
        """Read the labels, digests, shapes, rows and stamps of the snapshot's records.

        Raises:
            VerificationError: The file changed since the freeze.
        """
        path = self.folder / RECORDS_FILE
        data = self._read_unchanged_file(path, self.manifest.records_sha256, _RECORDS_LIMIT)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                return FrozenRecords(**{name: file[name] for name in FrozenRecords.__slots__})
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise VerificationError(f"{path}: damaged: {error}") from error

    def listing(self) -> RecordListing:
        """Read the names of the snapshot's records, of set-aside files and rows, and of duplicates.

        Raises:
            VerificationError: The file changed since the freeze.
        """
        path = self.folder / LISTING_FILE
        data = self._read_unchanged_file(path, self.manifest.listing_sha256, _RECORDS_LIMIT)
        return canonical.decode(RecordListing, data, input_name=str(path), max_bytes=_RECORDS_LIMIT)

    def read_acceptance_set(self) -> bytes:
        """Read the encoded acceptance set that was given to ``freeze``; empty if there is none.

        Raises:
            VerificationError: The file changed since the freeze.
        """
        if not self.manifest.acceptance_sha256:
            return b""
        path = self.folder / ACCEPTANCE_FILE
        return self._read_unchanged_file(path, self.manifest.acceptance_sha256, _RECORDS_LIMIT)

    def _read_unchanged_file(self, path: Path, sha256: str, limit: int) -> bytes:
        data = atomic.read_bytes(path, limit=limit)
        _check_unchanged(path, canonical.sha256_hex(data), sha256)
        return data


def exact_sums(
    schema: StatisticsSchema,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    units: Sequence[str] | None,
    centre: Centre | None = None,
) -> Integers:
    """Return a data set's exact statistics, int64 ``[schema.vector_length]``, chunk by chunk.

    Args:
        features: Local features ``[n, D]``, the released ones first; may be memory-mapped.
        labels: Class indices ``[n]``, -1 = unlabelled.
        units: Privacy unit of each record; None: each record is its own unit.
        centre: Point about which sums are taken; None: the origin.
    """
    released_features = features[:, : schema.dimension]
    if units is not None:
        return exact_statistics(schema, released_features, labels, units, centre)
    total = np.zeros(schema.vector_length, dtype=np.int64)
    # A sum over records is a sum over chunks.
    for start in range(0, len(labels), _RECORDS_PER_CHUNK):
        part = slice(start, start + _RECORDS_PER_CHUNK)
        total += exact_statistics(schema, released_features[part], labels[part], None, centre)
        drop_pages(features)
    return total


def drop_pages(features: NDArray[np.float32]) -> None:
    """Free the memory of a memory-mapped array; its file keeps the values."""
    if isinstance(features.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        features.base.madvise(mmap.MADV_DONTNEED)


def load_current(home: ClientHome) -> Snapshot:
    """Load the snapshot that the home uses now.

    Raises:
        ConfigError: No snapshot is in use.
        DecodeError: The snapshot is malformed.
    """
    home.check_initialised()
    snapshot = find_current(home)
    if snapshot is None:
        raise ConfigError(
            f"{home.snapshots}: no snapshot of the data set; run 'wg-client freeze --home"
            f" {home.root}': releases are made from a snapshot alone"
        )
    return snapshot


def find_current(home: ClientHome) -> Snapshot | None:
    """Load the home's snapshot in use; None if there is none.

    Raises:
        DecodeError, VerificationError: The snapshot is damaged.
    """
    pointer = _read_pointer(home)
    if pointer is None:
        return None
    try:
        return load_snapshot(home.snapshots / str(pointer.number), pointer.manifest_sha256)
    except ConfigError:
        later = _read_pointer(home)  # a freeze may just have replaced it
        if later is None or later == pointer:
            raise
        return load_snapshot(home.snapshots / str(later.number), later.manifest_sha256)


def load_snapshot(folder: Path, manifest_sha256: str | None = None) -> Snapshot:
    """Load a snapshot from its folder, checking the SHA-256 of its manifest if given.

    Raises:
        ConfigError: The folder holds no snapshot.
        DecodeError: The manifest is malformed or of another version.
        VerificationError: The manifest changed since the freeze.
    """
    path = folder / MANIFEST_FILE
    data = atomic.read_bytes(path, limit=MANIFEST_BYTES_LIMIT)
    if manifest_sha256 is not None:
        _check_unchanged(path, canonical.sha256_hex(data), manifest_sha256)
    manifest = canonical.decode(
        SnapshotManifest, data, input_name=str(path), max_bytes=MANIFEST_BYTES_LIMIT
    )
    return Snapshot(folder, manifest)


def make_current(home: ClientHome, snapshot: Snapshot) -> None:
    """Make a snapshot the one in use, atomically."""
    sha256 = file_sha256(snapshot.folder / MANIFEST_FILE)
    pointer = SnapshotPointer(number=snapshot.manifest.number, manifest_sha256=sha256)
    atomic.write_private_bytes(home.snapshots / POINTER_FILE, canonical.encode(pointer))


def load_all_snapshots(home: ClientHome) -> list[Snapshot]:
    """Load every complete snapshot of the home, oldest first."""
    folders = [
        path
        for path in home.snapshots.glob("*")
        if path.name.isdecimal() and (path / MANIFEST_FILE).is_file()  # else half deleted
    ]
    return [load_snapshot(path) for path in sorted(folders, key=lambda path: int(path.name))]


def data_commitment(secret: bytes, salt: bytes, record_digests: Sequence[bytes]) -> str:
    """Return the keyed commitment, hex, to a data set's record digests, given in any order."""
    return commit_to_data(secret, [salt, *sorted(record_digests)])


def record_digest(label: str, unit: str, content: bytes) -> bytes:
    """Return the SHA-256 of a record's label, unit (each may be empty) and content digest."""
    code = hashlib.sha256()
    for raw in (label.encode("utf-8"), unit.encode("utf-8"), content):
        code.update(struct.pack(">I", len(raw)) + raw)
    return code.digest()


def keyed_content_digest(secret: bytes, content: bytes) -> bytes:
    """Return the keyed digest of a record's content, which only this plant can recognise."""
    return hmac.digest(secret, _CONTENT_CONTEXT + content, "sha256")


def keyed_unit_digest(secret: bytes, column: str, unit: str) -> bytes:
    """Return a keyed digest of the privacy unit that a column names."""
    text = column.encode("utf-8")
    message = _UNIT_CONTEXT + struct.pack(">I", len(text)) + text + unit.encode("utf-8")
    return hmac.digest(secret, message, "sha256")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file of any size, hex.

    Raises:
        ConfigError: The file cannot be read.
    """
    with reraise_os_errors(ConfigError, f"{path}: cannot be read"), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_pointer(home: ClientHome) -> SnapshotPointer | None:
    path = home.snapshots / POINTER_FILE
    return canonical.read_record(SnapshotPointer, path) if path.is_file() else None


def _check_unchanged(path: Path, sha256: str, frozen_sha256: str) -> None:
    if sha256 != frozen_sha256:
        raise VerificationError(
            f"{path}: changed since it was frozen; run 'wg-client freeze --home"
            f" {path.parent.parent.parent}'"
        )
