"""Sources of a log's bytes: a ledger file or an export. The log itself is not verified here.

A source only checks what is specific to its kind of file: released bytes and pages of a database,
manifest and sections of an export.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import database, entries, shared_budget
from wg_core.ledger.entries import Entry, Genesis
from wg_core.ledger.export import ExportReader
from wg_core.ledger.state import LedgerState
from wg_core.wire import canonical


class LogSource(Protocol):
    """Source of a log's bytes: a ledger file or an export."""

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the bytes of each log entry and the leaf hash stored beside it, in order."""

    def checkpoints(self) -> list[bytes]:
        """Return the log's signed checkpoints, by size."""

    def check_remaining_parts(self, state: LedgerState, heads: int) -> None:
        """Check the other parts of the ledger file or export, after all entries were read."""

    def close(self) -> None:
        """Close the ledger file or export."""


def open_source(path: Path) -> LogSource:
    """Open a ledger file, an export, or the ledger of a client's home folder.

    Raises:
        ConfigError: The file does not exist, or is not a regular file.
        DecodeError: The file is neither a ledger nor an export.
    """
    ledger = shared_budget.ledger_file(path) if path.is_dir() else path
    if ledger.suffix == ".sqlite" or _is_sqlite(ledger):
        return _DatabaseSource(ledger)
    return ExportReader(ledger)


def read_site_and_origin(source: LogSource) -> tuple[str, str]:
    """Return site and origin from a log's first entry, without verifying them.

    Raises:
        DecodeError: The first entry is not a genesis entry.
        VerificationError: The log is empty.
    """
    for data, _ in source.entries():
        entry = entries.decode(data, subject="entry 0")
        if not isinstance(entry, Genesis):
            raise DecodeError(f"entry 0: is a {entry.head.kind} entry, expected genesis")
        return entry.site, entry.head.origin
    raise VerificationError("entry 0: is missing, the log is empty")


def stored_entries(source: LogSource) -> Iterator[Entry]:
    """Yield the entries of a log that was verified before, one at a time."""
    for data, _ in source.entries():
        yield entries.decode(data)


class _DatabaseSource:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = database.connect_read_only(path)
        try:
            database.limit_query_work(path, self._db)
            database.check_format(path, self._db)
            with database.translate_sqlite_errors(path):
                self._db.execute("begin")
        except BaseException:
            self._db.close()
            raise

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        with database.translate_sqlite_errors(self._path):
            rows = self._db.execute("select seq, entry, hash from entries order by seq")
            for index, (seq, entry, leaf) in enumerate(rows):
                if seq != index:
                    raise VerificationError(f"entry {index}: is missing")
                if not isinstance(entry, bytes):
                    raise VerificationError(f"entry {index}: is damaged")
                yield entry, leaf

    def checkpoints(self) -> list[bytes]:
        with database.translate_sqlite_errors(self._path):
            rows = self._db.execute("select note from heads order by size").fetchall()
        return [bytes(row[0]) for row in rows]

    def check_remaining_parts(self, state: LedgerState, heads: int) -> None:
        """Check the database's pages, and each stored payload against its RELEASE entry."""
        del heads
        with database.translate_sqlite_errors(self._path):
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


def _is_sqlite(path: Path) -> bool:
    with atomic.open_regular_file(path) as stream:
        return stream.read(16) == b"SQLite format 3\x00"
