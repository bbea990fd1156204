"""Opening the store: SQLite in the home folder, or PostgreSQL by URL; migrated on the way in.

On SQLite every writing transaction takes the write lock when it begins (``BEGIN IMMEDIATE``), so
"read, decide, write" cannot interleave; WAL keeps readers out of its way, and each commit is
durable (``synchronous=FULL``). PostgreSQL gets row locks where a decision is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from wg_common.errors import ConfigError
from wg_server import schema

_READ = "wg_read_only"


def open_engine(url: str) -> Engine:
    """Connect, and bring the schema up to date.

    Raises:
        ConfigError: The database cannot be opened, or was written by a newer program.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConfigError(f"database: {url!r} is no database URL") from error
    shown = parsed.render_as_string(hide_password=True)
    try:
        engine = sa.create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    except (sa.exc.ArgumentError, ImportError) as error:
        raise ConfigError(f"database {shown}: {error}") from error
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    try:
        _migrate(engine)
    except sa.exc.OperationalError as error:
        engine.dispose()
        raise ConfigError(f"database {shown}: cannot be opened: {error.orig}") from error
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads; on SQLite it takes no write lock."""
    with engine.connect().execution_options(**{_READ: True}) as connection:
        yield connection


def _prepare_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in (
        "busy_timeout=30000",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    only_read = connection.get_execution_options().get(_READ, False)
    connection.exec_driver_sql("BEGIN" if only_read else "BEGIN IMMEDIATE")


def _migrate(engine: Engine) -> None:
    found = _version(engine)
    if found == schema.HEAD:
        return
    from alembic import command  # slow to import, and rarely needed
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.set_main_option("path_separator", "os")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise ConfigError(
            f"database: schema {found}, this program knows up to {schema.HEAD}:"
            " it was written by a newer weightgate"
        )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _version(engine: Engine) -> str | None:
    with reading(engine) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        row = connection.execute(sa.text("SELECT version_num FROM alembic_version")).first()
        return None if row is None else str(row[0])
