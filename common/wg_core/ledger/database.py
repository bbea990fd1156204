"""The ledger's SQLite file: schema, connections, and what its errors mean to a person.

WAL with ``synchronous=FULL``: a committed transaction survives a power cut. Writers take
``BEGIN IMMEDIATE`` and so stand in a queue across processes.

=========== =====================================================================
entries     ``seq``, canonical bytes, leaf hash (redundant: it locates damage)
heads       signed checkpoints: the newest, and every one that was cosigned or handed out
outbox      released bytes of a charge, to be sent again after a crash
=========== =====================================================================
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import IntFlag
from pathlib import Path

from wg_core import __version__
from wg_core.errors import ConfigError, StorageError, VerificationError, raised_as

APPLICATION_ID = 0x57474C31  # `WGL1` in SQLite's header
SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0


class HeadState(IntFlag):
    """Bits of ``heads.cosigned``."""

    COSIGNED = 1  # A witness's cosignature is in the note
    HANDED_OUT = 2  # It left: a witness may have cosigned it without this ledger's knowing


_TABLES = {
    "entries": "seq integer primary key, entry blob not null, hash blob not null",
    "heads": "size integer primary key, note blob not null, cosigned integer not null",
    "outbox": "charge integer primary key, payload blob not null",
}
_SCHEMA = [
    ("table", name, f"CREATE TABLE {name}({columns}) strict") for name, columns in _TABLES.items()
]
"""Rows of ``sqlite_schema``, whole: a view or trigger could do anything when it is read."""
_TYPES = {
    "entries": {"seq": "integer", "entry": "blob", "hash": "blob"},
    "heads": {"size": "integer", "note": "blob", "cosigned": "integer"},
    "outbox": {"charge": "integer", "payload": "blob"},
}
"""What a strict table holds, unless its pages or its schema were changed from outside."""
_DAMAGED = ("malformed", "not a database", "corrupt", "interrupted", "too big")
_VALUE_LIMIT = 128 << 20  # Largest value that is read from a file, in bytes
_WORK_FREE, _WORK_A_BYTE = 20_000_000, 20
"""SQLite operations that reading a whole file may take: so many, and so many more for each byte.

Reading an honest ledger takes about one for ten bytes, a handful of times."""


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours.

    Raises:
        VerificationError: The file is damaged.
        StorageError: Disk full, read-only, locked, or cannot be opened; nothing was changed.
    """
    try:
        yield
    # Python cannot decode a message of SQLite that quotes a damaged schema.
    except (sqlite3.Error, UnicodeDecodeError) as error:
        text = str(error)
        if isinstance(error, UnicodeDecodeError) or any(word in text for word in _DAMAGED):
            raise VerificationError(
                f"{path}: the ledger's file is damaged ({text}); restore it from a copy that the "
                "witness has seen, nothing was released"
            ) from error
        if "full" in text:
            reason = "the disk is full"
        elif "readonly" in text:
            reason = "it is read-only"
        elif "locked" in text:
            reason = f"another process held it for more than {BUSY_SECONDS:.0f} s"
        else:
            reason = text
        raise StorageError(f"{path}: cannot write or read the ledger: {reason}") from error


def create(path: Path) -> sqlite3.Connection:
    """Make the file, readable by its owner only, or take an empty one that a crash left.

    Raises:
        ConfigError: There is a ledger already, or the file cannot be made.
    """
    with raised_as(ConfigError, f"{path}: cannot be made"):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    database = connect(path)
    with explain_errors(path):
        if database.execute("select count(*) from sqlite_schema").fetchone()[0]:
            database.close()
            raise ConfigError(f"{path}: there is a ledger already")
    return database


def holds_ledger(path: Path) -> bool:
    """Return whether the file holds a ledger; a crash may have left it without an entry.

    Raises:
        VerificationError: The file is damaged.
    """
    if not path.exists():
        return False
    with explain_errors(path), closing(connect(path)) as database:
        return bool(database.execute("select count(*) from sqlite_schema").fetchone()[0])


def install_schema(database: sqlite3.Connection) -> None:
    """Make the tables, inside the caller's transaction."""
    for _, _, statement in _SCHEMA:
        database.execute(statement)
    database.execute(f"pragma application_id = {APPLICATION_ID}")
    database.execute(f"pragma user_version = {SCHEMA_VERSION}")


def connect(path: Path) -> sqlite3.Connection:
    """Open for reading and writing.

    Raises:
        ConfigError: The file is missing or cannot be opened.
        VerificationError: It is damaged.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no ledger")
    with explain_errors(path):
        database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
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


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open for reading; works on a read-only medium and beside a running writer.

    Raises:
        ConfigError: The file is missing or cannot be opened.
        VerificationError: It is damaged.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no ledger")
    uri = path.absolute().as_uri()
    companions = [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]
    for companion in companions:
        if companion.exists() and not companion.is_file():
            raise ConfigError(f"{companion}: cannot be read: not a regular file")
    wal = companions[0]
    with explain_errors(path):
        database = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        try:
            database.execute("select count(*) from sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            database.close()
            if wal.exists() and wal.stat().st_size:
                raise
            # No write-ahead log to read, and no right to make one: the file is all there is.
            database = sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True)
        except (sqlite3.Error, UnicodeDecodeError):
            database.close()
            raise
    return database


def bound_work(path: Path, database: sqlite3.Connection) -> None:
    """End a query of a stranger's file that would go on for ever, as one on a damaged file."""
    work_step = 100_000
    size = path.stat().st_size
    steps_left = (_WORK_FREE + _WORK_A_BYTE * size) // work_step

    def end() -> bool:
        nonlocal steps_left
        steps_left -= 1
        return steps_left < 0

    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_LIMIT)
    database.set_progress_handler(end, work_step)


def check_format(path: Path, database: sqlite3.Connection) -> None:
    """Refuse a file that is no ledger of this version, or whose rows are not of its types.

    Raises:
        ConfigError: It is not.
        VerificationError: A page, or the schema, was changed from outside.
    """
    with explain_errors(path):
        (application,) = database.execute("pragma application_id").fetchone()
        (version,) = database.execute("pragma user_version").fetchone()
    if application != APPLICATION_ID:
        raise ConfigError(f"{path}: not a weightgate ledger, or copied without its -wal file")
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: ledger format {version}, this program (weightgate {__version__}) reads"
            f" {SCHEMA_VERSION}: use the version that wrote it"
        )
    with explain_errors(path):
        schema = database.execute("select type, name, sql from sqlite_schema order by name")
        if schema.fetchmany(len(_SCHEMA) + 1) != _SCHEMA:
            raise VerificationError(
                f"{path}: the ledger's file is damaged: its tables are not those of a ledger"
            )
        for table, columns in _TYPES.items():
            wrong = " or ".join(f"typeof({name}) <> '{kind}'" for name, kind in columns.items())
            rows = database.execute(f"select 1 from {table} where {wrong} limit 1")  # noqa: S608 - constants
            if rows.fetchone() is not None:
                raise VerificationError(
                    f"{path}: the ledger's file is damaged: a row of {table} is of another type"
                )
