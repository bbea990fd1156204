"""Attacking process of ``bench.hostile``.

Usage: python -m bench.attacker ATTACK SERVER_HOME HOSTILE_HOME NICE; the hostile home is that of an
enrolled site. The process prints ``ready`` when the attack has begun, and on a signal the counts of
the server's reactions.
"""

import asyncio
import itertools
import json
import os
import random
import shutil
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PushMessagesRequest
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from tests.e2e.fleet_support import make_home

from wg_core.connection import server_link, transport
from wg_core.errors import WgError
from wg_core.ledger.budget_ledger import DatasetRegistration, Ledger
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import key_files, protocol, signing
from wg_server.operation.serve import BODY_BYTES_LIMIT, stop_on_signals
from wg_server.site.home import ServerHome

HOSTILE_SITE = "mallory"
CONNECTIONS = 500
STALLED_BODIES = 100
FLOODERS = 8
FORKS = 40
RECONNECT_SECONDS = 1.0


def write_forks(home: ClientHome) -> None:
    """Write contradictory checkpoints of the hostile site as request bodies."""
    key = signing.load(home.ledger_key)
    witness = configuration.load(home).server.witness_name
    for number in range(FORKS):
        copy = home.root / "fork.sqlite"
        shutil.copy(home.ledger, copy)
        with Ledger.open(copy, key) as ledger:
            ledger.register_dataset(
                DatasetRegistration(
                    name=f"fork-{number}",
                    commitment=f"{number:064x}",
                    cap_epsilon="8",
                    cap_delta="1e-5",
                )
            )
            (home.root / f"fork-{number}").write_bytes(ledger.witness_request(witness).encode())
        copy.unlink()


