"""Consistent copy of the whole store in one SQLite file, and restore from such a file.

SQLite's backup function copies a file that other processes write to, including the write-ahead log,
which a plain file copy would miss. PostgreSQL is read in one read-only transaction (REPEATABLE
READ), so that its copy is consistent too. A file from either database can be restored into either
kind of database.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_core.errors import ConfigError, StorageError
from wg_server.store import database, schema

_ROWS_PER_READ = 64


def copy_store_to_file(engine: Engine, target: Path) -> None:
    """Copy a store into a new SQLite file while other processes may write to the store.

    Raises:
        StorageError: The store cannot be read, the file cannot be written, or the copy is damaged.
    """
    if engine.dialect.name == "sqlite":
        _copy_file(Path(engine.url.database or ""), target)
    else:
        copy = database.open_engine(f"sqlite:///{target}")
        try:
            with (
                engine.connect().execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                ) as source,
                copy.begin() as into,
            ):
                _copy_rows(source, into)
        finally:
            copy.dispose()
    _fold_log_and_check_copy(target)


def restore_store_from_file(source: Path, url: str) -> None:
    """Fill an empty database from a file of ``copy_store_to_file``, after migrating both schemas.

    Raises:
        ConfigError: The database cannot be opened, or already holds a store.
        StorageError: The database cannot be written, and stays unchanged.
    """
    copy = database.open_engine(f"sqlite:///{source}")
    engine = database.open_engine(url)
    try:
        with database.read_connection(copy) as reader, engine.begin() as into:
            for table in schema.metadata.sorted_tables:
                if into.execute(sa.select(table).limit(1)).first() is not None:
                    target = engine.url.render_as_string(hide_password=True)
                    raise ConfigError(
                        f"database {target}: holds a store already ({table.name});"
                        " name an empty one"
                    )
            _copy_rows(reader, into)
            if into.dialect.name == "postgresql":
                _continue_id_sequence(into)
    finally:
        engine.dispose()
        copy.dispose()


def _copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite file, including its write-ahead log."""
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
    except sqlite3.Error as error:
        raise StorageError(f"{source}: cannot be copied to {target}: {error}") from error


def _copy_rows(source: Connection, target: Connection) -> None:
    for table in schema.metadata.sorted_tables:
        rows = source.execution_options(yield_per=_ROWS_PER_READ).execute(sa.select(table))
        for part in rows.mappings().partitions(_ROWS_PER_READ):
            target.execute(table.insert(), [dict(row) for row in part])


def _continue_id_sequence(connection: Connection) -> None:
    """Set the PostgreSQL id sequence to continue after the copied ids."""
    connection.execute(
        sa.text(
            "SELECT setval(pg_get_serial_sequence('evidence', 'id'),"
            " (SELECT coalesce(max(id), 0) + 1 FROM evidence), false)"
        )
    )


def _fold_log_and_check_copy(path: Path) -> None:
    """Fold the write-ahead log of a copy into its file, and check that the copy is readable."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode=DELETE").close()
            (verdict,) = copy.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as error:
        raise StorageError(f"{path}: cannot be written: {error}") from error
    if verdict != "ok":
        raise StorageError(f"{path}: the store is damaged: {verdict}")
