"""A server under attack, beside a campaign over three honest plants. ``python -m bench.hostile``.

The server is the product's ``serve`` in a process of its own on 127.0.0.1; the three plants run the
product's node in another; a third process attacks. Plants answer with the synthetic handler of
``tests/e2e/fleet_support`` (real charge, noise, signatures, witness; made-up features), packages
offer the public base, and the package maker loads torch as the real one does, so that the server's
memory is that of a server at work. The attacks, from addresses of their own in 127.0.0.0/8, and the
connections once more from the plants' own address:

* ``connections``: 500 at a time that say nothing, stop inside a head, send a byte each second, or
  show a certificate of another authority; each comes back a second after it was dropped;
* ``bodies``: 100 at a time that announce the largest body and stop one byte before its end;
* ``flood``: one enrolled site, as fast as it can: evidence of forks, replies that nobody asked for,
  packages that are not its own, renewals of its certificate, restarts of its node, noise;
* ``all``: all of these at once.

For each: the server's peak of resident memory, how long campaigns took against quiet ones of the
same run, and how attackers were refused. Times are medians of ``--campaigns``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from bench import fleet_load, measure
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PushMessagesRequest
from flwr.proto.message_pb2 import Message as MessageProto
from flwr.proto.message_pb2 import Metadata, ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from tests.e2e.fleet_support import healthy, make_home, start_campaign

from wg_client.connection import link, transport
from wg_client.site import config as configuration
from wg_client.site import identity
from wg_client.site.home import ClientHome
from wg_common import logs
from wg_common.errors import WgError
from wg_common.ledger.store import DatasetRecord, Ledger
from wg_common.wire import key_files, protocol, signing
from wg_server.campaigns.intake import Release
from wg_server.operation.serve import serve, signals
from wg_server.site.home import ServerHome

MEMORY_TARGET_MB = 600
TIME_TARGET = 2.0
HONEST = ("plant-a", "plant-b", "plant-c")
HOSTILE = "mallory"
CONNECTIONS = 500
BODIES = 100
FLOODERS = 8
FORKS = 40
AGAIN_SECONDS = 1.0
ATTACKS = ("connections", "connections, plants' address", "bodies", "flood", "all")
PATIENCE_SECONDS = 300.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--campaigns", type=int, default=3)
    parser.add_argument("--attacks", default=";".join(ATTACKS))
    parser.add_argument("--be", choices=["server", "attacker"], help="Used by the bench.")
    parser.add_argument("words", nargs="*")
    words = parser.parse_args()
    if words.be == "server":
        be_server(ServerHome(Path(words.words[0])))
    elif words.be == "attacker":
        attack, server, hostile = words.words
        Attacker(ServerHome(Path(server)), ClientHome(Path(hostile))).run(attack)
    else:
        bench(words.campaigns, words.attacks.split(";"))


def bench(campaigns: int, attacks: Sequence[str]) -> None:
    document: dict[str, object] = {
        "machine": measure.machine(),
        "configuration": {
            "connections": CONNECTIONS,
            "bodies": BODIES,
            "flooders": FLOODERS,
            "campaigns": campaigns,
            "memory_target_mb": MEMORY_TARGET_MB,
            "time_target": TIME_TARGET,
        },
    }
    with tempfile.TemporaryDirectory(prefix="wg-bench-") as name:
        folder = Path(name)
        home = make_home(folder / "server", message_seconds=600)
        with server(home, folder / "server.log") as pid:
            for site in (*HONEST, HOSTILE):
                fleet_load.enrol(home, folder / site, site)
            fork(ClientHome(folder / HOSTILE))
            homes = [folder / site for site in HONEST]
            with fleet_load.node_processes(homes, 1, folder / "nodes.log"):
                measure.wait(lambda: fleet_load.seen(home) == len(HONEST), "the nodes", 120)
                epsilons = (f"0.{number}" for number in itertools.count(100))
                rows = {}
                quiet = Fleet(home, pid, epsilons, folder / "server.log")
                quiet.measure(1)  # torch is loaded, every route was used once
                rows["quiet"] = quiet.measure(campaigns)
                for attack in attacks:
                    with attacker(attack, home, folder / HOSTILE, folder) as (own, tally):
                        before, start = measure.cpu_seconds(own), time.monotonic()
                        row = quiet.measure(campaigns)
                        used = (measure.cpu_seconds(own) - before) / (time.monotonic() - start)
                    rows[attack] = row | {"attacker_cores": round(used, 2), "attacker": tally}
                    time.sleep(5)
                rows["quiet again"] = quiet.measure(campaigns)
    document["attacks"] = rows
    document["load_average_at_end"] = os.getloadavg()
    measure.save("hostile", document)
    sys.stdout.write(table(rows))
    missed = misses(rows)
    if missed:
        raise SystemExit("missed: " + "; ".join(missed))


Rows = dict[str, dict[str, Any]]


def quiet_seconds(rows: Rows) -> float:
    calm = [rows[name]["campaign_seconds"] for name in ("quiet", "quiet again")]
    return float(statistics.median(itertools.chain.from_iterable(calm)))


def misses(rows: Rows) -> list[str]:
    """What was above the targets."""
    base = quiet_seconds(rows)
    found = []
    for name, row in rows.items():
        times = statistics.median(row["campaign_seconds"]) / base
        if times > TIME_TARGET:
            found.append(f"{name}: campaigns took {times:.1f} times as long")
        if row["peak_mb"] > MEMORY_TARGET_MB:
            found.append(f"{name}: {row['peak_mb']:.0f} MB")
    return found


def table(rows: Rows) -> str:
    """The table of docs/operations.md."""
    base = quiet_seconds(rows)
    lines = [
        "| attack | server's peak, MB | campaign, s | × quiet | what attackers met |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        middle = statistics.median(row["campaign_seconds"])
        met: dict[str, int] = row.get("attacker", {})
        said = ", ".join(f"{word} {count}" for word, count in sorted(met.items()))
        lines.append(
            f"| {name} | {row['peak_mb']:.0f} | {middle:.1f} | {middle / base:.2f} | {said} |"
        )
    return "\n".join(lines) + "\n"


class Fleet:
    """Campaigns over the honest plants, and the server's memory meanwhile."""

    def __init__(self, home: ServerHome, pid: int, epsilons: Iterator[str], log: Path) -> None:
        self._home = home
        self._pid = pid
        self._epsilons = epsilons
        self._log = log

    def measure(self, campaigns: int) -> dict[str, object]:
        """Run campaigns one after the other."""
        before = self._log.stat().st_size
        cpu, start = measure.cpu_seconds(self._pid), time.monotonic()
        measure.reset_peak(self._pid)
        took = [self._campaign() for _ in range(campaigns)]
        with self._log.open() as stream:
            stream.seek(before)
            levels = Counter(_level(line) for line in stream)
        return {
            "campaign_seconds": [round(each, 2) for each in took],
            "peak_mb": round(measure.peak(self._pid), 1),
            "resident_mb": round(measure.resident(self._pid), 1),
            "cores": round((measure.cpu_seconds(self._pid) - cpu) / (time.monotonic() - start), 2),
            "log_lines": dict(levels),
        }

    def _campaign(self) -> float:
        start = time.monotonic()
        campaign = start_campaign(
            self._home, HONEST, epsilon=next(self._epsilons), seconds=PATIENCE_SECONDS
        )
        done = fleet_load.wait_for(self._home, campaign)
        if done.state != "done":
            raise SystemExit(f"campaign: {done.state}: {[task.code for task in done.tasks]}")
        return time.monotonic() - start


