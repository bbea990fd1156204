"""Campaign over 1,000 plants: with one process on SQLite, then with two on one PostgreSQL.

Run ``python -m bench.fleet [--nodes N] [--processes P]``. Each plant has its own keys, certificate,
ledger and TLS connection, and runs the product's node; many share a process. They answer with the
synthetic handler of ``tests/e2e/fleet_support``: real charge, noise, signatures, witness, simulated
features. The fleet enrols once, on SQLite; the store is then copied into PostgreSQL as ``wg-server
restore`` does, and half of the plants are pointed to a second process of the same home (``serve
--beside``). There are two differences to a real fleet: enrolment attempts are not limited (all
plants have one address), and nodes reach the longest polling interval within a minute instead of
twenty.
"""

import argparse
import dataclasses
import json
import os
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from bench import measure
from bench.fleet_processes import (
    count_connected,
    node_processes,
    run_nodes,
    run_server,
    start_process,
    wait_for_campaign,
)
from tests.e2e.fleet_support import enrol_plant, make_home, start_campaign
from tests.server import postgres

from wg_core.fleet import node_interface
from wg_core.ledger.entries import Charge
from wg_core.ledger.entries import decode as decode_entry
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import bundle
from wg_core.wire.protocol import QUERY_MESSAGE_TYPE
from wg_server.fleet import enrolment
from wg_server.operation import serve as serving
from wg_server.operation.initialise import free_ports
from wg_server.site.home import ServerHome
from wg_server.store import store_copy
from wg_server.store.campaigns import Campaign
from wg_server.store.server_store import ServerStore

MODULE = "bench.fleet"
CAMPAIGN_SECONDS = 1800.0
QUIET_SECONDS = 70.0  # After this all nodes pause for as long as they ever do
IDLE_SECONDS = 40.0
EPSILONS = {"sqlite": "0.9", "postgresql": "0.5"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--fleet", type=Path, help="A folder to keep, and to go on with.")
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--be", choices=["server", "enrol", "nodes"], help="Used by the bench.")
    parser.add_argument("--beside", type=int, default=0)
    parser.add_argument("homes", type=Path, nargs="*")
    words = parser.parse_args()
    if words.be == "server":
        enrolment.ADDRESS_TRIES_PER_MINUTE = 1_000_000
        run_server(ServerHome(words.homes[0]), words.beside)
    elif words.be == "enrol":
        for path in words.homes[1:]:
            enrol_plant(ServerHome(words.homes[0]), path, path.name)
    elif words.be == "nodes":
        node_interface._IDLE_PAUSE_DIVISOR = 1.0
        run_nodes([ClientHome(path) for path in words.homes])
    else:
        measure_fleet(words.nodes, words.processes, words.fleet, words.databases.split(","))


def measure_fleet(
    nodes: int, processes: int, fleet_folder: Path | None, databases: list[str]
) -> None:
    name = f"fleet_{nodes}"
    path = measure.RESULTS / f"{name}.json"
    document: dict[str, object] = json.loads(path.read_text()) if path.is_file() else {}
    document["configuration"] = {
        "node_processes": processes,
        "idle_poll_seconds": node_interface.NodeOptions().idle_poll_seconds,
        "answers": "synthetic features, no encoder; real ledger, noise, signatures, witness",
        "packages": "public base alone",
        "server_peak_target_mb": 600,
    }
    with ExitStack() as stack:
        folder = fleet_folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="wg-bench-"))
        )
        home = ServerHome(folder / "server")
        if not home.config_file.exists():
            make_home(home.root)
        plants = [folder / f"plant-{number:04}" for number in range(nodes)]
        if "sqlite" in databases:
            with running_server(home, folder / "enrol.log"):
                if not plants[-1].is_dir():
                    document["enrolling_seconds"] = round(enrol(home, plants, processes), 1)
                document["sqlite"] = run_campaign(home, plants, processes, folder, beside_ports=[])
                measure.save_result(name, document)
        if "postgresql" in databases:
            url = stack.enter_context(postgres.cluster(durable=True))
            beside = move_to_postgresql(home, plants, url, folder)
            with (
                running_server(home, folder / "main.log"),
                running_server(home, folder / "beside.log", beside),
            ):
                document["postgresql"] = run_campaign(
                    home, plants, processes, folder, beside_ports=[beside]
                )
    measure.save_result(name, document)


def move_to_postgresql(home: ServerHome, plants: Sequence[Path], url: str, folder: Path) -> int:
    """Move the store, and point half of the plants to a second process; return its port."""
    with ServerStore.open(home) as store:
        store_copy.copy_store_to_file(store.engine, folder / "copy.sqlite")
    store_copy.restore_store_from_file(folder / "copy.sqlite", url)
    home.write_config(dataclasses.replace(home.read_config(), database=url))
    beside = free_ports("127.0.0.1", 1)[0]
    for path in plants[1::2]:
        point_to_process(ClientHome(path), beside)
    return beside


