"""What we rely on in Flower 1.42.0; another version must fail here, loudly."""

from __future__ import annotations

import base64
import importlib.metadata
import time

import pytest
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.superlink.routers.fleet.router import router
from starlette.requests import Request
from tests.server.rows import site_named

from wg_core.errors import DecodeError
from wg_core.wire import flower_messages
from wg_server.fleet.adapter import HANDLERS_BY_PATH, FlowerLink
from wg_server.fleet.guards import SITE_STATE_KEY
from wg_server.store.stored_site import ONLINE_LIMIT_SECONDS, StoredSite


def test_flower_is_the_version_that_the_adapters_were_written_for() -> None:
    assert importlib.metadata.version("flwr") == "1.42.0"


def test_the_fleet_api_has_the_routes_that_were_reviewed() -> None:
    paths = {getattr(route, "path", "") for route in router.routes}
    assert paths == {
        f"/v1/fleet/{name}"
        for name in (
            "register-node",
            "activate-node",
            "deactivate-node",
            "unregister-node",
            "send-node-heartbeat",
            "pull-messages",
            "push-messages",
            "get-run",
            "get-fab",
            "push-object",
            "pull-object",
            "confirm-message-received",
        )
    }


def test_nobody_is_online_and_nothing_comes_back_in_a_new_state() -> None:
    state = FlowerLink()
    assert state.online_sites([]) == set()
    assert state.last_activation_time("plant-a") == 0.0
    with state.open_run() as run:
        assert run.poll_replies(set()) == []
        assert [reply.error_code for reply in run.poll_replies({"0" * 64})] == ["lost"]


def test_runs_follow_each_other() -> None:
    state = FlowerLink()
    for _ in range(3):
        with state.open_run():
            pass
    with pytest.raises(ZeroDivisionError), state.open_run():
        1 / 0  # noqa: B018
    with state.open_run():
        pass


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kind": "query", "record": b""},
        {"kind": "query", "record": b"", "payload": b"", "more": b""},
        {"kind": "query", "record": "text", "payload": b""},
        {"kind": "code", "record": b"", "payload": b""},
        {"kind": 3, "record": b"", "payload": b""},
        {"kind": "query", "record": b"x" * (1 << 20), "payload": b""},
    ],
)
def test_a_wrong_envelope_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(DecodeError):
        flower_messages.read_envelope(fields, input_name="test")


def test_an_envelope_is_read_back() -> None:
    envelope = flower_messages.Envelope("delivery", b"record", b"payload")
    assert flower_messages.read_envelope(dict(envelope.fields()), input_name="test") == envelope


@pytest.mark.parametrize("text", ["", "../../x", "A" * 32, "0" * 31, "0" * 33, "0" * 31 + "\n"])
def test_a_request_id_is_a_safe_file_name(text: str) -> None:
    with pytest.raises(DecodeError):
        flower_messages.check_request_id(text)


def test_each_route_of_flower_has_its_handler() -> None:
    assert set(HANDLERS_BY_PATH) == {getattr(route, "path", "") for route in router.routes}
    assert all(("POST", path) in PROTOBUF_REQUEST_TYPES for path in HANDLERS_BY_PATH)


def test_a_node_is_there_while_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    site = known("plant-a")
    state = FlowerLink()
    key = site.node_key.encode("ascii")
    node = state._state.create_node("", "", key, 0, name=site.name)
    assert state._state.activate_node(node, 1800)
    assert state.online_sites([site]) == set()  # Flower says so, but it asked nothing
    state._check_request(asked_by(site), PullMessagesRequest())
    assert state.online_sites([site]) == {"plant-a"}
    later = time.monotonic() + ONLINE_LIMIT_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert state.online_sites([site]) == set()


def asked_by(site: StoredSite) -> Request:
    key = base64.b64encode(site.node_key.encode("ascii"))
    headers = [(FLEET_HTTP_PUBLIC_KEY_HEADER.lower().encode("ascii"), key)]
    return Request({"type": "http", "headers": headers, "state": {SITE_STATE_KEY: site}})


def known(name: str) -> StoredSite:
    return site_named(name, node_key=f"key of {name}")
