from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from wg_core.errors import ConfigError, StorageError
from wg_server.store import database, schema, store_copy
from wg_server.store.database import open_engine
from wg_server.store.server_store import ServerStore


def contents(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table.name: sorted(map(tuple, database.fetch_rows(engine, sa.select(table))))
        for table in schema.metadata.sorted_tables
    }


def fill(store: ServerStore) -> None:
    store.store_join_token("plant-a", "secret", 60.0)
    with store.engine.begin() as connection:
        for number in range(3):
            row = {"origin": "o", "received": float(number), "earlier": b"\0e", "later": b"l"}
            connection.execute(schema.fork_evidence_table.insert().values(**row))


def test_a_copy_holds_what_was_committed_and_nothing_else(
    any_store: ServerStore, tmp_path: Path
) -> None:
    fill(any_store)
    with any_store.engine.begin() as open_transaction:
        open_transaction.execute(schema.fork_evidence_table.delete())
        store_copy.copy_store_to_file(any_store.engine, tmp_path / "copy")
        open_transaction.rollback()
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy"]
    with ServerStore(open_engine(f"sqlite:///{tmp_path / 'copy'}")) as copy:
        assert contents(copy.engine) == contents(any_store.engine)
        assert len(copy.list_fork_evidence()) == 3


def test_a_copy_becomes_a_store_of_either_kind(database_url: str, tmp_path: Path) -> None:
    with ServerStore(open_engine(f"sqlite:///{tmp_path / 'source'}")) as source:
        fill(source)
        store_copy.copy_store_to_file(source.engine, tmp_path / "copy")
        store_copy.restore_store_from_file(tmp_path / "copy", database_url)
        with ServerStore(open_engine(database_url)) as made:
            assert contents(made.engine) == contents(source.engine)
            made.store_fork_evidence("o", b"more", b"evidence", 9.0)  # numbers go on
            assert len(made.list_fork_evidence()) == 4
        with pytest.raises(ConfigError, match="holds a store already"):
            store_copy.restore_store_from_file(tmp_path / "copy", database_url)


def test_a_damaged_store_makes_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with ServerStore(open_engine(f"sqlite:///{path}")) as store:
        fill(store)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma writable_schema = on")
        connection.execute("update sqlite_schema set rootpage = 9999 where name = 'evidence'")
        connection.commit()
    engine = sa.create_engine(f"sqlite:///{path}")
    with pytest.raises(StorageError):
        store_copy.copy_store_to_file(engine, tmp_path / "copy")
    engine.dispose()
