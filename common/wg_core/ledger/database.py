"""SQLite file of the ledger: schema, connections, and translation of SQLite's errors.

WAL mode with ``synchronous=FULL``: a committed transaction survives a power cut. Writers take
``BEGIN IMMEDIATE``, which serialises them across processes.

=========== =====================================================================
entries     ``seq``, canonical bytes, leaf hash (redundant: it locates damage)
heads       signed checkpoints: the newest, and every one that was cosigned or sent
outbox      released bytes of each charge, which can be sent again after a crash
=========== =====================================================================
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import IntFlag
from pathlib import Path
from typing import TYPE_CHECKING

from wg_core import __version__
from wg_core.errors import ConfigError, StorageError, VerificationError, reraise_os_errors
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_core.ledger.log_state import LedgerState

SQLITE_APPLICATION_ID = int.from_bytes(b"WGL1", "big")  # In SQLite's header
SCHEMA_VERSION = 1
LOCK_WAIT_SECONDS = 60.0


class CheckpointFlags(IntFlag):
    """Flags of a stored checkpoint: bits of the column ``heads.cosigned``."""

    COSIGNED = 1  # The note holds a witness's cosignature
    SENT_OUT = 2  # It was sent: a witness may have cosigned it though no reply came


_TABLE_COLUMNS = {
    "entries": "seq integer primary key, entry blob not null, hash blob not null",
    "heads": "size integer primary key, note blob not null, cosigned integer not null",
    "outbox": "charge integer primary key, payload blob not null",
}
_SCHEMA_ROWS = [
    ("table", name, f"CREATE TABLE {name}({columns}) strict")
    for name, columns in _TABLE_COLUMNS.items()
]
"""All rows that ``sqlite_schema`` may have: a further view or trigger could run code on a read."""
_DAMAGE_MESSAGE_PARTS = ("malformed", "not a database", "corrupt", "interrupted", "too big")
_VALUE_BYTES_LIMIT = 128 << 20  # Largest value that is read from a file, in bytes
_BASE_OPERATIONS, _OPERATIONS_PER_BYTE = 20_000_000, 20
"""Limit on SQLite operations on a file: a constant number, and a number for each byte of the file.

Reading a valid ledger once takes about one operation per ten bytes; it is read a few times."""


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Translate SQLite's errors on a ledger file into errors of ``wg_core.errors``.

    Raises:
        VerificationError: The file is damaged.
        StorageError: The disk is full or the file read-only, locked or unreadable; nothing changed.
    """
    try:
        yield
    # Python cannot decode an SQLite message that quotes a damaged schema.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        text = str(error)
        if isinstance(error, UnicodeDecodeError) or any(x in text for x in _DAMAGE_MESSAGE_PARTS):
            raise VerificationError(
                f"{path}: the ledger's file is damaged ({text}); restore it from a copy that the "
                "witness has seen, nothing was released"
            ) from error
        if "full" in text:
            reason = "the disk is full"
        elif "readonly" in text:
            reason = "it is read-only"
        elif "locked" in text:
            reason = f"another process held it for more than {LOCK_WAIT_SECONDS:.0f} s"
        else:
            reason = text
        raise StorageError(f"{path}: cannot write or read the ledger: {reason}") from error


def create_ledger_file(path: Path) -> sqlite3.Connection:
    """Create a ledger's SQLite file, readable by its owner only, or reuse an empty one.

    Raises:
        ConfigError: A ledger exists already, or the file cannot be created.
    """
    with reraise_os_errors(ConfigError, f"{path}: cannot be made"):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = connect(path)
    with translate_sqlite_errors(path):
        if database.execute("select count(*) from sqlite_schema").fetchone()[0]:
            database.close()
            raise ConfigError(f"{path}: there is a ledger already")
    return database


def holds_ledger(path: Path) -> bool:
    """Return whether a file exists and has tables; a crash at its creation leaves an empty file.

    Raises:
        VerificationError: The file is damaged.
    """
    if not path.exists():
        return False
    with translate_sqlite_errors(path), closing(connect(path)) as database:
        return bool(database.execute("select count(*) from sqlite_schema").fetchone()[0])


def install_schema(connection: sqlite3.Connection) -> None:
    """Create the ledger's SQLite tables, inside the caller's transaction."""
    for _, _, statement in _SCHEMA_ROWS:
        connection.execute(statement)
    connection.execute(f"pragma application_id = {SQLITE_APPLICATION_ID}")
    connection.execute(f"pragma user_version = {SCHEMA_VERSION}")


