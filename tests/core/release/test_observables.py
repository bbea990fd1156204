"""What goes around an answer: the same for every plant and every record."""

from __future__ import annotations

import dataclasses
import ssl

import httpcore
import httpx
import pytest
from flwr.proto.fleet_pb2 import PushMessagesRequest, PushMessagesResponse
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from tests.client.conftest import MakePlant

from wg_core.connection import server_link
from wg_core.errors import ConfigError
from wg_core.fleet import flower
from wg_core.release import answer_time
from wg_core.site.config import PrivacyConfig

CONSTANT = {
    "accept": "*/*",
    "accept-encoding": "identity",
    "connection": "keep-alive",
    "host": "server.example",
    "user-agent": f"python-httpx/{httpx.__version__}",
}
BY_SIZE = {"content-length", "range"}
"""Length of what is sent, and which bytes of a package are wanted."""
ALLOWED = {*CONSTANT, *BY_SIZE, "content-type"}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Headers of requests that would have left, caught below everything that adds some."""
    requests: list[dict[str, str]] = []

    def catch(pool: httpcore.ConnectionPool, request: httpcore.Request) -> httpcore.Response:
        found = {name.decode().lower(): value.decode() for name, value in request.headers}
        assert len(found) == len(request.headers)
        requests.append(found)
        return httpcore.Response(200, content=b"ok")

    monkeypatch.setattr(httpcore.ConnectionPool, "handle_request", catch)
    return requests


def test_every_request_has_the_same_headers_whatever_it_is_about(
    seen: list[dict[str, str]],
) -> None:
    with server_link.ServerLink(
        "https://server.example", ssl.create_default_context()
    ) as connection:
        for body in (b"", b"x", b"y" * 10_000):
            connection.cosign(body)
        connection.announce_key_rotation(b"notice")
        connection.renew_certificate("csr")
    assert len(seen) == 5
    for headers in seen:
        assert headers.keys() <= ALLOWED
        assert {name: headers[name] for name in CONSTANT} == CONSTANT
        assert headers.get("content-type", "application/octet-stream") == "application/octet-stream"
    assert [headers.pop("content-length") for headers in seen[:3]] == ["0", "1", "10000"]
    assert seen[0] == seen[1] == seen[2]


def test_an_answer_does_not_say_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[PushMessagesRequest] = []

    class Server:
        def PushMessages(self, request: PushMessagesRequest) -> PushMessagesResponse:
            pushed.append(request)
            return PushMessagesResponse()

    class Reply:
        def has_content(self) -> bool:
            return False

    monkeypatch.setattr(flower, "get_all_nested_objects", lambda reply: {})
    monkeypatch.setattr(flower, "message_to_proto", lambda reply: MessageProto())
    monkeypatch.setattr(flower, "get_object_tree", lambda reply: ObjectTree())
    session = object.__new__(flower.FlowerSession)
    session._client = Server()  # type: ignore[assignment]
    session.node = Node(node_id=1)
    session._push_reply(Reply())  # type: ignore[arg-type]
    assert [list(request.clientapp_runtime_list) for request in pushed] == [[0.0]]


def test_a_slot_that_records_could_outlast_is_refused_when_they_are_frozen(
    make_plant: MakePlant,
) -> None:
    plant = make_plant(frozen=False, privacy=PrivacyConfig(answer_slot_seconds=0.001))
    with pytest.raises(ConfigError, match=r"seconds: 0\.001 is too short .* --answer-slot 2'"):
        plant.freeze()
    assert not list(plant.home.snapshots.glob("*"))
    answer_time.check_answer_slot(plant.config, 5, 1000)
    many = dataclasses.replace(plant.config, privacy=PrivacyConfig(answer_slot_seconds=2.0))
    answer_time.check_answer_slot(many, 20_000, 1000)
    with pytest.raises(ConfigError, match="set 10 in"):
        answer_time.check_answer_slot(many, 100_000, 1000)
