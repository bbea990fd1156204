"""A server's home, initialised, and its store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wg_server.home import ServerConfig, ServerHome
from wg_server.initialise import initialise
from wg_server.store import Store


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    found = ServerHome(tmp_path / "server")
    initialise(found, ServerConfig(name="central", fleet_port=1, enrol_port=2, admin_port=3))
    found.encoder.parent.mkdir()
    found.encoder.write_bytes(b"a public encoder")
    return found


@pytest.fixture
def store(home: ServerHome) -> Iterator[Store]:
    with Store.open(home) as opened:
        yield opened