def _level(line: str) -> str:
    try:
        return str(json.loads(line)["level"])
    except (ValueError, KeyError, TypeError):
        return "other"


@contextmanager
def server(home: ServerHome, log: Path) -> Iterator[int]:
    with log.open("wb") as stream:
        process = _start(["--be", "server", str(home.root)], stderr=stream)
        try:
            measure.wait(lambda: healthy(home), "the server", 60)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def attacker(
    attack: str, home: ServerHome, hostile: Path, folder: Path
) -> Iterator[tuple[int, dict[str, int]]]:
    """Attack until the block ends: the attacker's process, and what it will have met by then."""
    tally: dict[str, int] = {}
    errors = folder / "attacker.log"
    with errors.open("ab") as stream:
        process = _start(
            ["--be", "attacker", attack, str(home.root), str(hostile)],
            stdout=subprocess.PIPE,
            stderr=stream,
        )
    try:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise SystemExit(f"the attacker did not start: {errors.read_text()}")
        yield process.pid, tally
    finally:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        tally |= json.loads(out or "{}")


def _start(words: list[str], **streams: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "bench.hostile", *words], **streams)  # type: ignore[call-overload,no-any-return]


def be_server(home: ServerHome) -> None:
    import logging

    from tests.e2e.fleet_support import base_package

    def make(home: ServerHome, own: Release, others: Sequence[Release], request_id: str) -> bytes:
        import wg_server.generator.heads.generate  # noqa: F401 - with torch, as the real maker

        return base_package(home, own, others, request_id)

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    for name in ("alembic", "flwr", "uvicorn"):  # as wg-server does
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("wg_server").setLevel(logging.INFO)
    logs.use(logs.JSON)
    stop = threading.Event()
    with signals(stop):
        serve(home, stop=stop, make_package=make)