def connect(path: Path) -> sqlite3.Connection:
    """Open a ledger's SQLite file for reading and writing.

    Raises:
        ConfigError: The file does not exist.
        StorageError: The file cannot be opened.
        VerificationError: The file is damaged.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no ledger")
    with translate_sqlite_errors(path):
        database = sqlite3.connect(path, isolation_level=None, timeout=LOCK_WAIT_SECONDS)
        try:
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error):
                database.close()
                raise
        except sqlite3.Error:
            database.close()
            raise
    return database


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a ledger's SQLite file for reading, even on a read-only medium or beside a writer.

    Raises:
        ConfigError: The file does not exist, or a companion is not a regular file.
        StorageError: The file cannot be opened.
        VerificationError: The file is damaged.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no ledger")
    uri = path.absolute().as_uri()
    companions = [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]
    for companion in companions:
        if companion.exists() and not companion.is_file():
            raise ConfigError(f"{companion}: cannot be read: not a regular file")
    wal = companions[0]
    with translate_sqlite_errors(path):
        database = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=LOCK_WAIT_SECONDS)
        try:
            database.execute("select count(*) from sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            database.close()
            if wal.exists() and wal.stat().st_size:
                raise
            # No write-ahead log, and no right to create one: the main file is complete.
            database = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
        except (sqlite3.Error, UnicodeDecodeError):
            database.close()
            raise
    return database


def limit_query_work(path: Path, connection: sqlite3.Connection) -> None:
    """Make SQLite interrupt queries that take too much work for the size of an untrusted file."""
    work_step = 100_000
    size = path.stat().st_size
    steps_left = (_BASE_OPERATIONS + _OPERATIONS_PER_BYTE * size) // work_step

    def end() -> bool:
        nonlocal steps_left
        steps_left -= 1
        return steps_left < 0

    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES_LIMIT)
    connection.set_progress_handler(end, work_step)


def check_format(path: Path, connection: sqlite3.Connection) -> None:
    """Check that an SQLite file is a ledger of this version, with rows of the right types.

    Raises:
        ConfigError: The file is not a ledger, or of another version.
        VerificationError: The file is damaged, or has other tables or types than a ledger.
    """
    with translate_sqlite_errors(path):
        (application,) = connection.execute("pragma application_id").fetchone()
        (version,) = connection.execute("pragma user_version").fetchone()
    if application != SQLITE_APPLICATION_ID:
        raise ConfigError(f"{path}: not a weightgate ledger, or copied without its -wal file")
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: ledger format {version}, this program (weightgate {__version__}) reads"
            f" {SCHEMA_VERSION}: use the version that wrote it"
        )
    with translate_sqlite_errors(path):
        schema = connection.execute("select type, name, sql from sqlite_schema order by name")
        if schema.fetchmany(len(_SCHEMA_ROWS) + 1) != _SCHEMA_ROWS:
            raise VerificationError(
                f"{path}: the ledger's file is damaged: its tables are not those of a ledger"
            )
        # Types hold unless the file's pages or schema were changed from outside.
        for table, columns in _TABLE_COLUMNS.items():
            types = (column.split()[:2] for column in columns.split(", "))
            wrong = " or ".join(f"typeof({name}) <> '{kind}'" for name, kind in types)
            rows = connection.execute(f"select 1 from {table} where {wrong} limit 1")  # noqa: S608 - constants
            if rows.fetchone() is not None:
                raise VerificationError(
                    f"{path}: the ledger's file is damaged: a row of {table} is of another type"
                )


class LedgerFile:
    """Source of a log's bytes: read-only view of a ledger's SQLite file at one moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = connect_read_only(path)
        try:
            limit_query_work(path, self._db)
            check_format(path, self._db)
            with translate_sqlite_errors(path):
                self._db.execute("begin")
        except BaseException:
            self._db.close()
            raise

    def entries_with_leaf_hashes(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the bytes of each log entry and the leaf hash stored beside it, in order."""
        with translate_sqlite_errors(self._path):
            rows = self._db.execute("select seq, entry, hash from entries order by seq")
            for index, (seq, entry, leaf) in enumerate(rows):
                if seq != index:
                    raise VerificationError(f"entry {index}: is missing")
                if not isinstance(entry, bytes):
                    raise VerificationError(f"entry {index}: is damaged")
                yield entry, leaf

    def checkpoints(self) -> list[bytes]:
        """Return the log's signed checkpoints, by size."""
        with translate_sqlite_errors(self._path):
            rows = self._db.execute("select note from heads order by size").fetchall()
        return [bytes(row[0]) for row in rows]

    def check_file_integrity(self, state: "LedgerState", checkpoint_count: int) -> None:
        """Check the database's pages, and the stored released bytes against the RELEASE entries."""
        del checkpoint_count
        with translate_sqlite_errors(self._path):
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
        """Close the ledger's file."""
        self._db.close()