class Attacker:
    """Attack of a server, with counts of the server's reactions."""

    def __init__(self, server: ServerHome, hostile: ClientHome) -> None:
        config = server.read_config()
        self._host = config.host
        self._fleet_port, self._enrol_port = config.fleet_port, config.enrol_port
        self._body = BODY_BYTES_LIMIT
        self._hostile = hostile
        self._tally: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._own = server_link.client_tls_context(hostile)
        self._nobody = _unverified_context()
        self._other = _unverified_context()
        certificate, key = _foreign_certificate(hostile.root)
        self._other.load_cert_chain(certificate, key)

    def run(self, attack: str) -> None:
        """Start the attack, print ``ready``, and on a signal print the counts."""
        stop = threading.Event()
        with stop_on_signals(stop):
            kinds = ("connections", "bodies", "flood") if attack == "all" else (attack,)
            for kind in kinds:
                if kind == "flood":
                    self._start_floods(stop)
                else:
                    same = kind.endswith("address")
                    threading.Thread(
                        target=asyncio.run, args=(self._keep_connections(kind, same),), daemon=True
                    ).start()
            time.sleep(5)  # until all are there
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            stop.wait()
        with self._lock:
            sys.stdout.write(json.dumps(self._tally))
            sys.stdout.flush()
        os._exit(0)

    def _count(self, outcome: str) -> None:
        with self._lock:
            self._tally[outcome] += 1

    async def _keep_connections(self, kind: str, same_address: bool) -> None:
        """Keep many connections of a kind open, with separate addresses by default."""
        works: list[Callable[[str], object]]
        if kind == "bodies":
            works = [self._stalled_body] * STALLED_BODIES
        else:
            each = (
                self._silent_connection,
                self._silent_tls_connection,
                self._partial_header,
                self._slow_bytes,
                self._wrong_certificate,
            )
            works = [each[number % len(each)] for number in range(CONNECTIONS)]

        async def again(number: int, work: Callable[[str], object]) -> None:
            address = (
                "127.0.0.1" if same_address else f"127.{66 + number // 250}.0.{number % 250 + 1}"
            )
            await asyncio.sleep(random.random() * 2)  # noqa: S311 - not all at once
            while True:
                try:
                    await work(address)  # type: ignore[misc]
                except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
                    self._count("TLS alert" if isinstance(error, ssl.SSLError) else "dropped")
                await asyncio.sleep(RECONNECT_SECONDS)

        await asyncio.gather(*(again(number, work) for number, work in enumerate(works)))

    async def _exchange(
        self, address: str, port: int, tls: ssl.SSLContext | None, pieces: Iterator[bytes]
    ) -> None:
        """Connect, send pieces of data (empty: one second's pause), and wait for a reaction."""
        reader, writer = await asyncio.open_connection(
            self._host, port, ssl=tls, local_addr=(address, 0)
        )
        try:
            answer = asyncio.ensure_future(reader.read(64))
            for piece in pieces:
                if answer.done():
                    break
                if piece:
                    writer.write(piece)
                    await writer.drain()
                else:
                    await asyncio.sleep(1)
            found = await answer
            self._count(found.split(b"\r\n")[0].decode("ascii", "replace")[9:12] or "dropped")
        finally:
            writer.close()

    async def _silent_connection(self, address: str) -> None:
        port = random.choice((self._fleet_port, self._enrol_port))  # noqa: S311
        await self._exchange(address, port, None, iter(()))

    async def _silent_tls_connection(self, address: str) -> None:
        port, context = random.choice(self._tls_ports())  # noqa: S311
        await self._exchange(address, port, context, iter(()))

    async def _partial_header(self, address: str) -> None:
        port, context = random.choice(self._tls_ports())  # noqa: S311
        await self._exchange(
            address, port, context, iter([b"POST /wg/v1/witness HTTP/1.1\r\nhost: x"])
        )

    async def _slow_bytes(self, address: str) -> None:
        port, context = random.choice(self._tls_ports())  # noqa: S311
        head = b"POST /wg/v1/witness HTTP/1.1\r\nhost: x\r\nx: " + b"x" * 3600
        pieces = itertools.chain.from_iterable((bytes([byte]), b"") for byte in head)
        await self._exchange(address, port, context, pieces)

    async def _wrong_certificate(self, address: str) -> None:
        await self._exchange(
            address, self._fleet_port, self._other, iter([b"GET / HTTP/1.1\r\n\r\n"])
        )

    async def _stalled_body(self, address: str) -> None:
        head = f"POST /wg/v1/witness HTTP/1.1\r\nhost: x\r\ncontent-length: {self._body}\r\n\r\n"
        whole, rest = divmod(self._body - 1, 1 << 16)
        pieces = [head.encode(), *[b"x" * (1 << 16)] * whole, b"x" * rest]
        await self._exchange(address, self._fleet_port, self._own, iter(pieces))

    def _tls_ports(self) -> tuple[tuple[int, ssl.SSLContext], ...]:
        """Ports that complete a TLS handshake, with contexts of a stranger and a site."""
        return (self._enrol_port, self._nobody), (self._fleet_port, self._own)

    def _start_floods(self, stop: threading.Event) -> None:
        for number in range(FLOODERS):
            threading.Thread(target=self._run_flood, args=(number, stop), daemon=True).start()

    def _run_flood(self, number: int, stop: threading.Event) -> None:
        base = f"https://{self._host}:{self._fleet_port}"
        key = key_files.load_ec_key(self._hostile.node_key)
        signed = NodeAuthHttpInterceptor(key, key.public_key())
        forks = [(self._hostile.root / f"fork-{each}").read_bytes() for each in range(FORKS)]
        turn = itertools.count(number)
        with (
            transport.open_client(base, self._own) as plain,
            FleetHttpClient(base, verify=self._own, interceptors=[signed]) as flower,
        ):
            while not stop.is_set():
                each = next(turn)
                try:
                    if each % 5 == 0:
                        word = self._post_status(plain, protocol.WITNESS_PATH, forks[each % FORKS])
                    elif each % 5 == 1:
                        word = self._get_status(plain, f"/wg/v1/packages/{each:032x}")
                    elif each % 5 == 2:
                        word = self._post_status(plain, protocol.ROTATE_PATH, b"{}" * 1000)
                    else:
                        word = self._send_unrequested_reply(flower, key, each)
                except (httpx.HTTPError, WgError, OSError) as error:
                    word = type(error).__name__
                self._count(word)

    def _post_status(self, client: httpx.Client, path: str, body: bytes) -> str:
        return str(client.post(path, content=body).status_code)

    def _get_status(self, client: httpx.Client, path: str) -> str:
        return str(client.get(path, headers={"range": "bytes=0-99"}).status_code)

    def _send_unrequested_reply(self, client: FleetHttpClient, key: object, number: int) -> str:
        """Restart the node and send a reply to a message that was never sent; return the status."""
        try:
            public = public_key_to_bytes(key.public_key())  # type: ignore[attr-defined]
            found = client.ActivateNode(
                ActivateNodeRequest(public_key=public, heartbeat_interval=30)
            )
            own = MessageProto(
                metadata=Metadata(
                    src_node_id=found.node_id, run_id=number, reply_to_message_id=f"{number:064x}"
                )
            )
            client.PushMessages(
                PushMessagesRequest(
                    node=Node(node_id=found.node_id),
                    messages_list=[own],
                    message_object_trees=[ObjectTree(object_id=f"{number:064x}")],
                )
            )
        except httpx.HTTPStatusError as error:
            return str(error.response.status_code)
        return "200"


def _unverified_context() -> ssl.SSLContext:
    """Return a TLS context that does not verify the server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _foreign_certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate and key from an authority that the server does not know."""
    certificate, key = folder / "other.pem", folder / "other.key"
    if not certificate.exists():
        with suppress(FileExistsError):
            other = make_home(folder / "other-server")
            shutil.copy(other.tls_cert, certificate)
            shutil.copy(other.tls_key, key)
    return certificate, key


def main() -> None:
    attack, server, hostile, nice = sys.argv[1:]
    os.nice(int(nice))
    Attacker(ServerHome(Path(server)), ClientHome(Path(hostile))).run(attack)


if __name__ == "__main__":
    main()
