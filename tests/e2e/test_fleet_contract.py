"""Contracts with others: Flower's stock client, files, certificates that run out."""

from __future__ import annotations

import secrets
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from flwr.supercore.run import RunNotRunningException
from flwr.supernode.fleet_http_connection import http_request_response
from tests.e2e.fleet_support import Plant, answer_synthetic, base_package, finished, start_campaign

from wg_core.connection import server_link
from wg_core.errors import DecodeError
from wg_core.wire import flower_messages, key_files
from wg_core.wire.protocol import StatisticsQuery
from wg_server.campaigns import airgap
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore


@contextmanager
def adding_the_certificate(server: ServerHome, context: ssl.SSLContext) -> Iterator[str]:
    """A forwarder on loopback that speaks TLS with a client certificate for one that cannot."""
    config = server.read_config()

    class Forward(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                socket.create_connection((config.host, config.fleet_port)) as raw,
                context.wrap_socket(raw, server_hostname=config.host) as far,
            ):
                back = threading.Thread(target=pump, args=(far, self.request))
                back.start()
                pump(self.request, far)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Forward) as forwarder:
        thread = threading.Thread(target=forwarder.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{forwarder.server_address[1]}"
        finally:
            forwarder.shutdown()
            thread.join()


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for side in (source, sink):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)


def test_flowers_stock_client_interoperates_and_gets_no_code(
    server: ServerHome, plant: Plant
) -> None:
    key = key_files.load_ec_key(plant.home.node_key)
    campaign = start_campaign(server, ["plant-a"])
    with (
        adding_the_certificate(server, server_link.client_tls_context(plant.home)) as address,
        http_request_response(
            address, True, authentication_keys=(key, key.public_key()), max_retries=0
        ) as (_, receive, _, get_run, get_fab, *_),
    ):
        while (found := receive()) is None:
            time.sleep(0.05)
        message, _ = found
        assert message.metadata.message_type == "query.statistics"
        run = get_run(message.metadata.run_id)
        assert run.fab_hash == flower_messages.APP_HASH
        with pytest.raises(RunNotRunningException):  # its word for a 403
            get_fab(run.fab_hash, run.run_id)
    with ServerStore.open(server) as store:
        CampaignQueue(store.engine).cancel_campaign(campaign.id)
    finished(server, campaign)


def test_statistics_in_a_file_are_witnessed_and_answered_with_a_package(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    query = StatisticsQuery(
        request_id=secrets.token_hex(16),
        site="plant-a",
        encoder=server.encoder_sha256(),
        epsilon="1",
        delta="1e-5",
        purpose="file",
        expires=int(time.time()) + 60,
    )
    source = tmp_path / "statistics.wgs"
    data = answer_synthetic(plant.home, query, witness=None)
    source.write_bytes(data)
    out = tmp_path / "package.wgw"
    made = airgap.generate_from_file(server, source, out, make_package=base_package)
    assert made.site == "plant-a" and out.stat().st_size == made.bytes
    again = airgap.generate_from_file(server, source, out, make_package=base_package)
    assert again.release_id == made.release_id
    damaged = bytearray(data)
    damaged[-100] ^= 1
    source.write_bytes(damaged)
    with pytest.raises(DecodeError, match="does not match its hash"):
        airgap.generate_from_file(server, source, out, make_package=base_package)
