"""Flower's own SuperLink under as many nodes as it takes, beside ``bench.fleet_1000``.

Run ``python -m bench.fleet_superlink [--nodes 100,250,500,1000]``. A stock ``flower-superlink``
with TLS and its state in SQLite; nodes use Flower's own connection, heartbeat and pause between two
questions, many in one process. Each is sent two messages, as in a campaign: a question whose answer
has the size of a release, and then a package. They are put into SuperLink's database and answers
are read there, so that it carries the nodes and nothing else: no run of an app, no witness, ledger
or check, no client certificates (it knows none), which all are part of ``fleet_1000``. Larger
fleets are tried after smaller ones; the first that is not through within four minutes is the last.
The result is ``superlink`` in ``bench/results/fleet_1000.json``.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench import measure
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.constant import NOOP_FLWR_AID, SUPERLINK_NODE_ID
from flwr.server.superlink.linkstate import LinkState
from flwr.supercore.constant import NOOP_FEDERATION_ID, NodeStatus, TaskType
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.config_loader import get_objectstore_linkstate_factories
from flwr.superlink.federation import NoOpFederationManager
from flwr.supernode.fleet_http_connection import http_request_response
from sqlalchemy.exc import OperationalError
from tests.e2e.fleet_support import make_home

from wg_core.wire import fleet
from wg_server.operation.initialise import free_ports

MODULE = "bench.fleet_superlink"
SECONDS = 240.0
IDLE_SECONDS = 40.0
POLL_SECONDS = 3.0  # Of a stock SuperNode (`flwr.supernode.start_client_internal`)
BYTES = {"query.question": (400, 5_700), "query.package": (54_000, 100)}
"""Of a message and its answer, as in the campaign of ``fleet_1000``."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", default="100,250,500,1000")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--be", help="Used by the bench: address, certificates, nodes.", nargs=3)
    words = parser.parse_args()
    if words.be:
        be_nodes(words.be[0], Path(words.be[1]).read_bytes(), int(words.be[2]))
        return
    found = []
    for count in map(int, words.nodes.split(",")):
        with tempfile.TemporaryDirectory(prefix="wg-bench-") as folder:
            found.append(one(Path(folder), count, words.processes))
        path = measure.RESULTS / "fleet_1000.json"
        document = json.loads(path.read_text())
        section = {"machine": measure.machine(), "runs": found}
        measure.save("fleet_1000", document | {"superlink": section})
        if not found[-1]["through"]:
            break


def one(folder: Path, nodes: int, processes: int) -> dict[str, object]:
    """Bring up one fleet and let it go through both messages."""
    home = make_home(folder / "server", message_seconds=600)
    database, port = folder / "state.sqlite", free_ports("127.0.0.1", 1)[0]
    command = [str(Path(sys.executable).with_name("flower-superlink")), "--database", str(database)]
    for name, path in (
        ("certfile", home.tls_cert),
        ("keyfile", home.tls_key),
        ("ca-certfile", home.ca_cert),
    ):
        command += [f"--ssl-{name}", str(path)]
    command += ["--isolation", "process", "--port", str(port)]
    with process(command, folder / "superlink.log") as link:
        measure.wait(lambda: listens(port), "SuperLink", 120)
        _, states = get_objectstore_linkstate_factories(str(database), NoOpFederationManager())
        state, load = states.state(), os.getloadavg()
        shares = [len(range(index, nodes, processes)) for index in range(processes)]
        be = [sys.executable, "-m", MODULE, "--be", f"127.0.0.1:{port}", str(home.ca_cert)]
        with several([[*be, str(share)] for share in shares if share], folder / "nodes.log"):
            came = time.monotonic()
            measure.wait(lambda: patient(lambda: online(state)) == nodes, "the nodes", SECONDS)
            came = time.monotonic() - came
            time.sleep(IDLE_SECONDS)
            used = measure.cpu_seconds(link)
            time.sleep(IDLE_SECONDS)
            idle = (measure.cpu_seconds(link) - used) / IDLE_SECONDS
            resting = measure.resident(link)
            measure.reset_peak(link)
            used, began = measure.cpu_seconds(link), time.monotonic()
            seconds = rounds(state)
            return {
                "nodes": nodes,
                "through": len(seconds) == 2 * nodes,
                "answers": len(seconds),
                "load_average_at_start": load,
                "all_online_after_seconds": round(came, 1),
                "idle_cores": round(idle, 3),
                "server_idle_mb": round(resting, 1),
                "seconds": round(time.monotonic() - began, 1),
                "server_cpu_seconds": round(measure.cpu_seconds(link) - used, 1),
                "server_peak_mb": round(measure.peak(link), 1),
                "answer_p50_p95_seconds": [
                    round(statistics.quantiles(seconds, n=20, method="inclusive")[at], 1)
                    for at in (9, 18)
                ]
                if len(seconds) > 1
                else [],
            }


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def online(state: LinkState) -> int:
    time.sleep(1)
    return len(state.get_node_info(statuses=[NodeStatus.ONLINE]))


