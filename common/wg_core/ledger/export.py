"""Ledger export (``.wgl``): a file with everything that a verifier of a log needs.

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
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, BinaryIO, Self

from wg_core import atomic, text_grammars
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import entries, merkle
from wg_core.ledger.database import LedgerFile
from wg_core.ledger.log_state import LedgerState
from wg_core.wire import canonical, container
from wg_core.wire.container import Section, SectionSpan
from wg_core.wire.protocol import LEDGER_BYTES_LIMIT, LEDGER_FILE_KIND

VERSION = 1
SECTION_NAMES = ("manifest", "entries", "hashes", "heads")
_CHECKPOINT_BYTES_LIMIT = 256 << 10
_MANIFEST_BYTES_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportManifest(text_grammars.TextRecord):
    """Manifest of a ledger export, with the numbers of entries and of checkpoints (``heads``)."""

    version: int = VERSION
    origin: text_grammars.Origin
    site: text_grammars.SiteName
    entries: int
    root: text_grammars.Digest
    heads: int


@dataclass(frozen=True, slots=True)
class ExportedCheckpoint(text_grammars.TextRecord):
    """Signed checkpoint in a ledger export, as text."""

    note: text_grammars.NoteText


def export_manifest(state: LedgerState, checkpoint_count: int) -> ExportManifest:
    """Return the export manifest of a log and its checkpoints, from its final state."""
    return ExportManifest(
        origin=state.origin,
        site=state.site,
        entries=state.size,
        root=state.frontier.root().hex(),
        heads=checkpoint_count,
    )


def write_export(ledger_path: Path, export_path: Path) -> ExportManifest:
    """Export a ledger file as ``.wgl``, which needs no key and does not change the ledger.

    Entries are verified while they are read, so that an invalid ledger is not exported.

    Raises:
        ConfigError: The ledger cannot be read, or the export cannot be written.
        VerificationError: The ledger is not valid.
    """
    folder, state = export_path.parent, LedgerState()
    with (
        closing(LedgerFile(ledger_path)) as source,
        atomic.open_replacement(export_path) as target,
        tempfile.TemporaryFile(dir=folder) as body,
        tempfile.TemporaryFile(dir=folder) as hashes,
    ):
        for data, _ in source.entries_with_leaf_hashes():
            state.apply_entry(data)
            body.write(data + b"\n")
            hashes.write(state.last_leaf_hash)
        notes = source.checkpoints()
        manifest = export_manifest(state, len(notes))
        heads = b"".join(canonical.encode(ExportedCheckpoint(x.decode())) + b"\n" for x in notes)
        streams: list[IO[bytes]] = [BytesIO(canonical.encode(manifest)), body, hashes]
        streams.append(BytesIO(heads))
        rows = tuple(
            Section(name, *_size_and_sha256(part))
            for name, part in zip(SECTION_NAMES, streams, strict=True)
        )
        target.write(container.encode_header(LEDGER_FILE_KIND, VERSION, rows))
        for part in streams:
            part.seek(0)
            shutil.copyfileobj(part, target, atomic.CHUNK_BYTES)
    return manifest


class ExportReader:
    """Source of a log's bytes: reader of an export file, one entry at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: BinaryIO = atomic.open_regular_file(path)
        try:
            spans = container.locate_sections(
                self._stream,
                kind=LEDGER_FILE_KIND,
                version=VERSION,
                section_names=SECTION_NAMES,
                max_bytes=LEDGER_BYTES_LIMIT,
            )
            self._spans = {span.name: span for span in spans}
            self.manifest = canonical.decode(
                ExportManifest,
                self._read_section("manifest", _MANIFEST_BYTES_LIMIT),
                input_name="export manifest",
                max_bytes=_MANIFEST_BYTES_LIMIT,
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

    def entries_with_leaf_hashes(self) -> Iterator[tuple[bytes, bytes]]:
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
            line = self._stream.readline(min(entries.ENTRY_BYTES_LIMIT + 1, end - position))
            if not line.endswith(b"\n"):
                raise DecodeError(f"entry {index}: cut, or longer than {entries.ENTRY_BYTES_LIMIT}")
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
        """Return the signed checkpoints in the export; ``DecodeError`` if they are malformed."""
        *lines, end = self._read_section("heads", _MANIFEST_BYTES_LIMIT * 32).split(b"\n")
        if end:
            raise DecodeError(f"checkpoint {len(lines)}: cut")
        records = [
            canonical.decode(
                ExportedCheckpoint,
                line,
                input_name=f"checkpoint {index}",
                max_bytes=_CHECKPOINT_BYTES_LIMIT,
            )
            for index, line in enumerate(lines)
        ]
        if len(records) != self.manifest.heads:
            raise DecodeError(
                f"export: {len(records)} checkpoints, the manifest says {self.manifest.heads}"
            )
        return [record.note.encode() for record in records]

    def check_file_integrity(self, state: LedgerState, checkpoint_count: int) -> None:
        """Compare the export's manifest with its entries, and its sections with their hashes.

        Raises:
            VerificationError: The manifest or a section was changed after the export.
        """
        expected, manifest = export_manifest(state, checkpoint_count), self.manifest
        if manifest != expected:
            fields = [x for x in manifest.__slots__ if getattr(manifest, x) != getattr(expected, x)]
            raise VerificationError(f"export manifest: {', '.join(fields)} not as the entries say")
        for span in self._spans.values():
            digest = hashlib.sha256()
            for block in self._read_blocks(span):
                digest.update(block)
            if digest.hexdigest() != span.sha256:
                raise VerificationError(
                    f"export: section {span.name!r} does not match its hash in the header"
                )

    def _read_section(self, name: str, max_bytes: int) -> bytes:
        span = self._spans[name]
        if span.size > max_bytes:
            raise DecodeError(f"export: section {name!r} of {span.size} bytes, at most {max_bytes}")
        return b"".join(self._read_blocks(span))

    def _read_blocks(self, span: SectionSpan) -> Iterator[bytes]:
        self._stream.seek(span.offset)
        bytes_left = span.size
        while bytes_left:
            block = self._stream.read(min(atomic.CHUNK_BYTES, bytes_left))
            if not block:
                raise DecodeError(f"export: section {span.name!r} is cut short")
            bytes_left -= len(block)
            yield block


def _size_and_sha256(content: IO[bytes]) -> tuple[int, str]:
    content.seek(0)
    digest = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
    return content.seek(0, os.SEEK_END), digest
