from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from wg_common.errors import ConfigError
from wg_server import schema
from wg_server.database import open_engine, reading


def test_migrations_make_exactly_the_declared_tables(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/store.sqlite")
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
        version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    engine.dispose()
    assert version == schema.HEAD


def test_a_store_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.sqlite"
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigError, match="newer"):
        open_engine(url)


@pytest.mark.parametrize("url", ["no url", "sqlite:////no/such/folder/x.sqlite", "nosuch://x"])
def test_a_database_that_cannot_be_opened_says_so(url: str) -> None:
    with pytest.raises(ConfigError, match="database"):
        open_engine(url)


def test_a_password_is_not_in_the_message() -> None:
    with pytest.raises(ConfigError) as info:
        open_engine("nosuch://user:hunter2@host/x")
    assert "hunter2" not in str(info.value)


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/store.sqlite")
    with engine.begin() as writer:
        writer.execute(sa.text("DELETE FROM site"))
        with reading(engine) as reader:
            assert reader.execute(sa.select(schema.site)).all() == []
    engine.dispose()
