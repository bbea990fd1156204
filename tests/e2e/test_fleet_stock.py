"""The stock ``flower-supernode`` process against our listener: welcome as a node, never fed code.

It wants TLS and cannot present a client certificate, so a forwarder on loopback ends its TLS and
adds the site's certificate to a TLS of its own, as an operator would with stunnel. It runs under a
watch that lets it call nobody else.
"""

from __future__ import annotations

import os
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.constant import NodeStatus
from tests.e2e.fleet_support import (
    Plant,
    enrol_plant,
    expire,
    finished,
    make_home,
    running,
    start_campaign,
)
from tests.e2e.product import BIN, Command, seams
from tests.e2e.test_fleet_contract import pump
from tests.patience import wait_until

from wg_core.connection import server_link
from wg_core.wire import key_files
from wg_server.fleet.adapter import FlowerLink
from wg_server.operation import serve as serving
from wg_server.operation.initialise import free_ports
from wg_server.site.home import ServerHome

SUPERNODE = BIN / "flower-supernode"
pytestmark = pytest.mark.skipif(not SUPERNODE.is_file(), reason="flower-supernode is not installed")


class Watched:
    """What the running server's link state and its listener saw."""

    def __init__(self) -> None:
        self.states: list[FlowerLink] = []
        self.answers: list[tuple[str, int]] = []

    def state(self) -> FlowerLink:
        self.states.append(FlowerLink())
        return self.states[-1]

    def online(self) -> bool:
        return bool(self.states[-1]._state.get_node_info(statuses=[NodeStatus.ONLINE]))

    def of(self, path: str) -> set[int]:
        """Statuses of the answers to one of Flower's calls."""
        return {status for found, status in self.answers if found == f"/v1/fleet/{path}"}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    found = Watched()
    monkeypatch.setattr(serving, "FlowerLink", found.state)
    make = serving.fleet_app

    def noting(inner: Any) -> Any:
        async def noted(scope: Any, receive: Any, send: Any) -> None:
            async def note(message: Any) -> None:
                if message["type"] == "http.response.start":
                    found.answers.append((scope["path"], message["status"]))
                await send(message)

            await inner(scope, receive, note)

        return noted

    def app(*words: Any) -> Any:
        application = make(*words)
        application.add_middleware(noting)
        return application

    monkeypatch.setattr(serving, "fleet_app", app)
    return found


@contextmanager
def forwarder(server: ServerHome, context: ssl.SSLContext) -> Iterator[int]:
    """The port of a forwarder that speaks TLS on both sides, with a certificate on the far one."""
    config = server.read_config()
    near_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    near_context.load_cert_chain(server.tls_cert, server.tls_key)

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                near_context.wrap_socket(self.request, server_side=True) as near,
                socket.create_connection((config.host, config.fleet_port)) as raw,
                context.wrap_socket(raw, server_hostname=config.host) as far,
            ):
                back = threading.Thread(target=pump, args=(far, near))
                back.start()
                pump(near, far)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield int(listening.server_address[1])
        finally:
            listening.shutdown()
            thread.join()


@contextmanager
def supernode(
    folder: Path, server: ServerHome, port: int, key: ec.EllipticCurvePrivateKey
) -> Iterator[Command]:
    """A stock SuperNode with a node key, that is told to find its SuperLink at a port."""
    key_file = folder / "node_key"
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    (own,) = free_ports("127.0.0.1", 1)
    environment = {
        **seams(network_log=folder / "calls", network_ports=f"{port},{own}"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_HOME": str(folder / "flwr"),
        "HOME": str(folder),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # it starts flower-superexec
    }
    words = ("--root-certificates", server.ca_cert, "--superlink", f"127.0.0.1:{port}")
    more = ("--auth-supernode-private-key", key_file, "--max-retries", "1")
    listen = ("--host", "127.0.0.1", "--port", str(own))
    log = folder / "supernode.log"
    started = Command((SUPERNODE, *words, *more, *listen), log, environment)
    started.start()
    try:
        yield started
    finally:
        started.end()


@pytest.mark.slow
def test_a_stock_supernode_joins_pulls_and_gets_no_code(tmp_path: Path, watched: Watched) -> None:
    home = make_home(tmp_path / "server")
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        key = key_files.load_ec_key(plant.home.node_key)
        context = server_link.client_tls_context(plant.home)
        with forwarder(home, context) as port, supernode(tmp_path, home, port, key) as bundle:
            wait_until(watched.online, "the SuperNode")
            campaign = start_campaign(home, ["plant-a"])
            wait_until(lambda: bool(watched.of("get-fab")), "a question for the app")
            expire(home, campaign)
            done = finished(home, campaign)
            assert bundle.running(), bundle.said()
        # It interoperates where it should ...
        for path in ("activate-node", "pull-messages", "get-run"):
            assert 200 in watched.of(path), path
        # ... and no app ever left the server, so nothing could run and nothing was released.
        assert watched.of("get-fab") == {403}
        assert done.tasks[0].release_id == "" and done.state == "partial"
        assert plant.steps == []
        # The plant's own node takes over, as if nothing had been.
        with plant.running():
            assert finished(home, start_campaign(home, ["plant-a"])).state == "done"


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["key", "certificate"])
def test_a_stock_supernode_that_is_not_the_site_is_refused(
    tmp_path: Path, watched: Watched, wrong: str
) -> None:
    home = make_home(tmp_path / "server")
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        other: Plant = enrol_plant(home, tmp_path / "plant-b", "plant-b")
        if wrong == "key":
            key = ec.generate_private_key(ec.SECP384R1())
            context = server_link.client_tls_context(plant.home)
        else:
            key = key_files.load_ec_key(plant.home.node_key)
            context = server_link.client_tls_context(other.home)
        with forwarder(home, context) as port, supernode(tmp_path, home, port, key):
            wait_until(lambda: bool(watched.of("activate-node")), "the SuperNode")
            assert watched.of("activate-node") <= {401, 403}
            assert not watched.online()
        assert watched.of("pull-messages") == set()


@pytest.mark.slow
def test_a_stock_supernode_without_a_certificate_does_not_get_past_tls(
    tmp_path: Path, watched: Watched
) -> None:
    home = make_home(tmp_path / "server")
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
        key = key_files.load_ec_key(plant.home.node_key)
        with supernode(tmp_path, home, home.read_config().fleet_port, key) as bundle:
            assert bundle.wait() != 0
        assert watched.answers == [] and not watched.online()
