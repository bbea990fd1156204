"""Where a log's bytes are read from: a ledger file or an export. Nothing is verified here.

A source also checks what only its own kind of file holds: released bytes and pages of a database,
manifest of an export.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import database, entries, place
from wg_core.ledger.entries import Entry, Genesis
from wg_core.ledger.export import ExportReader, summarise
from wg_core.ledger.state import LedgerState
from wg_core.wire import canonical


class Source(Protocol):
    """Where a log's bytes come from."""

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Each entry's bytes and the leaf hash stored beside it, in order."""

    def heads(self) -> list[bytes]:
        """Signed checkpoints by size."""

    def finish(self, state: LedgerState, heads: int) -> None:
        """Check what only this kind of source holds."""

    def close(self) -> None:
        """Let go of the file."""


def open_source(path: Path) -> Source:
    """A ledger file, an export, or the home folder of a client.

    Raises:
        ConfigError: None of these is there, or it is no regular file.
        DecodeError: The file is neither.
    """
    ledger = place.ledger_file(path) if path.is_dir() else path
    if ledger.suffix == ".sqlite" or _is_sqlite(ledger):
        return _DatabaseSource(ledger)
    return _ExportSource(ledger)


def identity(source: Source) -> tuple[str, str]:
    """Site and origin that a log's first entry names; nothing of it is verified yet.

    Raises:
        DecodeError: The first entry is no genesis.
    """
    for data, _ in source.entries():
        entry = entries.decode(data, subject="entry 0")
        if not isinstance(entry, Genesis):
            raise DecodeError(f"entry 0: is a {entry.head.kind} entry, expected genesis")
        return entry.site, entry.head.origin
    raise VerificationError("entry 0: is missing, the log is empty")


def stored_entries(source: Source) -> Iterator[Entry]:
    """The entries of a log that was verified, once more, one at a time."""
    for data, _ in source.entries():
        yield entries.decode(data)


class _DatabaseSource:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = database.connect_to_read(path)
        try:
            database.bound_work(path, self._db)
            database.check_format(path, self._db)
            with database.explain_errors(path):
                self._db.execute("begin")
        except BaseException:
            self._db.close()
            raise

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        with database.explain_errors(self._path):
            rows = self._db.execute("select seq, entry, hash from entries order by seq")
            for index, (seq, entry, leaf) in enumerate(rows):
                if seq != index:
                    raise VerificationError(f"entry {index}: is missing")
                if not isinstance(entry, bytes):
                    raise VerificationError(f"entry {index}: is damaged")
                yield entry, leaf

    def heads(self) -> list[bytes]:
        with database.explain_errors(self._path):
            rows = self._db.execute("select note from heads order by size").fetchall()
        return [bytes(row[0]) for row in rows]

    def finish(self, state: LedgerState, heads: int) -> None:
        """Check every stored payload against its RELEASE entry, and the file itself."""
        del heads
        with database.explain_errors(self._path):
            (result,) = self._db.execute("pragma quick_check(1)").fetchone()
            if result != "ok":
                raise VerificationError(f"{self._path}: the file is damaged: {result}")
            for charge, payload in self._db.execute("select charge, payload from outbox"):
                charge_state = state.charges.get(charge)
                digest = canonical.sha256_hex(payload)
                if charge_state is None or charge_state.payload_sha256 != digest:
                    raise VerificationError(
                        f"outbox of charge {charge}: not the bytes of its RELEASE entry"
                    )

    def close(self) -> None:
        self._db.close()


class _ExportSource:
    def __init__(self, path: Path) -> None:
        self._reader = ExportReader(path)

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        return self._reader.entries()

    def heads(self) -> list[bytes]:
        return self._reader.heads()

    def finish(self, state: LedgerState, heads: int) -> None:
        """Check the manifest, then each section's hash."""
        expected = summarise(state, heads)
        manifest = self._reader.manifest
        if manifest != expected:
            fields = [
                name
                for name in manifest.__slots__
                if getattr(manifest, name) != getattr(expected, name)
            ]
            raise VerificationError(f"export manifest: {', '.join(fields)} not as the entries say")
        self._reader.check_sections()

    def close(self) -> None:
        self._reader.close()


def _is_sqlite(path: Path) -> bool:
    with atomic.open_regular(path) as stream:
        return stream.read(16) == b"SQLite format 3\x00"
