"""Sources of a log's bytes: a ledger file or an export. The log itself is not verified here.

A source (``LedgerFile`` or ``ExportReader``) only checks what is specific to its kind of file:
pages and released bytes of a database, manifest and sections of an export.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import entries, shared_budget
from wg_core.ledger.database import LedgerFile
from wg_core.ledger.entries import Entry, Genesis
from wg_core.ledger.export import ExportReader
from wg_core.ledger.log_state import LedgerState


class LogSource(Protocol):
    """Source of a log's bytes: a ledger file or an export."""

    def entries_with_leaf_hashes(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the bytes of each log entry and the leaf hash stored beside it, in order."""

    def checkpoints(self) -> list[bytes]:
        """Return the log's signed checkpoints, by size."""

    def check_file_integrity(self, state: LedgerState, checkpoint_count: int) -> None:
        """Check the file's other parts, given the log's final state and number of checkpoints."""

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
        return LedgerFile(ledger)
    return ExportReader(ledger)


def read_site_and_origin(source: LogSource) -> tuple[str, str]:
    """Return site name and origin from a log's first entry, without verifying them.

    Raises:
        DecodeError: The first entry is not a genesis entry.
        VerificationError: The log is empty.
    """
    for data, _ in source.entries_with_leaf_hashes():
        entry = entries.decode(data, input_name="entry 0")
        if not isinstance(entry, Genesis):
            raise DecodeError(f"entry 0: is a {entry.head.kind} entry, expected genesis")
        return entry.site, entry.head.origin
    raise VerificationError("entry 0: is missing, the log is empty")


def decode_entries(source: LogSource) -> Iterator[Entry]:
    """Yield the decoded entries of a log, in order, without verifying them."""
    for data, _ in source.entries_with_leaf_hashes():
        yield entries.decode(data)


def _is_sqlite(path: Path) -> bool:
    with atomic.open_regular_file(path) as stream:
        return stream.read(16) == b"SQLite format 3\x00"