def run_campaign(
    home: ServerHome, plants: list[Path], processes: int, folder: Path, beside_ports: list[int]
) -> dict[str, object]:
    """Let all nodes connect, stay idle, and answer one campaign; return the measurements."""
    kind = "postgresql" if beside_ports else "sqlite"
    pids = list(SERVERS.values())
    began, load = time.time(), os.getloadavg()
    log = folder / f"nodes-{kind}.log"
    with node_processes(plants, processes, log, MODULE):
        measure.wait_until(
            lambda: count_connected(home, began) == len(plants), "the nodes", CAMPAIGN_SECONDS
        )
        online = time.time() - began
        time.sleep(QUIET_SECONDS)
        used = [measure.cpu_seconds(pid) for pid in pids]
        time.sleep(IDLE_SECONDS)
        idle = [
            (measure.cpu_seconds(pid) - before) / IDLE_SECONDS
            for pid, before in zip(pids, used, strict=True)
        ]
        resting = [round(measure.resident_memory(pid), 1) for pid in pids]
        for pid in pids:
            measure.reset_peak(pid)
        used = [measure.cpu_seconds(pid) for pid in pids]
        asked = time.monotonic()
        queued = start_campaign(
            home, [path.name for path in plants], epsilon=EPSILONS[kind], seconds=CAMPAIGN_SECONDS
        )
        found = wait_for_campaign(home, queued, 2 * CAMPAIGN_SECONDS)
        seconds = time.monotonic() - asked
        spent = [measure.cpu_seconds(pid) - before for pid, before in zip(pids, used, strict=True)]
        peaks = [round(measure.peak_memory(pid), 1) for pid in pids]
    logs = [[json.loads(text) for text in log.read_text().splitlines()] for log in SERVERS]
    lines = [line for log in logs for line in log]
    question = f"campaign {found.id}: {QUERY_MESSAGE_TYPE} sent"
    return {
        "machine": measure.describe_machine(),
        "nodes": len(plants),
        "load_average_at_start": load,
        "all_online_after_seconds": round(online, 1),
        "idle_cores": [round(each, 3) for each in idle],
        "server_idle_mb": resting,
        "campaign": count_replies(home, found),
        "campaign_seconds": round(seconds, 1),
        "server_cpu_seconds": [round(each, 1) for each in spent],
        "server_peak_mb": peaks,
        "statistics_round_trip_seconds": summarise_seconds(round_trips(lines, found.id)),
        "asked_by": [sum(question in line["message"] for line in log) for log in logs],
        "messages": sum(task.messages for task in found.tasks),
        "bytes_received": sum(task.bytes_received for task in found.tasks),
        "bytes_sent": sum(task.bytes_sent for task in found.tasks),
        "server_log_warnings": sum(line["level"] not in ("info", "debug") for line in lines),
        "load_average_at_end": os.getloadavg(),
    }


def count_replies(home: ServerHome, found: Campaign) -> dict[str, object]:
    """Count replies as parts, releases and charges, each of which must occur once per site."""
    epsilon, releases, charges, forks = found.epsilon, 0, 0, 0
    with ServerStore.open(home) as store:
        for task in found.tasks:
            own = [each for each in store.releases_of_site(task.site) if each.epsilon == epsilon]
            releases += len(own)
            entry = (
                decode_entry(bundle.decode_statistics(own[0].data).charge_entry) if own else None
            )
            charges += isinstance(entry, Charge) and entry.request_id == task.query_id
        forks = store.count_fork_evidence()
    return {
        "state": found.state,
        "sites": dict(Counter(task.state for task in found.tasks)),
        "releases": releases,
        "charges_of_their_question": charges,
        "forks": forks,
    }


def enrol(home: ServerHome, plants: Sequence[Path], processes: int) -> float:
    """Enrol all plants; return the seconds."""
    began = time.monotonic()
    shares = [plants[index::processes] for index in range(processes)]
    words = ["--be", "enrol", str(home.root)]
    running = [start_process([*words, *map(str, share)], None, MODULE) for share in shares]
    if any(process.wait(CAMPAIGN_SECONDS) for process in running):
        raise SystemExit("enrolling failed")
    return time.monotonic() - began


def point_to_process(home: ClientHome, port: int) -> None:
    """Point a plant to another process of its server."""
    config = configuration.load(home)
    there = dataclasses.replace(config.server, fleet_url=f"https://127.0.0.1:{port}")
    configuration.save(home, dataclasses.replace(config, pin=there))


def round_trips(lines: Sequence[dict[str, str]], campaign_id: str) -> list[float]:
    """Seconds from each site's first query to its verified release, from the servers' logs."""
    asked: dict[str, float] = {}
    released: dict[str, float] = {}
    for line in lines:
        if line.get("campaign") != campaign_id:
            continue
        when = datetime.fromisoformat(line["time"]).timestamp()
        if f"{QUERY_MESSAGE_TYPE} sent" in line["message"]:
            asked[line["site"]] = min(when, asked.get(line["site"], when))
        elif " released " in line["message"]:
            released[line["site"]] = when
    return [released[site] - asked[site] for site in released if site in asked]


def summarise_seconds(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    return {
        "p50": round(statistics.median(seconds), 2),
        "p95": round(statistics.quantiles(seconds, n=20, method="inclusive")[-1], 2),
        "max": round(max(seconds), 2),
    }


SERVERS: dict[Path, int] = {}  # Process of each server that runs now, by its log


@contextmanager
def running_server(home: ServerHome, log: Path, beside: int = 0) -> Iterator[None]:
    port = beside + 2 if beside else home.read_config().admin_port
    with log.open("wb") as stream:
        process = start_process(
            ["--be", "server", str(home.root), "--beside", str(beside)], stream, MODULE
        )
        try:
            measure.wait_until(
                lambda: serving.READY_MESSAGE in log.read_text(), f"the server on {port}", 120
            )
            SERVERS[log] = process.pid
            yield
        finally:
            SERVERS.pop(log, None)
            process.send_signal(signal.SIGTERM)
            process.wait(120)


if __name__ == "__main__":
    main()
