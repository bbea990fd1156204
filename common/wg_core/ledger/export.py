"""The ledger export (``.wgl``): everything that a verifier needs, and nothing else.

A container (``wg_core.wire.container``) with four sections:

========= ===================================================================================
manifest  canonical record: origin, site, size, root, number of checkpoints
entries   canonical bytes of each entry, each ended by a newline (canonical JSON has none)
hashes    leaf hash of each entry, 32 bytes; redundant, so that damage is traced to one entry
heads     signed checkpoints by size, one canonical record a line
========= ===================================================================================

The export holds neither released bytes nor proofs: from the entries a verifier computes the tree of
each checkpoint. The export is not signed as a whole; its checkpoints are signed, and the manifest
is compared with the entries. It is written and read as a stream.
"""

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Self

from wg_core import atomic, grammar
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import database, entries, merkle
from wg_core.ledger.state import LedgerState
from wg_core.wire import canonical, container
from wg_core.wire.container import Section, SectionSpan
from wg_core.wire.protocol import LEDGER_KIND, LEDGER_LIMIT

VERSION = 1
SECTIONS = ("manifest", "entries", "hashes", "heads")
_HEAD_LIMIT = 256 << 10
_MANIFEST_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportManifest:
    """Summary of a ledger export, with only facts that follow from the entries."""

    version: int = VERSION
    origin: grammar.Origin
    site: grammar.SiteName
    entries: int
    root: grammar.Digest
    heads: int

    def __post_init__(self) -> None:
        grammar.check_text_fields(self)


@dataclass(frozen=True, slots=True)
class ExportedCheckpoint:
    """Signed checkpoint in a ledger export, as text."""

    note: grammar.Note

    def __post_init__(self) -> None:
        grammar.check_text_fields(self)


def export_manifest(state: LedgerState, heads: int) -> ExportManifest:
    """Return the export manifest of a log from its state after all entries."""
    return ExportManifest(
        origin=state.origin,
        site=state.site,
        entries=state.size,
        root=state.frontier.root().hex(),
        heads=heads,
    )


def write(ledger: Path, out: Path) -> ExportManifest:
    """Export a ledger file as ``.wgl``. No key is needed, and the ledger is only read.

    Entries are verified while they are read, so that a broken ledger is not exported.

    Raises:
        ConfigError: The ledger cannot be read, or the export cannot be written.
        VerificationError: The ledger is not valid.
    """
    connection = database.connect_read_only(ledger)
    try:
        database.limit_query_work(ledger, connection)
        database.check_format(ledger, connection)
        with database.translate_sqlite_errors(ledger), atomic.open_replacement(out) as target:
            connection.execute("begin")
            return _write(connection, target, out.parent)
    finally:
        connection.close()


def _write(connection: sqlite3.Connection, target: IO[bytes], folder: Path) -> ExportManifest:
    state = LedgerState()
    with tempfile.TemporaryFile(dir=folder) as body, tempfile.TemporaryFile(dir=folder) as hashes:
        for seq, data in connection.execute("select seq, entry from entries order by seq"):
            if seq != state.size:
                raise VerificationError(f"entry {state.size} is missing")
            state.apply_entry(data)
            body.write(data + b"\n")
            hashes.write(state.prev)
        notes = [
            bytes(note) for (note,) in connection.execute("select note from heads order by size")
        ]
        manifest = export_manifest(state, len(notes))
        heads = b"".join(canonical.encode(ExportedCheckpoint(x.decode())) + b"\n" for x in notes)
        streams: list[IO[bytes] | bytes] = [canonical.encode(manifest), body, hashes, heads]
        rows = tuple(
            Section(name, *_size_and_sha256(part))
            for name, part in zip(SECTIONS, streams, strict=True)
        )
        target.write(container.encode_header(LEDGER_KIND, VERSION, rows))
        for part in streams:
            for block in _read_blocks(part):
                target.write(block)
    return manifest


