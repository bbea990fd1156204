"""A server's home, initialised, and its store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from wg_server.fleet.listener import Listener
from wg_server.home import ServerConfig, ServerHome
from wg_server.initialise import free_ports, initialise
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


@pytest.fixture
def client_of() -> Iterator[Callable[[ASGIApp], httpx.Client]]:
    """Puts an application on a free port of loopback, and gives a client for it."""
    with ExitStack() as stack:

        def listen(app: ASGIApp) -> httpx.Client:
            (port,) = free_ports("127.0.0.1", 1)
            listener = Listener("test", app, "127.0.0.1", port, None)
            listener.start()
            stack.callback(listener.stop)
            client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)
            return stack.enter_context(client)

        yield listen
