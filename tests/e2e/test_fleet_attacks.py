"""What an attacker gets: with the CA certificate alone, a stranger's, a revoked or another key."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
    UnregisterNodeFleetRequest,
)
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode import node_auth_http_interceptor as signer
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from starlette.requests import ClientDisconnect, Request
from tests.e2e.fleet_support import Plant, enrol_plant, finished, make_home, running, start_campaign
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_client.fleet import enrolment
from wg_core.connection import server_link, transport
from wg_core.errors import VerificationError
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import bundle, flower_messages, key_files, protocol
from wg_core.wire.bundle import StatisticsBundle
from wg_core.wire.protocol import WITNESS_PATH
from wg_server.fleet import listener
from wg_server.fleet.enrolment import create_join_token
from wg_server.fleet.guards import BodyLimit, RateLimit
from wg_server.operation import serve
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore


def node_client(plant: Plant, *, key_of: Plant | None = None) -> FleetHttpClient:
    """Flower's own client, with a plant's certificate and any plant's node key."""
    key = key_files.load_ec_key((key_of or plant).home.node_key)
    config = server_link.client_tls_context(plant.home)
    return FleetHttpClient(
        _url(plant.home),
        verify=config,
        interceptors=[NodeAuthHttpInterceptor(key, key.public_key())],
    )


def _url(home: ClientHome) -> str:
    return configuration.load(home).server.fleet_url


def activate(plant: Plant, client: FleetHttpClient, *, key_of: Plant | None = None) -> Node:
    key = key_files.load_ec_key((key_of or plant).home.node_key).public_key()
    reply = client.ActivateNode(
        ActivateNodeRequest(public_key=public_key_to_bytes(key), heartbeat_interval=30)
    )
    return Node(node_id=reply.node_id)


def test_control_and_runtime_apis_are_not_there(server: ServerHome, plant: Plant) -> None:
    context = server_link.client_tls_context(plant.home)
    for path in (
        "/v1/control/start-run",
        "/v1/control/list-runs",
        "/v1/control/register-node",
        "/v1/runtime/push-messages",
        "/v1/runtime/acquire-task",
        "/docs",
        "/openapi.json",
    ):
        with transport.open_client(_url(plant.home), context) as client:
            assert client.post(path, content=b"").status_code == 404, path


def test_a_reply_in_another_nodes_name_is_refused(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    other = enrol_plant(server, tmp_path / "plant-b", "plant-b")
    with node_client(other) as client:
        victim = activate(other, client)
    with node_client(plant) as client:
        node = activate(plant, client)
        forged = MessageProto(metadata=Metadata(src_node_id=victim.node_id, run_id=1))
        with pytest.raises(httpx.HTTPStatusError) as info:
            client.PushMessages(
                PushMessagesRequest(
                    node=node, messages_list=[forged], message_object_trees=[ObjectTree()]
                )
            )
        assert info.value.response.status_code == 403
        with pytest.raises(httpx.HTTPStatusError) as info:  # nor may it pull as the other
            client.PullMessages(PullMessagesRequest(node=victim))
        assert info.value.response.status_code == 401


@pytest.mark.parametrize(
    ("messages", "trees", "objects", "status"),
    [(0, 0, 0, 400), (2, 2, 1, 400), (1, 0, 0, 400), (1, 1, 9, 413), (1, 1, 100_000, 413)],
)
def test_a_reply_of_another_shape_is_refused_before_anything_is_kept(
    server: ServerHome, plant: Plant, messages: int, trees: int, objects: int, status: int
) -> None:
    with node_client(plant) as client:
        node = activate(plant, client)
        own = MessageProto(metadata=Metadata(src_node_id=node.node_id, run_id=1))
        tree = ObjectTree(
            object_id="0" * 64, children=[ObjectTree(object_id=f"{n:064x}") for n in range(objects)]
        )
        request = PushMessagesRequest(
            node=node, messages_list=[own] * messages, message_object_trees=[tree] * trees
        )
        with pytest.raises(httpx.HTTPStatusError) as info:
            client.PushMessages(request)
        assert info.value.response.status_code == status


def test_nodes_can_neither_register_nor_fetch_code(server: ServerHome, plant: Plant) -> None:
    with node_client(plant) as client:
        node = activate(plant, client)
        key = public_key_to_bytes(key_files.load_ec_key(plant.home.node_key).public_key())
        for attempt in (
            lambda: client.RegisterNode(RegisterNodeFleetRequest(public_key=key)),
            lambda: client.UnregisterNode(UnregisterNodeFleetRequest(node_id=node.node_id)),
            lambda: client.GetFab(
                GetFabRequest(node=node, hash_str=flower_messages.APP_HASH, run_id=1)
            ),
        ):
            with pytest.raises(httpx.HTTPStatusError) as info:
                attempt()
            assert info.value.response.status_code in (403, 412)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"content-length: {1 << 40}", 413),
        ("content-length: -1", 400),
        ("content-length: 1e3", 400),
        ("transfer-encoding: chunked", 411),
        ("x-none: 0", 411),
    ],
)
def test_a_body_that_is_large_or_of_unknown_length_is_refused_unread(
    server: ServerHome, plant: Plant, header: str, status: int
) -> None:
    with raw_connection(server, plant) as connection:
        head = f"POST {WITNESS_PATH} HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n"
        connection.sendall(head.encode())  # and no body: the answer must not wait for one
        assert connection.recv(64).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_body_that_never_comes_is_not_waited_for() -> None:
    app = BodyLimit(_reads_all, limit=1000, seconds=0.2)
    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"10")]}

    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Any) -> None:
        raise AssertionError

    with pytest.raises(ClientDisconnect):
        asyncio.run(app(scope, never, send))