def rounds(state: LinkState) -> list[float]:
    """Ask every node, send each that answered a package; seconds of each answer."""
    run = state.create_run(
        "bench",
        "1.0.0",
        fleet.APP_HASH,
        {},
        NOOP_FEDERATION_ID,
        None,
        NOOP_FLWR_AID,
        TaskType.SERVER_APP,
    )
    task = state.get_run_info(run_ids=[run])[0].primary_task_id
    if task is None or not state.claim_task(task) or not state.activate_task(task):
        raise SystemExit("SuperLink's state did not start a run")
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = task, run, SUPERLINK_NODE_ID
    sent: dict[str, tuple[float, int, str]] = {}
    seconds: list[float] = []
    end, beat = time.monotonic() + SECONDS, time.monotonic()
    for node in state.get_node_info(statuses=[NodeStatus.ONLINE]):
        patient(partial(put, state, run, node.node_id, "query.question", sent))
    while sent and time.monotonic() < end:
        for head in patient(lambda: state.get_message_res(message_ids=set(sent), run_id=run)):
            asked = head.metadata.reply_to_message_id
            began, node_id, kind = sent.pop(asked)
            seconds.append(time.monotonic() - began)
            patient(partial(state.delete_messages, {asked}))
            if kind == "query.question":
                patient(partial(put, state, run, node_id, "query.package", sent))
        if time.monotonic() - beat > 10:
            patient(lambda: state.acknowledge_task_heartbeat(task))
            beat = time.monotonic()
        time.sleep(0.5)
    return seconds


def patient(do: Callable[[], Any]) -> Any:
    """SuperLink writes to the database, too, and SQLite has one writer."""
    end = time.monotonic() + 120
    while True:
        try:
            return do()
        except OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def be_nodes(address: str, certificates: bytes, count: int) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [
        threading.Thread(target=node, args=(address, certificates, stop)) for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def node(address: str, certificates: bytes, stop: threading.Event) -> None:
    """A node that answers each message with so many bytes, over Flower's own connection."""
    with http_request_response(address, False, certificates) as connection:
        _, receive, send, _, _, pull, push, confirm = connection
        while not stop.is_set():
            found = receive()
            if found is None:
                stop.wait(POLL_SECONDS)
                continue
            head, tree = found
            run = head.metadata.run_id
            for part in iterate_object_tree(tree):
                pull(run, part.object_id)
            confirm(run, head.metadata.message_id)
            reply = Message(content(BYTES[head.metadata.message_type][1]), reply_to=head)
            reply.metadata.__dict__["_message_id"] = reply.object_id
            with no_object_id_recompute():
                objects = get_all_nested_objects(reply)
                missing, session = send(
                    remove_content_from_message(reply), get_object_tree(reply), 0.0
                )
                for name in missing:
                    push(run, session, name, objects[name].deflate())


def put(
    state: LinkState, run: int, node_id: int, kind: str, sent: dict[str, tuple[float, int, str]]
) -> None:
    """Store a message to a node, as SuperLink's servicer of an app does."""
    message = Message(content(BYTES[kind][0]), dst_node_id=node_id, message_type=kind, ttl=SECONDS)
    with no_object_id_recompute():
        message.metadata.__dict__["_message_id"] = message.object_id
        objects = get_all_nested_objects(message)
        session = state.start_session(run)
        stored, missing = state.store_message_and_object_tree(
            remove_content_from_message(message), get_object_tree(message), session
        )
        if not stored:  # the node is gone: Flower's connection ends where a call fails too often
            return
        for name in missing:
            state.store_object(run, session, name, objects[name].deflate())
    sent[message.metadata.message_id] = (time.monotonic(), node_id, kind)


def content(size: int) -> RecordDict:
    """So many random bytes, the same for no two messages."""
    return RecordDict({"config": ConfigRecord({"bytes": os.urandom(size)})})


@contextmanager
def several(commands: Sequence[list[str]], log: Path) -> Iterator[list[int]]:
    """Processes for as long as the block runs."""
    with log.open("wb") as stream:
        running = [subprocess.Popen(each, stdout=stream, stderr=stream) for each in commands]
    try:
        yield [each.pid for each in running]
    finally:
        for each in running:
            each.send_signal(signal.SIGTERM)
        for each in running:
            try:
                each.wait(120)
            except subprocess.TimeoutExpired:
                each.kill()


@contextmanager
def process(command: list[str], log: Path) -> Iterator[int]:
    with several([command], log) as (pid,):
        yield pid


if __name__ == "__main__":
    main()
