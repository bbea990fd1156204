from __future__ import annotations

import hashlib
import sqlite3
import tarfile
import threading
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.homes import make
from tests.patience import wait_until

from wg_core import __version__
from wg_core.errors import ConfigError, WgError
from wg_server.store import database, schema
from wg_server.store.database import ServingLock, open_engine, read_connection


def stored_version(engine: sa.Engine) -> object:
    with read_connection(engine) as connection:
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


@pytest.mark.parametrize("archive", make.ARCHIVES, ids=lambda a: a.name)
def test_a_store_of_each_version_is_brought_to_the_declared_tables(
    archive: Path, tmp_path: Path
) -> None:
    with tarfile.open(archive) as homes:
        homes.extract(f"./{make.SERVER}/server.sqlite", tmp_path, filter="data")
    engine = open_engine(f"sqlite:///{tmp_path / make.SERVER / 'server.sqlite'}")
    with read_connection(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
        releases = connection.execute(sa.select(schema.release_table.c.statistics)).scalars().all()
        assert releases == ["classes"]  # the one that the archive has
        columns = sa.inspect(connection).get_columns("release")
        assert columns[-1]["name"] == "data"  # SQLite reads what stands before it alone
    assert stored_version(engine) == schema.SCHEMA_VERSION
    engine.dispose()


def test_a_new_store_is_of_the_newest_schema(database_url: str) -> None:
    engine = open_engine(database_url)
    assert stored_version(engine) == schema.SCHEMA_VERSION
    with read_connection(engine) as connection:
        assert connection.execute(sa.select(schema.site_table)).all() == []
    engine.dispose()


def test_programs_that_open_an_empty_store_at_once_make_it_once(database_url: str) -> None:
    errors: list[Exception] = []

    def attempt() -> None:
        try:
            open_engine(database_url).dispose()
        except (WgError, sa.exc.SQLAlchemyError) as error:
            errors.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_write_ahead_logging_is_turned_on_by_many_connections_at_once(tmp_path: Path) -> None:
    crowd = 8
    for round_ in range(10):
        path = tmp_path / f"{round_}.sqlite"
        start = threading.Barrier(crowd)
        modes: list[object] = []

        def attempt(
            path: Path = path, start: threading.Barrier = start, modes: list[object] = modes
        ) -> None:
            connection = sqlite3.connect(path)
            start.wait()
            try:
                database._prepare_sqlite(connection, None)
                modes.append(connection.execute("PRAGMA journal_mode").fetchone()[0])
            except sqlite3.OperationalError as error:
                modes.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=attempt) for _ in range(crowd)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert modes == ["wal"] * crowd


def test_a_store_of_another_schema_is_refused_with_both_versions(database_url: str) -> None:
    url = database_url
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    wanted = (
        f"schema 9999, this program .* wants {schema.SCHEMA_VERSION}: use the version that wrote it"
    )
    with pytest.raises(ConfigError, match=wanted):
        open_engine(url)


def test_a_store_that_lacks_a_column_is_refused_in_one_sentence(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE site DROP COLUMN pins"))
    engine.dispose()
    with pytest.raises(ConfigError, match=r"without site\.pins: use that program, or restore"):
        open_engine(database_url)


def test_a_migration_that_leaves_a_column_out_changes_nothing(tmp_path: Path) -> None:
    with tarfile.open(make.NEWEST) as homes:
        homes.extract(f"./{make.SERVER}/server.sqlite", tmp_path, filter="data")
    path = tmp_path / make.SERVER / "server.sqlite"
    with closing(sqlite3.connect(path)) as store:
        before = store.execute("SELECT version_num FROM alembic_version").fetchall()
        store.execute("ALTER TABLE site DROP COLUMN pins")
    with pytest.raises(ConfigError, match=r"without site\.pins"):
        open_engine(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as store:
        assert store.execute("SELECT version_num FROM alembic_version").fetchall() == before


SCHEMAS = [  # of each version: its newest migration, and the digest of its tables
    ("0.1.0", "0001", ""),
    ("0.2.0", "0004", "292289d4e6fb6038"),
]


def test_changed_tables_have_a_migration_and_a_version_of_their_own() -> None:
    columns = [
        f"{table.name} {column.name} {column.type} {column.nullable}"
        for table in schema.metadata.sorted_tables
        for column in table.columns
    ]
    digest = hashlib.sha256("\n".join(columns).encode()).hexdigest()[:16]
    assert (__version__, schema.SCHEMA_VERSION, digest) == SCHEMAS[-1], "append to SCHEMAS"
    for values in zip(*SCHEMAS, strict=True):
        assert len(set(values)) == len(SCHEMAS)


@pytest.mark.parametrize("url", ["no url", "sqlite:////no/such/folder/x.sqlite", "nosuch://x"])
def test_a_database_that_cannot_be_opened_says_so(url: str) -> None:
    with pytest.raises(ConfigError, match="database"):
        open_engine(url)


def test_a_password_is_not_in_the_message() -> None:
    with pytest.raises(ConfigError) as info:
        open_engine("nosuch://user:hunter2@host/x")
    assert "hunter2" not in str(info.value)


def test_readers_do_not_wait_for_a_writer(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.begin() as writer:
        writer.execute(sa.text("DELETE FROM site"))
        with read_connection(engine) as reader:
            assert reader.execute(sa.select(schema.site_table)).all() == []
    engine.dispose()


def test_one_process_works_on_a_store_at_a_time(database_url: str) -> None:
    first, second = open_engine(database_url), open_engine(database_url)
    if first.dialect.name == "sqlite":
        pytest.skip("there the lock file in the home does it")
    with (
        ServingLock(first) as held,
        pytest.raises(ConfigError, match="another process"),
        ServingLock(second),
    ):
        pass
    with ServingLock(second) as held:
        assert held.is_held()
    first.dispose()
    second.dispose()


def test_a_holder_notices_that_its_connection_was_cut(database_url: str) -> None:
    engine, other = open_engine(database_url), open_engine(database_url)
    if engine.dialect.name == "sqlite":
        pytest.skip("there the lock file in the home does it")
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try:
        with ServingLock(engine) as held:
            with other.connect() as connection:
                connection.execute(sa.text(cut))
            wait_until(held.is_held, "the lock")  # nobody else took it: it is taken again
            with other.connect() as connection:
                connection.execute(sa.text(cut))
            taker = ServingLock(other)
            # The server ends a session a moment after it says so.
            wait_until(taker.is_held, "the lock")
            with taker:
                assert not held.is_held()
            wait_until(held.is_held, "the lock")
    finally:
        engine.dispose()
        other.dispose()


def test_a_short_url_means_the_driver_that_we_install(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"postgresql\+psycopg://nobody@127.0.0.1:1/x"):
        open_engine("postgresql://nobody@127.0.0.1:1/x")
