from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable
from typing import Any

import pytest
from tests.server.enrolling import UNSEEN, empty_request
from tests.server.rows import site_named

from wg_core.errors import StorageError
from wg_server.fleet import guards
from wg_server.fleet.guards import (
    PEER_CERTIFICATE_STATE_KEY,
    SITE_STATE_KEY,
    BodyLimit,
    BodyMemoryLimit,
    IdentityGuard,
    RateLimit,
    StorageGuard,
)
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

Headers = Iterable[tuple[bytes, bytes]]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "REFUSAL_DELAY_SECONDS", 0.0)


class Recorder:
    """An application that reads its body, answers 200, and remembers that it was reached."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def ask(
    app: Any, state: dict[str, Any] | None = None, *, headers: Headers = (), method: str = "POST"
) -> int:
    return int(answered(app, state, headers=headers, method=method)["status"])


def answered(
    app: Any, state: dict[str, Any] | None = None, *, headers: Headers = (), method: str = "POST"
) -> Any:
    """What begins the answer."""
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": "/",
        "headers": list(headers),
        "state": {} if state is None else state,
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]


def test_a_revoked_site_is_told_so_and_nobody_else_is(store: ServerStore) -> None:
    app, words = IdentityGuard(Recorder(), store), []
    for name in ("plant-a", "plant-b"):
        enrol(store, name, name.encode())
    store.revoke_site("plant-b", time.time())
    for name in ("plant-a", "plant-b", "nobody"):
        answer = answered(app, {PEER_CERTIFICATE_STATE_KEY: name.encode()})
        words.append((answer["status"], dict(answer["headers"]).get(b"weightgate-why")))
    assert words == [(200, None), (403, b"revoked"), (403, None)]


def test_a_store_that_cannot_be_read_is_answered_503(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def authenticate_site(self, fingerprint: str, current_time: float) -> StoredSite:
            raise StorageError("database: cannot be read or written")

    app = StorageGuard(IdentityGuard(Recorder(), Broken()))  # type: ignore[arg-type]
    assert ask(app, {PEER_CERTIFICATE_STATE_KEY: b"certificate"}) == 503


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", [(b"content-length", b"10")], 200),
        ("POST", [(b"content-length", b"11")], 413),
        ("POST", [(b"content-length", b"-1")], 413),
        ("POST", [(b"content-length", b"1_0")], 413),
        ("POST", [(b"content-length", "²".encode("latin-1"))], 413),
        ("POST", [], 411),
        ("POST", [(b"transfer-encoding", b"chunked")], 411),
        ("GET", [], 200),
        ("GET", [(b"transfer-encoding", b"chunked")], 411),
        ("GET", [(b"content-length", b"11")], 413),
    ],
)
def test_a_body_is_judged_by_its_declared_length(
    method: str, headers: Headers, status: int
) -> None:
    inner = Recorder()
    assert ask(BodyLimit(inner, limit=10), headers=headers, method=method) == status
    assert len(inner.scopes) == (status == 200)


def enrol(store: ServerStore, name: str, der: bytes) -> None:
    store.store_join_token(name, name, time.time() + 60)
    keys = dict.fromkeys(("signing_key", "ledger_origin", "ledger_key"), name)
    request = empty_request(site=name, secret=name, **keys)
    fingerprint = hashlib.sha256(der).hexdigest()
    store.enrol_site(request, name, "tls", time.time(), lambda: (fingerprint, 2e9, None), UNSEEN)


def test_sites_that_are_seen_at_once_are_written_down_together(
    store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found with 1,000 plants: a durable write for each of them kept the store from all else."""
    current_time = [1000.0]
    monkeypatch.setattr("wg_server.fleet.guards.time.time", lambda: current_time[0])
    written: list[list[str]] = []
    monkeypatch.setattr(store, "record_request_times", lambda seen: written.append(sorted(seen)))
    app = IdentityGuard(Recorder(), store)
    for name in "abc":
        app._record_request_time(name, current_time[0])
    assert written == [["a"]]
    current_time[0] += 2
    app._record_request_time("a", current_time[0])  # seen lately: it only brings the others along
    assert written == [["a"], ["b", "c"]]
    current_time[0] += 20
    app._record_request_time("a", current_time[0])
    assert written[-1] == ["a"]


