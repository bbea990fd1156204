"""A server's home, initialised, and its store."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from starlette.types import ASGIApp
from tests.patience import PATIENCE_SECONDS
from tests.server import postgres

from wg_server.fleet.listener import Listener
from wg_server.operation.initialise import create_home, free_ports
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store.database import open_engine
from wg_server.store.server_store import ServerStore


@pytest.fixture
def home(tmp_path: Path) -> ServerHome:
    found = ServerHome(tmp_path / "server")
    create_home(found, ServerConfig(name="central", fleet_port=1, enrol_port=2, admin_port=3))
    found.encoder_file.parent.mkdir()
    found.encoder_file.write_bytes(b"a public encoder")
    return found


@pytest.fixture
def store(home: ServerHome) -> Iterator[ServerStore]:
    with ServerStore.open(home) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[str]:
    """URL of an own PostgreSQL cluster's first database."""
    if not postgres.available():
        pytest.skip(postgres.MISSING)
    with postgres.cluster() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.sqlite"
        return
    cluster = request.getfixturevalue("postgres_cluster")
    name = f"t{secrets.token_hex(8)}"
    admin = sa.create_engine(cluster, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield sa.make_url(cluster).set(database=name).render_as_string()
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def any_store(database_url: str) -> Iterator[ServerStore]:
    """A store on each kind of database."""
    with ServerStore(open_engine(database_url)) as opened:
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
            client = httpx.Client(
                base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_SECONDS
            )
            return stack.enter_context(client)

        yield listen
