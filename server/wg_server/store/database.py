"""Opening and migration of the store: SQLite in the home folder, or PostgreSQL by URL.

On SQLite every writing transaction takes the write lock when it begins (``BEGIN IMMEDIATE``), so
that "read, decide, write" cannot interleave; readers are not blocked (WAL), and each commit is
durable (``synchronous=FULL``). On PostgreSQL, a transaction locks the rows that it decides on (the
table, if it depends on all rows), and an advisory lock allows only one process to serve a store.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_core import __version__
from wg_core.errors import ConfigError, StorageError
from wg_server.site.home import ServerHome
from wg_server.store import schema

_READ_ONLY_OPTION = "wg_read_only"
_SQLITE_WAIT_SECONDS = 30  # Longest wait of a connection for a lock
_MIGRATION_LOCK_ID = int.from_bytes(b"wgmi", "big")  # Advisory lock of a transaction that migrates
_SERVING_LOCK_ID = int.from_bytes(
    b"wgse", "big"
)  # Advisory lock of the process that serves the store


def open_engine(url: str) -> Engine:
    """Connect to a database, and migrate its schema to the current version.

    Later read and write failures of the engine are raised as ``StorageError``.

    Raises:
        ConfigError: The database cannot be opened, or has an unknown schema.
    """
    engine = _create_engine(url)
    try:
        _migrate_schema(engine)
    except BaseException as error:
        engine.dispose()
        if not isinstance(error, StorageError):
            raise
        shown_url = engine.url.render_as_string(hide_password=True)
        raise StorageError(f"database {shown_url}: cannot be opened: {error.__cause__}") from error
    return engine


def open_home_engine(home: ServerHome) -> Engine:
    """Open the database of a home, and migrate its schema to the current version.

    A missing SQLite file is not created again: the server would forget its last cosignatures.

    Raises:
        ConfigError: The home is not initialised, or the database is missing or cannot be opened.
    """
    if not home.read_config().database and not home.database_file.is_file():
        raise ConfigError(
            f"{home.database_file}: gone; restore a backup ('wg-server restore'), or begin again"
            " with 'wg-server init' in another folder"
        )
    return open_engine(home.database_url)


def _create_engine(url: str) -> Engine:
    """Create an engine for a database without migrating it."""
    connect_seconds = 10
    try:
        parsed_url = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConfigError(f"database: {url!r} is no database URL") from error
    if parsed_url.drivername == "postgresql":
        parsed_url = parsed_url.set(drivername="postgresql+psycopg")
    shown_url = parsed_url.render_as_string(hide_password=True)
    sqlite = parsed_url.get_backend_name() == "sqlite"
    if not sqlite and "connect_timeout" not in parsed_url.query:
        # A lost machine never answers: neither a probe nor the worker may wait for it.
        parsed_url = parsed_url.update_query_dict({"connect_timeout": str(connect_seconds)})
    try:
        engine = sa.create_engine(parsed_url, pool_pre_ping=not sqlite)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"database {shown_url}: {error}; PostgreSQL needs the extra 'weightgate[postgres]'"
        ) from error
    except sa.exc.ArgumentError as error:
        raise ConfigError(f"database {shown_url}: {error}") from error
    sa.event.listen(engine, "handle_error", _convert_database_error)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def read_connection(engine: Engine) -> Iterator[Connection]:
    """Open a read-only connection; on SQLite it takes no write lock."""
    with engine.connect().execution_options(**{_READ_ONLY_OPTION: True}) as connection:
        yield connection


def sqlite_file_identity(engine: Engine) -> tuple[int, int] | None:
    """Return device and inode of a SQLite file; None on PostgreSQL or if the file is missing."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name:
        return None
    try:
        status = Path(name).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def fetch_first_row(engine: Engine, query: sa.Select[Any]) -> sa.Row[Any] | None:
    """Return the first row of a query, or None."""
    with read_connection(engine) as connection:
        return connection.execute(query).first()