def fork(home: ClientHome) -> None:
    """Checkpoints of the hostile site that contradict each other, as bodies to send."""
    key = signing.load(home.ledger_key)
    witness = configuration.load(home).server.witness_name
    for number in range(FORKS):
        copy = home.root / "fork.sqlite"
        shutil.copy(home.ledger, copy)
        with Ledger.open(copy, key) as ledger:
            ledger.register_dataset(
                DatasetRecord(
                    name=f"fork-{number}",
                    commitment=f"{number:064x}",
                    cap_epsilon="8",
                    cap_delta="1e-5",
                )
            )
            (home.root / f"fork-{number}").write_bytes(ledger.witness_request(witness).encode())
        copy.unlink()


class Attacker:
    """The attacking process."""

    def __init__(self, server: ServerHome, hostile: ClientHome) -> None:
        config = server.config()
        self._host = config.host
        self._fleet_port, self._enrol_port = config.fleet_port, config.enrol_port
        self._body = config.body_limit
        self._hostile = hostile
        self._tally: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._own = link.client_context(hostile)
        self._nobody = _unchecked()
        self._other = _unchecked()
        certificate, key = _other_authority(hostile.root)
        self._other.load_cert_chain(certificate, key)

    def run(self, attack: str) -> None:
        """Say that the attack is on, go on until a signal, and print what was met."""
        os.nice(10)  # an attacker has a processor of its own; here it shares the server's
        stop = threading.Event()
        with signals(stop):
            kinds = ("connections", "bodies", "flood") if attack == "all" else (attack,)
            for kind in kinds:
                if kind == "flood":
                    self._flood(stop)
                else:
                    same = kind.endswith("address")
                    threading.Thread(
                        target=asyncio.run, args=(self._many(kind, same),), daemon=True
                    ).start()
            time.sleep(5)  # until all are there
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            stop.wait()
        with self._lock:
            sys.stdout.write(json.dumps(self._tally))
            sys.stdout.flush()
        os._exit(0)

    def _count(self, word: str) -> None:
        with self._lock:
            self._tally[word] += 1

    async def _many(self, kind: str, same: bool) -> None:
        """Keep many connections of a kind open, each from an address of its own."""
        works: list[Callable[[str], object]]
        if kind == "bodies":
            works = [self._stalled_body] * BODIES
        else:
            each = (
                self._says_nothing,
                self._tls_and_nothing,
                self._half_a_head,
                self._slow_bytes,
                self._wrong_certificate,
            )
            works = [each[number % len(each)] for number in range(CONNECTIONS)]

        async def again(number: int, work: Callable[[str], object]) -> None:
            address = "127.0.0.1" if same else f"127.{66 + number // 250}.0.{number % 250 + 1}"
            await asyncio.sleep(random.random() * 2)  # noqa: S311 - not all at once
            while True:
                try:
                    await work(address)  # type: ignore[misc]
                except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
                    self._count("TLS alert" if isinstance(error, ssl.SSLError) else "dropped")
                await asyncio.sleep(AGAIN_SECONDS)

        await asyncio.gather(*(again(number, work) for number, work in enumerate(works)))

    async def _talk(
        self, address: str, port: int, tls: ssl.SSLContext | None, pieces: Iterator[bytes]
    ) -> None:
        """Connect, send pieces (an empty one is a second's pause), and wait for the end."""
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

    async def _says_nothing(self, address: str) -> None:
        await self._talk(address, random.choice(self._ports()), None, iter(()))  # noqa: S311

    async def _tls_and_nothing(self, address: str) -> None:
        port, context = random.choice(self._doors())  # noqa: S311
        await self._talk(address, port, context, iter(()))

    async def _half_a_head(self, address: str) -> None:
        port, context = random.choice(self._doors())  # noqa: S311
        await self._talk(address, port, context, iter([b"POST /wg/v1/witness HTTP/1.1\r\nhost: x"]))

    async def _slow_bytes(self, address: str) -> None:
        port, context = random.choice(self._doors())  # noqa: S311
        head = b"POST /wg/v1/witness HTTP/1.1\r\nhost: x\r\nx: " + b"x" * 3600
        pieces = itertools.chain.from_iterable((bytes([byte]), b"") for byte in head)
        await self._talk(address, port, context, pieces)

    async def _wrong_certificate(self, address: str) -> None:
        await self._talk(address, self._fleet_port, self._other, iter([b"GET / HTTP/1.1\r\n\r\n"]))

    async def _stalled_body(self, address: str) -> None:
        head = f"POST /wg/v1/witness HTTP/1.1\r\nhost: x\r\ncontent-length: {self._body}\r\n\r\n"
        whole, rest = divmod(self._body - 1, 1 << 16)
        pieces = [head.encode(), *[b"x" * (1 << 16)] * whole, b"x" * rest]
        await self._talk(address, self._fleet_port, self._own, iter(pieces))

    def _ports(self) -> tuple[int, int]:
        return self._fleet_port, self._enrol_port

    def _doors(self) -> tuple[tuple[int, ssl.SSLContext], ...]:
        """Where TLS can be finished: by anybody, and by an enrolled site."""
        return (self._enrol_port, self._nobody), (self._fleet_port, self._own)

    def _flood(self, stop: threading.Event) -> None:
        for number in range(FLOODERS):
            threading.Thread(target=self._floods, args=(number, stop), daemon=True).start()

    def _floods(self, number: int, stop: threading.Event) -> None:
        base = f"https://{self._host}:{self._fleet_port}"
        key = key_files.load_ec(self._hostile.node_key)
        signed = NodeAuthHttpInterceptor(key, key.public_key())
        forks = [(self._hostile.root / f"fork-{each}").read_bytes() for each in range(FORKS)]
        csr = identity.csr(self._hostile, HOSTILE).encode()
        turn = itertools.count(number)
        with (
            transport.open_client(base, self._own) as plain,
            FleetHttpClient(base, verify=self._own, interceptors=[signed]) as flower,
        ):
            while not stop.is_set():
                each = next(turn)
                try:
                    if each % 6 == 5:
                        word = self._posts(plain, protocol.RENEW_PATH, csr)
                    elif each % 5 == 0:
                        word = self._posts(plain, protocol.WITNESS_PATH, forks[each % FORKS])
                    elif each % 5 == 1:
                        word = self._asks(plain, f"{protocol.PACKAGE_PATH}/{each:032x}")
                    elif each % 5 == 2:
                        word = self._posts(plain, protocol.ROTATE_PATH, b"{}" * 1000)
                    else:
                        word = self._replies(flower, key, each)
                except (httpx.HTTPError, WgError, OSError) as error:
                    word = type(error).__name__
                self._count(word)

    def _posts(self, client: httpx.Client, path: str, body: bytes) -> str:
        return str(client.post(path, content=body).status_code)

    def _asks(self, client: httpx.Client, path: str) -> str:
        return str(client.get(path, headers={"range": "bytes=0-99"}).status_code)

    def _replies(self, client: FleetHttpClient, key: object, number: int) -> str:
        """A node that starts again and again, and answers what nobody asked."""
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


def _unchecked() -> ssl.SSLContext:
    """An attacker's context: it does not care who the server is."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _other_authority(folder: Path) -> tuple[Path, Path]:
    """A certificate and key of an authority that the server does not know."""
    certificate, key = folder / "other.pem", folder / "other.key"
    if not certificate.exists():
        with suppress(FileExistsError):
            other = make_home(folder / "other-server")
            shutil.copy(other.tls_cert, certificate)
            shutil.copy(other.tls_key, key)
    return certificate, key


if __name__ == "__main__":
    main()
