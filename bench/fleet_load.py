"""One campaign over many nodes against one server process: time, round trips, memory, bytes.

Run ``python -m bench.fleet_load [--nodes N] [--processes P] [--databases sqlite,postgresql]``.
Each node has its own home, keys, certificate, ledger and connection, and is the product's node at
its default speed; several share a process, to spare memory. The server is the product's ``serve``
in one process of its own, with a package maker that offers the public base alone; plants answer
with the synthetic handler of ``tests/e2e/fleet_support``: real charge, noise, signatures and
witness over made-up features, no encoder. PostgreSQL is a durable cluster of its own on a Unix
socket; each database gets a fleet that was enrolled anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from bench import measure
from tests.e2e.fleet_support import (
    answer_synthetic,
    base_package,
    enrol_plant,
    healthy,
    make_home,
    start_campaign,
)
from tests.server import postgres

from wg_client.fleet.interface import Handlers, NodeOptions
from wg_client.fleet.node import run_node
from wg_client.site.home import ClientHome
from wg_common import atomic, logs
from wg_common.errors import PeerError
from wg_common.wire.protocol import QUERY_STATISTICS
from wg_server.campaigns.intake import Release
from wg_server.operation.serve import serve, signals
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store

MODULE = "bench.fleet_load"
SECONDS = 600.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--be", choices=["server", "nodes"], help="Used by the bench.")
    parser.add_argument("homes", type=Path, nargs="*")
    words = parser.parse_args()
    if words.be == "server":
        be_server(ServerHome(words.homes[0]))
    elif words.be == "nodes":
        be_nodes([ClientHome(path) for path in words.homes])
    else:
        bench(words.nodes, words.processes, words.databases.split(","))


def bench(nodes: int, processes: int, databases: Sequence[str]) -> None:
    document: dict[str, object] = {
        "machine": measure.machine(),
        "configuration": {
            "nodes": nodes,
            "node_processes": processes,
            "poll_seconds": NodeOptions().poll_seconds,
            "answers": "synthetic features, no encoder; real ledger, noise, signatures, witness",
            "packages": "public base alone",
        },
    }
    for name in databases:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wg-bench-")))
            url = ""
            if name == "postgresql":
                url = stack.enter_context(postgres.cluster(durable=True))
            load = os.getloadavg()
            document[name] = {"load_average_at_start": load} | one(folder, nodes, processes, url)
    document["load_average_at_end"] = os.getloadavg()
    measure.save("fleet_load", document)


def one(folder: Path, nodes: int, processes: int, url: str) -> dict[str, object]:
    home = make_home(folder / "server", message_seconds=600)
    if url:
        home.write_config(dataclasses.replace(home.config(), database=url))
    sites = [f"plant-{number:03}" for number in range(nodes)]
    log = folder / "server.log"
    with server(home, log) as pid:
        started = time.monotonic()
        for site in sites:
            enrol(home, folder / site, site)
        enrolling = time.monotonic() - started
        with node_processes(
            [folder / site for site in sites], processes, folder / "nodes.log"
        ) as node_pids:
            measure.wait(lambda: seen(home) == nodes, "the nodes", SECONDS)
            time.sleep(15)
            idle, cpu = measure.resident(pid), measure.cpu_seconds(pid)
            time.sleep(10)
            idle_cpu = (measure.cpu_seconds(pid) - cpu) / 10
            measure.reset_peak(pid)
            start = time.monotonic()
            campaign = start_campaign(home, sites, seconds=SECONDS)
            found = wait_for(home, campaign)
            seconds = time.monotonic() - start
            peak = measure.peak(pid)
            node_memory = [measure.peak(each) for each in node_pids]
    states = Counter(task.state for task in found.tasks)
    trips = round_trips(log, found.id)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return {
        "campaign": {"state": found.state, "sites": dict(states), "replies": len(trips)},
        "campaign_seconds": round(seconds, 1),
        "last_after_seconds": last_after(log, found),
        "statistics_round_trip_seconds": {
            "p50": round(statistics.median(trips), 2),
            "p95": round(statistics.quantiles(trips, n=20, method="inclusive")[-1], 2),
            "max": round(max(trips), 2),
        },
        "messages": sum(task.messages for task in found.tasks),
        "bytes_received": sum(task.bytes_received for task in found.tasks),
        "bytes_sent": sum(task.bytes_sent for task in found.tasks),
        "server_idle_mb": round(idle, 1),
        "server_peak_mb": round(peak, 1),
        "server_peak_target_mb": 600,
        "server_idle_cores": round(idle_cpu, 2),
        "node_process_peak_mb": [round(each, 1) for each in node_memory],
        "enrolling_seconds": round(enrolling, 1),
        "server_log_warnings": sum(line["level"] not in ("info", "debug") for line in lines),
    }


def enrol(home: ServerHome, root: Path, site: str) -> None:
    """Enrol one plant over the network; the listener lets 60 a minute in."""
    while True:
        try:
            enrol_plant(home, root, site)
        except PeerError as error:
            if "429" not in str(error):
                raise
            time.sleep(1)
        else:
            return


def seen(home: ServerHome) -> int:
    with Store.open(home) as store:
        return sum(site.last_seen > 0 for site in store.sites())


def wait_for(home: ServerHome, campaign: Campaign) -> Campaign:
    with Store.open(home) as store:
        queue = CampaignQueue(store.engine)
        measure.wait(lambda: queue.show(campaign.id).finished is not None, "campaign", 2 * SECONDS)
        return queue.show(campaign.id)


def round_trips(log: Path, campaign: str) -> list[float]:
    """Seconds from a site's first query to its verified release, from the server's log."""
    asked: dict[str, float] = {}
    trips: list[float] = []
    for text in log.read_text().splitlines():
        line = json.loads(text)
        if line.get("campaign") != campaign:
            continue
        when = datetime.fromisoformat(line["time"]).timestamp()
        if f"{QUERY_STATISTICS} sent" in line["message"]:
            asked.setdefault(line["site"], when)
        elif " released " in line["message"]:
            trips.append(when - asked[line["site"]])
    return trips


def last_after(log: Path, campaign: Campaign) -> dict[str, float]:
    """When the last site had released, was packaged for, and was delivered to, from the start."""
    words = {" released ": "released", "package of": "packaged", "delivered to": "delivered"}
    found: dict[str, float] = {}
    for text in log.read_text().splitlines():
        line = json.loads(text)
        if line.get("campaign") == campaign.id:
            when = datetime.fromisoformat(line["time"]).timestamp() - campaign.created
            found |= {
                name: round(when, 1) for word, name in words.items() if word in line["message"]
            }
    return found


@contextmanager
def server(home: ServerHome, log: Path) -> Iterator[int]:
    with log.open("wb") as stream:
        process = start(["--be", "server", str(home.root)], stderr=stream)
        try:
            measure.wait(lambda: healthy(home), "the server", 60)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def node_processes(
    homes: Sequence[Path], count: int, log: Path, module: str = MODULE
) -> Iterator[list[int]]:
    """Nodes in so many processes of a bench, as long as the block runs."""
    shares = [["--be", "nodes", *map(str, homes[index::count])] for index in range(count)]
    with log.open("wb") as stream:
        running = [start(words, stream, module) for words in shares if len(words) > 2]
    try:
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(300)


def start(
    words: list[str], stderr: object = subprocess.DEVNULL, module: str = MODULE
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", module, *words]
    return subprocess.Popen(command, stderr=stderr)  # type: ignore[call-overload,no-any-return]


def be_server(home: ServerHome, beside: int = 0) -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    for name in ("alembic", "flwr", "uvicorn"):  # as wg-server does
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("wg_server").setLevel(logging.INFO)
    logs.use(logs.JSON)
    stop = threading.Event()
    with signals(stop):
        serve(home, stop=stop, make_package=make_base, beside=beside)


def make_base(home: ServerHome, own: Release, others: Sequence[Release], request_id: str) -> bytes:
    """A package of the public base alone, in a process with torch, as the real maker's."""
    import wg_server.generator.heads.generate  # noqa: F401

    return base_package(home, own, others, request_id)


def be_nodes(homes: Sequence[ClientHome]) -> None:
    """Several nodes on threads of one process."""

    def apply(home: ClientHome, source: Path) -> object:
        atomic.write_bytes(home.models / "applied", source.read_bytes())
        return None

    stop = threading.Event()
    handlers = Handlers(answer_query=answer_synthetic, apply_package=apply)
    with signals(stop):
        threads = [
            threading.Thread(target=run_node, args=(home, handlers), kwargs={"stop": stop})
            for home in homes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