def test_only_a_certificate_in_good_standing_is_let_through(store: ServerStore) -> None:
    enrol(store, "plant-a", b"certificate")
    inner = Recorder()
    app = IdentityGuard(inner, store)
    assert ask(app, {PEER_CERTIFICATE_STATE_KEY: b"certificate"}) == 200
    assert inner.scopes[0]["state"][SITE_STATE_KEY].name == "plant-a"
    assert store.require_site("plant-a").last_seen > 0
    assert ask(app, {PEER_CERTIFICATE_STATE_KEY: b"another"}) == 403
    assert ask(app, {PEER_CERTIFICATE_STATE_KEY: None}) == 403
    assert ask(app) == 403
    store.revoke_site("plant-a", time.time())
    assert ask(app, {PEER_CERTIFICATE_STATE_KEY: b"certificate"}) == 403
    assert len(inner.scopes) == 1


def test_a_site_has_a_burst_and_then_a_rate_of_its_own() -> None:
    current_time = 0.0
    site = site_named("a")
    app = RateLimit(Recorder(), requests_per_second=2.0, clock=lambda: current_time)
    codes = [ask(app, {SITE_STATE_KEY: site}) for _ in range(25)]
    assert codes == [200] * 20 + [429] * 5
    current_time += 1.0
    assert [ask(app, {SITE_STATE_KEY: site}) for _ in range(3)] == [200, 200, 429]


def test_a_refusal_takes_its_time(store: ServerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "REFUSAL_DELAY_SECONDS", 0.2)
    app = RateLimit(Recorder(), requests_per_second=0.1)
    assert ask(app, {SITE_STATE_KEY: site_named("a")}) == 200
    start = time.monotonic()
    assert ask(app, {SITE_STATE_KEY: site_named("a")}) == 429
    assert ask(IdentityGuard(Recorder(), store), {PEER_CERTIFICATE_STATE_KEY: b"nobody's"}) == 403
    assert time.monotonic() - start >= 0.4


def stalled(app: Any, name: str, length: int) -> Any:
    """A request whose body never comes, as a coroutine that is waiting inside the application."""
    site = site_named(name)
    sent: list[int] = []

    async def send(message: Any) -> None:
        sent.append(message.get("status", 0))

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-length", str(length).encode())],
        "state": {SITE_STATE_KEY: site},
    }

    async def request() -> int:
        await app(scope, None, send)
        return sent[0]

    return request()


def test_stalled_bodies_hold_their_sites_share_and_no_more() -> None:
    reached: list[int] = []
    over = asyncio.Event()

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        reached.append(int(dict(scope["headers"])[b"content-length"]))
        await over.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def run() -> list[list[int]]:
        app = BodyMemoryLimit(inner, site_bytes=100, total_bytes=250)
        first = [asyncio.create_task(stalled(app, "a", 16)) for _ in range(100)]
        await asyncio.sleep(0)
        others = [asyncio.create_task(stalled(app, name, 90)) for name in ("b", "c")]
        await asyncio.sleep(0)
        assert sum(reached) <= 250
        over.set()
        held = [list(await asyncio.gather(*tasks)) for tasks in (first, others)]
        held.append([await stalled(app, "c", 90)])
        return held

    first, others, later = asyncio.run(run())
    assert first.count(200) == 6 and first.count(503) == 94
    assert others == [200, 503]  # b has its share; c finds all of it taken, and asks again
    assert later == [200]


def test_requests_of_one_site_without_a_body_may_overlap() -> None:
    over = asyncio.Event()

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await over.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def run() -> list[int]:
        app = BodyMemoryLimit(inner, site_bytes=100, total_bytes=250)
        tasks = [asyncio.create_task(stalled(app, "a", length)) for length in (0, 0, 5, 0)]
        await asyncio.sleep(0)
        over.set()
        return list(await asyncio.gather(*tasks))

    assert asyncio.run(run()) == [200] * 4