class ExportReader:
    """Reader of an export file, one entry at a time; see ``history``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO = atomic.open_regular_file(path)
        try:
            spans = container.locate_sections(
                self._stream, kind=LEDGER_KIND, version=VERSION, names=SECTIONS, limit=LEDGER_LIMIT
            )
            self._spans = {span.name: span for span in spans}
            self.manifest = canonical.decode(
                ExportManifest,
                self._read_section("manifest", _MANIFEST_LIMIT),
                subject="export manifest",
                limit=_MANIFEST_LIMIT,
            )
        except DecodeError as error:
            self._stream.close()
            raise DecodeError(f"{path}: {error}") from error
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the export file."""
        self._stream.close()

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the bytes of each entry in the export, and the leaf hash stored for it.

        Raises:
            DecodeError: An entry is truncated, or entries and hashes differ in number.
        """
        span, hashes = self._spans["entries"], self._spans["hashes"]
        count = self.manifest.entries
        if hashes.size != count * merkle.HASH_SIZE:
            raise DecodeError(
                f"export: {hashes.size} bytes of entry hashes, expected {merkle.HASH_SIZE} for "
                f"each of {count} entries"
            )
        position, index = span.offset, 0
        end = span.offset + span.size
        while position < end:
            self._stream.seek(position)
            line = self._stream.readline(min(entries.ENTRY_LIMIT + 1, end - position))
            if not line.endswith(b"\n"):
                raise DecodeError(f"entry {index}: cut, or longer than {entries.ENTRY_LIMIT}")
            position += len(line)
            self._stream.seek(hashes.offset + index * merkle.HASH_SIZE)
            digest = self._stream.read(merkle.HASH_SIZE)
            if index >= count:
                raise DecodeError(f"entry {index}: the manifest says {count} entries")
            yield line[:-1], digest
            index += 1
        if index != count:
            raise DecodeError(f"entry {index}: is missing, the manifest says {count} entries")

    def checkpoints(self) -> list[bytes]:
        """Return the signed checkpoints in the export."""
        records = self._head_records()
        if len(records) != self.manifest.heads:
            raise DecodeError(
                f"export: {len(records)} checkpoints, the manifest says {self.manifest.heads}"
            )
        return [record.note.encode() for record in records]

    def _head_records(self) -> list[ExportedCheckpoint]:
        data = self._read_section("heads", _MANIFEST_LIMIT * 32)
        if not data:
            return []
        if not data.endswith(b"\n"):
            raise DecodeError(f"checkpoint {data.count(bytes([10]))}: cut")
        return [
            canonical.decode(
                ExportedCheckpoint, line, subject=f"checkpoint {index}", limit=_HEAD_LIMIT
            )
            for index, line in enumerate(data[:-1].split(b"\n"))
        ]

    def check_remaining_parts(self, state: LedgerState, heads: int) -> None:
        """Compare the export's manifest with its entries, and its sections with their hashes.

        Raises:
            VerificationError: A part does not match: it, or the header, was changed.
        """
        expected, manifest = export_manifest(state, heads), self.manifest
        if manifest != expected:
            fields = [
                name
                for name in manifest.__slots__
                if getattr(manifest, name) != getattr(expected, name)
            ]
            raise VerificationError(f"export manifest: {', '.join(fields)} not as the entries say")
        for span in self._spans.values():
            digest = hashlib.sha256()
            for block in self._read(span):
                digest.update(block)
            if digest.hexdigest() != span.sha256:
                raise VerificationError(
                    f"export: section {span.name!r} does not match its hash in the header"
                )

    def _read_section(self, name: str, limit: int) -> bytes:
        span = self._spans[name]
        if span.size > limit:
            raise DecodeError(f"export: section {name!r} of {span.size} bytes, at most {limit}")
        return b"".join(self._read(span))

    def _read(self, span: SectionSpan) -> Iterator[bytes]:
        self._stream.seek(span.offset)
        bytes_left = span.size
        while bytes_left:
            block = self._stream.read(min(atomic.CHUNK_BYTES, bytes_left))
            if not block:
                raise DecodeError(f"export: section {span.name!r} is cut short")
            bytes_left -= len(block)
            yield block


def _size_and_sha256(content: IO[bytes] | bytes) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    for block in _read_blocks(content):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def _read_blocks(content: IO[bytes] | bytes) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    content.seek(0)
    while block := content.read(atomic.CHUNK_BYTES):
        yield block
