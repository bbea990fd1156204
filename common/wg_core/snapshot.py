"""A snapshot: what a plant's releases are made from, fixed on disk before anybody asks.

::

    snapshots/current            number of the snapshot in use, and SHA-256 of its manifest
    snapshots/3/manifest.json    ``SnapshotManifest``: all that an answer needs, of fixed size
    snapshots/3/statistics.bin   exact integer class statistics, of fixed size
    snapshots/3/machine.bin      the same of its machine, where one is stated that the encoder reads
    snapshots/3/features.array   local features, float32 ``[n, D]``
    snapshots/3/records.npz      labels, keyed digests of contents and units, shapes, rows, stamps
    snapshots/3/listing.json     ``Listing``: names, what was set aside, what counts once
    snapshots/3/acceptance.npz   records that no release reads, and models are judged by, if any
    snapshots/3/quality.json     ``Quality``, for the plant's own people; nothing else reads it

An answer reads the manifest, the statistics, and what the second part of a release sums about its
centre: features, labels, units. Its outcome depends on no record; how long it takes depends on how
many there are, which its time slot hides (docs/centred-release.md). Everything is private, mode
0600 in folders of mode 0700. A snapshot is written to a temporary folder and renamed, so it is
there as a whole or not at all; ``freeze`` makes them.

The commitment of a version is an HMAC under the site's secret of 32 random bytes, the *salt*, and
of the records in sorted order: two versions of equal content have different commitments, and
only the plant can tell.
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
from wg_core.errors import ConfigError, MachineUnstated, VerificationError, raised_as
from wg_core.ledger.commitment import commit
from wg_core.privacy.centring import Centre
from wg_core.privacy.exact import exact_statistics
from wg_core.privacy.schema import CLASSES, MACHINE, Statistics, StatisticsSchema
from wg_core.site.home import ClientHome
from wg_core.wire import canonical
from wg_core.wire.data_sheet import DataSheet

VERSION = 1
MANIFEST = "manifest.json"
STATISTICS = "statistics.bin"
MACHINE_STATISTICS = "machine.bin"
FEATURES = "features.array"
RECORDS = "records.npz"
LISTING = "listing.json"
ACCEPTANCE = "acceptance.npz"
CURRENT = "current"

SALT_BYTES = 32
DIGEST_BYTES = 32
MANIFEST_LIMIT = 8 << 20
_STATISTICS_LIMIT = 64 << 20
_RECORDS_LIMIT = 1 << 30
_POINTER_LIMIT = 128
_SUM_CHUNK = 1 << 13
_CONTENT = b"weightgate/v1/record-content\n"
_UNIT = b"weightgate/v1/privacy-unit\n"

Digests = NDArray[np.uint8]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePart:
    """Machine statistics of a snapshot.

    Attributes:
        data_sheet: The machine at which the records' numbers were read.
        schema: Layout of their release.
        statistics_sha256: SHA-256 of ``machine.bin``, hex.
    """

    data_sheet: DataSheet
    schema: StatisticsSchema
    statistics_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotManifest:
    """Facts about a snapshot that an answer needs.

    Attributes:
        number: Version of the data set, counted up from 1.
        created: Unix time, seconds.
        dataset: Name of the data set on the ledger.
        salt: 32 random bytes, hex.
        commitment: Commitment of this version, hex.
        modality: Name of the records' modality.
        local_dimension: Number D of local features.
        scaled: Number of them that have a public scale.
        unit_column: Column that names the privacy unit; empty: there is none.
        schema: Layout of the release; names encoder, label domain and unit rule.
        statistics_sha256: SHA-256 of ``statistics.bin``, hex.
        features_sha256: SHA-256 of ``features.array``, hex.
        records_sha256: SHA-256 of ``records.npz``, hex.
        listing_sha256: SHA-256 of ``listing.json``, hex.
        acceptance_sha256: SHA-256 of ``acceptance.npz``, hex; empty: there is none.
        machine: Machine statistics; absent: no machine was stated that the encoder reads.
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
    machine: MachinePart | UnsetType = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """Which snapshot is in use: its number, and the SHA-256 of its manifest, hex."""

    number: int
    manifest_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something in the data set that cannot be used.

    Attributes:
        name: The file, relative to the folder, or a row of it.
        reason: Why not.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicate:
    """A record that does not count, since another one of the same content does."""

    name: str
    same_as: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Names of a snapshot's records, for the plant's engineer.

    Attributes:
        path: The data folder or file.
        names: Names of the records that count, in order.
        set_aside: What was left out, and why.
        duplicates: What counts once with another record.
    """

    path: str
    names: tuple[str, ...]
    set_aside: tuple[Problem, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrozenRecords:
    """Facts about each of a snapshot's n records, by column.

    Attributes:
        labels: int64 ``[n]``, -1 = unlabelled.
        contents: uint8 ``[n, 32]``, keyed digest of each record's content.
        units: uint8 ``[n, 32]``, keyed digest of each record's privacy unit.
        shapes: int64 ``[n, 2]``, as ``inspection.Inspection``.
        rows: int64 ``[n]``, row in the ``.npz`` file or table; -1: the record is a file.
        stamps: int64 ``[n, 2]``, size and time of change (nanoseconds) of the file when frozen.
    """

    labels: NDArray[np.int64]
    contents: Digests
    units: Digests
    shapes: NDArray[np.int64]
    rows: NDArray[np.int64]
    stamps: NDArray[np.int64]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By name, as in the file."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot on disk."""

    folder: Path
    manifest: SnapshotManifest = field(repr=False)

    @property
    def encoder(self) -> str:
        """Id of the encoder that made its features, hex."""
        return self.manifest.schema.encoder

    @property
    def machine(self) -> MachinePart:
        """Machine statistics.

        Raises:
            MachineUnstated: It has none.
        """
        if self.manifest.machine is UNSET:
            raise MachineUnstated(
                f"{self.folder}: snapshot {self.manifest.number} has no machine statistics; run"
                f" 'wg-client freeze --home {self.folder.parent.parent}': it reads them where a"
                " data sheet is stated of a machine that the encoder reads, and says so where it"
                " does not"
            )
        return self.manifest.machine

    def schema(self, statistics: Statistics) -> StatisticsSchema:
        """Layout of its releases of these statistics; errors as of ``machine``."""
        return self.manifest.schema if statistics == CLASSES else self.machine.schema

    def statistics(self, statistics: Statistics = CLASSES) -> Integers:
        """Exact integer statistics, int64 ``[schema.length]``. Private.

        Raises:
            MachineUnstated: It has none of the machine.
            VerificationError: They are not those that were frozen.
        """
        name, sha256 = STATISTICS, self.manifest.statistics_sha256
        if statistics == MACHINE:
            name, sha256 = MACHINE_STATISTICS, self.machine.statistics_sha256
        path, length = self.folder / name, self.schema(statistics).length
        integers: Integers = np.frombuffer(
            self._read(path, sha256, _STATISTICS_LIMIT), dtype="<i8"
        ).astype(np.int64)
        if integers.shape != (length,):
            raise VerificationError(f"{path}: {integers.shape}, not of the manifest's schema")
        return integers

    def statistics_about(self, centre: Centre) -> Integers:
        """Exact class statistics with the sums about a centre, int64 ``[schema.length]``. Private.

        Raises:
            VerificationError: Features or records are not those that were frozen.
        """
        schema, records = self.manifest.schema, self.records()
        units = None
        if schema.unit_rule != "record":
            units = [digest.tobytes().hex() for digest in records.units]
        return exact_sums(schema, self.features(), records.labels, units, centre)

    def check(self) -> None:
        """Check that all that a release needs is as it was frozen, or ``VerificationError``."""
        self.statistics()
        if self.manifest.machine is not UNSET:
            self.statistics(MACHINE)
        self.features()
        self.records()

    def features(self) -> NDArray[np.float32]:
        """Local features ``[n, D]``, mapped from disk.

        Raises:
            VerificationError: They are not those that were frozen.
        """
        path = self.folder / FEATURES
        if file_sha256(path) != self.manifest.features_sha256:
            raise VerificationError(f"{path}: changed since it was frozen; {_again(self.folder)}")
        try:
            features: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise VerificationError(f"{path}: damaged: {error}") from error
        return features

    def records(self) -> FrozenRecords:
        """Facts about each record.

        Raises:
            VerificationError: The file is not the one that was frozen.
        """
        path = self.folder / RECORDS
        data = self._read(path, self.manifest.records_sha256, _RECORDS_LIMIT)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                return FrozenRecords(**{name: file[name] for name in FrozenRecords.__slots__})
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise VerificationError(f"{path}: damaged: {error}") from error

    def listing(self) -> Listing:
        """Names, and what was left out.

        Raises:
            VerificationError: The file is not the one that was frozen.
        """
        path = self.folder / LISTING
        data = self._read(path, self.manifest.listing_sha256, _RECORDS_LIMIT)
        return canonical.decode(Listing, data, subject=str(path), limit=_RECORDS_LIMIT)

    def acceptance(self) -> bytes:
        """The acceptance set as ``freeze`` was given it; empty: there is none.

        Raises:
            VerificationError: It is not the one that was frozen.
        """
        if not self.manifest.acceptance_sha256:
            return b""
        path = self.folder / ACCEPTANCE
        return self._read(path, self.manifest.acceptance_sha256, _RECORDS_LIMIT)

    def _read(self, path: Path, sha256: str, limit: int) -> bytes:
        data = atomic.read_bytes(path, limit=limit)
        if canonical.sha256_hex(data) != sha256:
            raise VerificationError(f"{path}: changed since it was frozen; {_again(self.folder)}")
        return data


