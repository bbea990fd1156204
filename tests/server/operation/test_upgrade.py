from __future__ import annotations

import pytest
import sqlalchemy as sa
from tests.server.cli.test_cli import document, run
from tests.server.store.test_database import migrate

from wg_common.errors import ConfigError
from wg_server.operation.serve import only_one
from wg_server.operation.upgrade import upgrade
from wg_server.site.home import ServerHome
from wg_server.store import database, schema


def put_back(home: ServerHome, revision: str) -> None:
    """A store as an earlier version left it."""
    home.database.unlink()
    engine = sa.create_engine(f"sqlite:///{home.database}")
    migrate(engine, revision)
    engine.dispose()


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004"])
def test_a_home_of_before_is_brought_up_to_date_and_its_store_is_kept(
    home: ServerHome, capsys: pytest.CaptureFixture[str], revision: str
) -> None:
    put_back(home, revision)
    before = database.schema_of(home.database_url)
    found = document(capsys, "upgrade", "--home", home.root)
    assert (before, found["before"], found["now"]) == (revision, revision, schema.HEAD)
    assert database.schema_of(home.database_url) == schema.HEAD
    assert database.schema_of(f"sqlite:///{found['copy']}") == revision
    assert found["findings"] == [f"no generator yet: run 'wg-server train --home {home.root}'"]
    again = upgrade(home)
    assert (again.before, again.copy) == (schema.HEAD, "")


def test_what_cannot_be_used_is_named_with_what_to_run(
    home: ServerHome, capsys: pytest.CaptureFixture[str]
) -> None:
    home.generator.parent.mkdir()
    home.generator.write_bytes(b"of another time")
    code, out, _ = run(capsys, "upgrade", "--home", home.root)
    assert code == 0 and "of another version" in out and "wg-server train" in out
    assert "next: wg-server serve" in out
    home.signing_key.unlink()
    code, out, _ = run(capsys, "upgrade", "--home", home.root)
    assert code == 3 and "restore it from a backup" in out and "not ready to serve" in out
    assert home.generator.read_bytes() == b"of another time"


def test_a_home_that_is_served_is_left_alone(home: ServerHome) -> None:
    put_back(home, "0001")
    with only_one(home), pytest.raises(ConfigError, match="another process"):
        upgrade(home)
    assert database.schema_of(home.database_url) == "0001"