def fetch_rows(engine: Engine, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
    """Return all rows of a query."""
    with read_connection(engine) as connection:
        return connection.execute(query).all()


def lock_table(connection: Connection, table: sa.Table) -> None:
    """Lock a table against other writers until the transaction ends.

    SQLite needs no statement for this: its writing transactions are exclusive from their start.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE"))


class ServingLock:
    """Lock of the one process that serves a store, as a PostgreSQL advisory lock.

    PostgreSQL releases the lock with the connection. On SQLite the lock file in the home has this
    role, and this class does nothing.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        """Take the lock for serving the store.

        Raises:
            ConfigError: Another process holds the lock.
        """
        if not self.is_held():
            raise ConfigError("database: another process serves this store")
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._connection is not None:  # the session ends only some time after closing
            with suppress(StorageError, sa.exc.DBAPIError):
                self._connection.execute(sa.text(f"SELECT pg_advisory_unlock({_SERVING_LOCK_ID})"))
        self._close()

    def is_held(self) -> bool:
        """Return whether this process holds the lock; a lost lock is taken again if it is free."""
        if self._engine.dialect.name != "postgresql":
            return True
        if self._connection is not None:
            try:
                self._connection.execute(sa.text("SELECT 1"))
                return True
            except (StorageError, sa.exc.DBAPIError):
                self._close()
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except (StorageError, sa.exc.DBAPIError):
            return False
        is_granted = connection.execute(
            sa.text(f"SELECT pg_try_advisory_lock({_SERVING_LOCK_ID})")
        ).scalar()
        if is_granted:
            self._connection = connection
        else:
            connection.close()
        return bool(is_granted)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # ends the session, and with it the lock
            self._connection.close()
            self._connection = None


def _convert_database_error(context: sa.engine.ExceptionContext) -> BaseException | None:
    """Convert database failures, such as a full disk or a lost connection, to ``StorageError``."""
    error = context.sqlalchemy_exception
    ours = isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)
    # SQLite reports an unreadable page as damaged, which is the plain class DatabaseError.
    if context.is_pre_ping or not (ours or type(error) is sa.exc.DatabaseError):
        return None  # the connection pool handles a failed ping
    explanation = StorageError(f"database: cannot be read or written: {context.original_exception}")
    explanation.__cause__ = context.original_exception
    return explanation


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in (
        f"busy_timeout={_SQLITE_WAIT_SECONDS * 1000}",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    _enable_write_ahead_log(connection)


def _enable_write_ahead_log(connection: Any) -> None:
    """Turn on the write-ahead log of a SQLite file.

    If two connections do so on a new file at once, SQLite refuses one of them without waiting,
    whatever its busy timeout, because a wait could be a deadlock; this function retries.
    """
    deadline = time.monotonic() + _SQLITE_WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _begin_sqlite(connection: Connection) -> None:
    only_read = connection.get_execution_options().get(_READ_ONLY_OPTION, False)
    connection.exec_driver_sql("BEGIN" if only_read else "BEGIN IMMEDIATE")


def _migrate_schema(engine: Engine) -> None:
    with read_connection(engine) as connection:
        version = _schema_version(connection)
        if version == schema.SCHEMA_VERSION:
            _check_columns(connection)
            return
    from alembic import command  # slow to import, and rarely needed
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.set_main_option("path_separator", "os")
    revisions = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in revisions:
        shown_url = engine.url.render_as_string(hide_password=True)
        raise ConfigError(
            f"database {shown_url}: schema {version}, this program (weightgate {__version__}) wants"
            f" {schema.SCHEMA_VERSION}: use the version that wrote it, or restore a backup of this"
            " one"
        )
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK_ID})"))
        if (stored_version := _schema_version(connection)) == schema.SCHEMA_VERSION:
            return  # another process has migrated it meanwhile
        config.attributes["connection"] = connection
        if stored_version is None:
            schema.metadata.create_all(connection, checkfirst=False)
            command.stamp(config, "head")
        else:
            command.upgrade(config, "head")
        _check_columns(connection)


def _check_columns(connection: Connection) -> None:
    """Raise ``ConfigError`` if a table lacks a column, whatever schema version the store states."""
    columns = sa.inspect(connection).get_multi_columns()
    for table in schema.metadata.tables.values():
        stored_names = {column["name"] for column in columns.get((None, table.name), ())}
        if missing_names := set(table.columns.keys()) - stored_names:
            shown_url = connection.engine.url.render_as_string(hide_password=True)
            raise ConfigError(
                f"database {shown_url}: a program between two versions wrote it, without"
                f" {table.name}.{min(missing_names)}: use that program, or restore a backup that"
                f" weightgate {__version__} or a released version made"
            )


def _schema_version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])
