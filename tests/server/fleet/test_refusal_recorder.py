"""What keeps an enrolled site's node out is written down for the operator."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.server.campaigns.nodes import SITES
from tests.server.rows import add_sites

from wg_server.fleet.guards import SITE_STATE_KEY, TROUBLE_STATE_KEY
from wg_server.fleet.refusal_recorder import RefusalRecorder
from wg_server.store import site_refusals
from wg_server.store.server_store import ServerStore


class Answering:
    """An application that answers with a status."""

    def __init__(self, status: int, trouble: str = "") -> None:
        self.status, self.trouble = status, trouble

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.trouble:
            scope["state"][TROUBLE_STATE_KEY] = self.trouble
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def ask(store: ServerStore, watch: RefusalRecorder, signed: str) -> None:
    headers = [(b"flwr-timestamp", signed.encode())] if signed else []
    scope = {
        "type": "http",
        "path": "/",
        "headers": headers,
        "state": {SITE_STATE_KEY: store.require_site("plant-a")},
    }

    async def nothing(message: Any = None) -> Any:
        return None

    asyncio.run(watch(scope, nothing, nothing))


def noted(store: ServerStore) -> site_refusals.ConnectionTrouble | None:
    return site_refusals.site_statuses_by_name(store, site_names=["plant-a"])["plant-a"].trouble


def ahead(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()


@pytest.fixture(autouse=True)
def sites(store: ServerStore) -> None:
    add_sites(store, SITES)


@pytest.mark.parametrize("seconds", [600.0, 6.0, -400.0])
def test_a_wrong_clock_is_noted_with_its_seconds_and_forgotten(
    store: ServerStore, seconds: float
) -> None:
    app = Answering(401)
    watch = RefusalRecorder(app, store)
    ask(store, watch, ahead(seconds))
    found = noted(store)
    assert (
        found is not None
        and found.code == site_refusals.CLOCK_TROUBLE
        and abs(found.figure - seconds) < 5
    )
    assert abs(found.last_refusal_time - time.time()) < 60
    app.status = 200
    ask(store, watch, "")  # signed by nobody: says nothing about a clock
    assert noted(store) is not None
    ask(store, watch, ahead(0.0))
    assert noted(store) is None


@pytest.mark.parametrize(
    ("status", "signed"), [(401, -1.0), (401, "no time"), (401, ""), (403, 0.0), (404, 900.0)]
)
def test_what_is_refused_for_another_reason_is_not_called_a_clock(
    store: ServerStore, status: int, signed: float | str
) -> None:
    time_of = signed if isinstance(signed, str) else ahead(signed)
    ask(store, RefusalRecorder(Answering(status), store), time_of)
    assert noted(store) is None


def test_a_copy_with_another_key_is_noted(store: ServerStore) -> None:
    ask(store, RefusalRecorder(Answering(403, site_refusals.NODE_KEY_TROUBLE), store), ahead(0))
    found = noted(store)
    assert found is not None and found.code == site_refusals.NODE_KEY_TROUBLE


def test_a_site_that_asks_on_is_written_down_now_and_then(
    store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        site_refusals, "store_connection_trouble", lambda store, site, *rest: written.append(site)
    )
    watch = RefusalRecorder(Answering(401), store)
    for _ in range(5):
        ask(store, watch, ahead(600))
    assert written == ["plant-a"]
