"""Memory and processor time of a server while N connected plants are idle.

Run ``python -m bench.fleet_quiet --fleet FOLDER [--nodes N]`` with a fleet that was enrolled by
``bench.fleet --fleet FOLDER``. A single light process simulates all nodes: each has its own TLS
connection, certificate and node key, is activated, and asks for work once a minute, as an idle node
does; the heartbeat every five minutes is omitted. So 1,000 nodes are measured on a machine that
could not run 1,000 real ones: the server's memory and processor time hardly depend on the other
load. The result is ``quiet`` in ``bench/results/fleet_1000.json``.
"""

import argparse
import asyncio
import base64
import json
import os
import ssl
import time
from pathlib import Path
from typing import Any

from bench import fleet, measure
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.proto.fleet_pb2 import ActivateNodeRequest, ActivateNodeResponse, PullMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message

from wg_core.connection import server_link
from wg_core.site.home import ClientHome
from wg_core.wire import key_files
from wg_server.site.home import ServerHome

POLL_SECONDS = 60.0  # A quiet node's pause between two questions for work
SETTLE_SECONDS = 15.0
SAMPLE_SECONDS = 30.0


class QuietNode:
    """Simulated idle node, which asks for work and receives none."""

    def __init__(self, home: ClientHome, port: int) -> None:
        self._key = key_files.load_ec_key(home.node_key)
        self._public = public_key_to_bytes(self._key.public_key())
        self._context: ssl.SSLContext = server_link.client_tls_context(home)
        self._port = port
        self._id = 0
        self.asked = 0

    async def activate(self) -> None:
        """Connect and activate the node."""
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, ssl_handshake_timeout=300.0
        )
        request = ActivateNodeRequest(public_key=self._public, heartbeat_interval=300)
        answer = await self._request("activate-node", request)
        self._id = ActivateNodeResponse.FromString(answer).node_id

    async def poll(self) -> None:
        """Ask for work one minute after each answer, for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._request("pull-messages", PullMessagesRequest(node=Node(node_id=self._id)))
            self.asked += 1

    async def _request(self, name: str, message: Any) -> bytes:
        body, stamp = message.SerializeToString(), now().isoformat()
        signature = sign_message(self._key, stamp.encode("ascii"))
        lines = (
            f"POST /v1/fleet/{name} HTTP/1.1",
            f"host: 127.0.0.1:{self._port}",
            "content-type: application/protobuf",
            f"content-length: {len(body)}",
            f"{TIMESTAMP_HEADER}: {stamp}",
            f"{FLEET_HTTP_PUBLIC_KEY_HEADER}: {base64.b64encode(self._public).decode('ascii')}",
            f"{FLEET_HTTP_SIGNATURE_HEADER}: {base64.b64encode(signature).decode('ascii')}",
        )
        self._writer.write("\r\n".join((*lines, "", "")).encode("ascii") + body)
        await self._writer.drain()
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("ascii").lower().split("\r\n")
        if " 200" not in head[0]:
            raise SystemExit(f"{name}: {head[0]}")
        length = next(int(line[15:]) for line in head if line.startswith("content-length:"))
        return await self._reader.readexactly(length)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--fleet", type=Path, required=True)
    parser.add_argument("--looks", type=int, default=4, help="Of 30 s each.")
    words = parser.parse_args()
    home = ServerHome(words.fleet / "server")
    with fleet.running_server(home, words.fleet / "quiet.log"):
        (pid,) = fleet.SERVERS.values()
        time.sleep(SETTLE_SECONDS)
        found = asyncio.run(measure_quiet_fleet(home, words.fleet, words.nodes, words.looks, pid))
    path = measure.RESULTS / "fleet_1000.json"
    document = json.loads(path.read_text()) | {"quiet": found}
    measure.save_result("fleet_1000", document)


async def measure_quiet_fleet(
    home: ServerHome, fleet: Path, count: int, samples: int, pid: int
) -> dict[str, object]:
    """Connect the nodes one by one, and measure the server's memory and processor time."""
    port = home.read_config().fleet_port
    alone, spent = measure.resident_memory(pid), await _core_share(pid)
    nodes = [QuietNode(ClientHome(fleet / f"plant-{n:04}"), port) for n in range(count)]
    before = measure.cpu_seconds(pid)
    tasks = []
    for node in nodes:
        await node.activate()
        tasks.append(asyncio.create_task(node.poll()))
    came = measure.cpu_seconds(pid) - before
    await asyncio.sleep(POLL_SECONDS + SETTLE_SECONDS)
    measure.reset_peak(pid)
    asked = sum(node.asked for node in nodes)
    began = time.monotonic()
    shares = [await _core_share(pid) for _ in range(samples)]
    rate = (sum(node.asked for node in nodes) - asked) / (time.monotonic() - began)
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    return {
        "machine": measure.describe_machine(),
        "nodes": count,
        "load_average_at_end": os.getloadavg(),
        "server_alone_mb": round(alone, 1),
        "server_alone_cores": round(spent, 4),
        "coming_cpu_seconds": round(came, 1),
        "requests_a_second": round(rate, 2),
        "idle_cores": [round(share, 4) for share in shares],
        "server_mb": round(measure.resident_memory(pid), 1),
        "server_peak_mb": round(measure.peak_memory(pid), 1),
    }


async def _core_share(pid: int) -> float:
    """Measure the share of a core that a process uses."""
    before, began = measure.cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(SAMPLE_SECONDS)
    return (measure.cpu_seconds(pid) - before) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
