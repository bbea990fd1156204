"""While the store cannot be read, every route says 503 and none says that it is broken."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp
from tests.server.campaigns.nodes import SITES
from tests.server.rows import add_sites

from wg_core.errors import StorageError
from wg_core.wire import protocol
from wg_server.fleet.adapter import FlowerLink
from wg_server.fleet.enrolment import EnrolmentService
from wg_server.fleet.guards import PEER_CERTIFICATE_STATE_KEY
from wg_server.fleet.witness import LedgerWitness
from wg_server.operation.serve import fleet_app
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite


def gone(*words: Any, **more: Any) -> Any:
    raise StorageError("database: cannot be read or written")


def post(app: ASGIApp, path: str, body: bytes) -> httpx.Response:
    """Ask as a client whose certificate was let through by TLS."""

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": {PEER_CERTIFICATE_STATE_KEY: b"certificate"}}, receive, send)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(inside)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.post(path, content=body)

    return asyncio.run(ask())


@pytest.mark.parametrize("where", ["authenticate_site", "update_checkpoint"])
def test_the_fleet_listener_says_503(
    home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    add_sites(store, SITES)
    site: StoredSite = store.require_site("plant-a")
    monkeypatch.setattr(
        ServerStore, "authenticate_site", lambda self, fingerprint, current_time: site
    )
    monkeypatch.setattr(ServerStore, where, gone)
    app = fleet_app(
        home,
        store,
        FlowerLink(),
        LedgerWitness.open(home, store),
        EnrolmentService(home, home.read_config(), store),
    )
    found = post(app, protocol.WITNESS_PATH, b"old 0\n\n")
    assert (found.status_code, found.headers["retry-after"]) == (503, "5")
    assert "cannot be read" not in found.text  # what the disk or database said is the log's


def test_the_enrolment_listener_says_503(
    home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(EnrolmentService, "enrol_site", gone)
    found = post(
        EnrolmentService(home, home.read_config(), store).enrolment_app(),
        protocol.ENROL_PATH,
        b"{}",
    )
    assert found.status_code == 503