async def _reads_all(scope: Any, receive: Any, send: Any) -> None:
    await Request(scope, receive).body()


@contextlib.contextmanager
def raw_connection(server: ServerHome, plant: Plant) -> Iterator[ssl.SSLSocket]:
    config = server.read_config()
    context = server_link.client_tls_context(plant.home)
    with (
        socket.create_connection((config.host, config.fleet_port), timeout=PATIENCE_SECONDS) as raw,
        context.wrap_socket(raw, server_hostname=config.host) as connection,
    ):
        connection.settimeout(PATIENCE_SECONDS)
        yield connection


def test_what_is_sent_on_after_a_refusal_is_not_read(server: ServerHome, plant: Plant) -> None:
    size = 1 << 30
    with raw_connection(server, plant) as connection:
        head = f"POST {WITNESS_PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 413 ")
        sent, piece = 0, bytes(1 << 16)
        with pytest.raises(OSError):
            while sent < size:
                connection.sendall(piece)
                sent += len(piece)
        assert sent < 32 << 20  # what buffers on the way hold


def test_a_plant_gets_in_past_more_silent_connections_than_a_listener_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CONNECTIONS_LIMIT", 8)
    home = make_home(tmp_path / "server")
    with running(home), contextlib.ExitStack() as stack:
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        config = home.read_config()
        for number in range(40):
            stack.enter_context(
                socket.create_connection(
                    (config.host, config.fleet_port), 10, (f"127.0.0.{number + 2}", 0)
                )
            )
        with plant.running():
            assert finished(home, start_campaign(home, ["plant-a"])).state == "done"


def test_a_reply_that_is_no_message_is_the_senders_error(server: ServerHome, plant: Plant) -> None:
    with node_client(plant) as client:
        node = activate(plant, client)
        own = MessageProto(metadata=Metadata(src_node_id=node.node_id, message_type="no such"))
        with pytest.raises(httpx.HTTPStatusError) as info:
            client.PushMessages(
                PushMessagesRequest(
                    node=node,
                    messages_list=[own],
                    message_object_trees=[ObjectTree(object_id="0" * 64)],
                )
            )
    assert info.value.response.status_code == 400


def test_a_burst_of_requests_is_slowed_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "RateLimit", partial(RateLimit, requests_per_second=2))
    home = make_home(tmp_path / "server")
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        with transport.open_client(
            _url(plant.home), server_link.client_tls_context(plant.home)
        ) as client:
            codes = [400]
            while codes[-1] != 429 and len(codes) < 200:
                codes.append(client.post(WITNESS_PATH, content=b"x").status_code)
    assert codes[1] == 400 and codes[-1] == 429 and len(codes) > 20


def test_a_client_that_never_finishes_a_request_is_dropped(
    server: ServerHome, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "REQUEST_HEAD_SECONDS", 0.5)
    with raw_connection(server, plant) as connection:
        connection.sendall(b"POST /wg/v1/witness HTTP/1.1\r\nhost: x\r\n")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            assert connection.recv(1) == b""


def test_an_uncovered_release_is_refused(server: ServerHome, plant: Plant) -> None:
    honest = plant.answer

    def tampered(*args: object, **kwargs: object) -> bytes:
        covered = bundle.decode_statistics(honest(*args, **kwargs))  # type: ignore[arg-type]
        # The release of a charge, sent with the proof of another entry.
        forged = StatisticsBundle(
            covered.release,
            covered.charge_entry,
            covered.release_entry,
            covered.release_proof,
            covered.release_proof,
        )
        return bundle.encode(forged)

    plant.answer = tampered  # type: ignore[method-assign]
    with plant.running():
        done = finished(server, start_campaign(server, ["plant-a"]))
    (task,) = done.tasks
    assert (task.state, task.code, task.release_id) == ("failed", "verification", "")
    with ServerStore.open(server) as store:
        assert not store.newest_usable_release_ids(
            encoder_sha256=done.encoder, excluded_site="nobody"
        )


def test_a_server_in_the_middle_never_sees_the_secret(server: ServerHome, tmp_path: Path) -> None:
    with ServerStore.open(server) as store:
        token = create_join_token(server, store, "plant-x", 600.0)
    wrong = replace(token, ca_sha256="0" * 64)
    home = ClientHome(tmp_path / "plant")
    with pytest.raises(VerificationError, match="not the server"):
        enrolment.enrol(home, protocol.encode_join_token(wrong))
    assert not home.certificate.exists() and not home.tls_key.exists()


def test_a_wrong_clock_is_called_that(
    server: ServerHome,
    plant: Plant,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = getattr(signer, "now")  # noqa: B009 - imported there, not exported
    monkeypatch.setattr(signer, "now", lambda: real() + datetime.timedelta(minutes=10))
    monkeypatch.setattr(server_link, "time", SimpleNamespace(time=lambda: time.time() + 600))
    with plant.running():
        wait_until(lambda: "s ahead of the server" in caplog.text, "the message")