def exact_sums(
    schema: StatisticsSchema,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    units: Sequence[str] | None,
    centre: Centre | None = None,
) -> Integers:
    """A data set's exact statistics, with memory for a part of its records at a time.

    Args:
        features: Local features ``[n, D]``, the released ones first; may be mapped from disk.
        labels: ``[n]``, -1 = unlabelled.
        units: Privacy unit of each record, or None where each record is one.
        centre: What sums are taken about; None is the origin.
    """
    released_features = features[:, : schema.dimension]
    if units is not None:
        return exact_statistics(schema, released_features, labels, units, centre)
    total = np.zeros(schema.length, dtype=np.int64)
    for start in range(0, len(labels), _SUM_CHUNK):  # a sum over records is a sum over chunks
        part = slice(start, start + _SUM_CHUNK)
        total += exact_statistics(schema, released_features[part], labels[part], None, centre)
        let_go(features)
    return total


def let_go(features: NDArray[np.float32]) -> None:
    """Take what was read or written of a mapped file out of memory; it is there when asked for."""
    if isinstance(features.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        features.base.madvise(mmap.MADV_DONTNEED)


def current(home: ClientHome) -> Snapshot:
    """The snapshot that releases are made from.

    Raises:
        ConfigError: There is none.
        DecodeError: It is damaged.
    """
    home.require()
    snapshot = newest(home)
    if snapshot is None:
        raise ConfigError(
            f"{home.snapshots}: no snapshot of the data set; run 'wg-client freeze --home"
            f" {home.root}': releases are made from a snapshot alone"
        )
    return snapshot


def newest(home: ClientHome) -> Snapshot | None:
    """The snapshot in use, if there is one.

    Raises:
        DecodeError, VerificationError: It is damaged.
    """
    pointer = _pointer(home)
    if pointer is None:
        return None
    try:
        return load(home.snapshots / str(pointer.number), pointer.manifest_sha256)
    except ConfigError:
        later = _pointer(home)  # a freeze may just have replaced it
        if later is None or later == pointer:
            raise
        return load(home.snapshots / str(later.number), later.manifest_sha256)


def load(folder: Path, sha256: str | None = None) -> Snapshot:
    """A snapshot by its folder, and the SHA-256 of its manifest where that is known.

    Raises:
        ConfigError: There is none.
        DecodeError: It is of another version, or no snapshot.
        VerificationError: It changed since it was frozen.
    """
    path = folder / MANIFEST
    data = atomic.read_bytes(path, limit=MANIFEST_LIMIT)
    if sha256 is not None and canonical.sha256_hex(data) != sha256:
        raise VerificationError(f"{path}: changed since it was frozen; {_again(folder)}")
    manifest = canonical.decode(SnapshotManifest, data, subject=str(path), limit=MANIFEST_LIMIT)
    return Snapshot(folder, manifest)


def point(home: ClientHome, snapshot: Snapshot) -> None:
    """Put a snapshot in use, in one step."""
    pointer = Pointer(
        number=snapshot.manifest.number, manifest_sha256=file_sha256(snapshot.folder / MANIFEST)
    )
    atomic.write_bytes(home.snapshots / CURRENT, canonical.encode(pointer), mode=atomic.PRIVATE)


def all_snapshots(home: ClientHome) -> list[Snapshot]:
    """Every complete snapshot that is there, oldest first."""
    folders = [
        path
        for path in home.snapshots.glob("*")
        if path.name.isdecimal() and (path / MANIFEST).is_file()  # else half deleted
    ]
    return [load(path) for path in sorted(folders, key=lambda path: int(path.name))]


def commitment(secret: bytes, salt: bytes, records: Sequence[bytes]) -> str:
    """Commitment to one version of a data set, from ``record_digest``, in whatever order. Hex."""
    return commit(secret, [salt, *sorted(records)])


def record_digest(label: str, unit: str, content: bytes) -> bytes:
    """SHA-256 of a record: label (empty = none), unit (empty = its own) and content digest."""
    code = hashlib.sha256()
    for raw in (label.encode("utf-8"), unit.encode("utf-8"), content):
        code.update(struct.pack(">I", len(raw)) + raw)
    return code.digest()


def keyed_content(secret: bytes, content: bytes) -> bytes:
    """Keyed digest of a content: recognised at this plant, and nowhere else."""
    return hmac.digest(secret, _CONTENT + content, "sha256")


def keyed_unit(secret: bytes, column: str, unit: str) -> bytes:
    """Keyed digest of a privacy unit that a column names."""
    text = column.encode("utf-8")
    return hmac.digest(
        secret, _UNIT + struct.pack(">I", len(text)) + text + unit.encode("utf-8"), "sha256"
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file of any size, hex.

    Raises:
        ConfigError: It cannot be read.
    """
    code = hashlib.sha256()
    with raised_as(ConfigError, f"{path}: cannot be read"), path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            code.update(piece)
    return code.hexdigest()


def _pointer(home: ClientHome) -> Pointer | None:
    path = home.snapshots / CURRENT
    if not path.is_file():
        return None
    data = atomic.read_bytes(path, limit=_POINTER_LIMIT)
    return canonical.decode(Pointer, data, subject=str(path))


def _again(folder: Path) -> str:
    return f"run 'wg-client freeze --home {folder.parent.parent}'"
