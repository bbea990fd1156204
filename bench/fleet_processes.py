"""Processes of a fleet for benchmarks: one server, and nodes of which many share a process.

Each node has its own home, keys, certificate, ledger and connection, and is the product's node with
its default intervals. The server is the product's ``serve``, with a package maker that offers only
the public base; plants answer with the synthetic handler of ``tests/e2e/fleet_support``: real
charge, noise, signatures and witness over simulated features, without an encoder. Each process is a
call of ``python -m bench.fleet_processes --be nodes HOME``, or of a benchmark with its own
``--be``.
"""

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench import measure
from tests.e2e.fleet_support import answer_synthetic, base_package, enrol_plant, healthy

from wg_core import atomic, logs
from wg_core.errors import PeerError
from wg_core.fleet.node import run_node
from wg_core.fleet.node_interface import NodeHandlers
from wg_core.site.home import ClientHome
from wg_server.campaigns.packaging import ReleasePools
from wg_server.campaigns.release import PackageRecipient
from wg_server.operation.serve import serve_home, stop_on_signals
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

MODULE = "bench.fleet_processes"
WAIT_SECONDS = 600.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--be", choices=["server", "nodes"], required=True)
    parser.add_argument("homes", type=Path, nargs="+")
    words = parser.parse_args()
    if words.be == "server":
        run_server(ServerHome(words.homes[0]))
    else:
        run_nodes([ClientHome(path) for path in words.homes])


def enrol(home: ServerHome, root: Path, site: str) -> None:
    """Enrol one plant over the network; the listener admits 60 per minute."""
    while True:
        try:
            enrol_plant(home, root, site)
        except PeerError as error:
            if "429" not in str(error):
                raise
            time.sleep(1)
        else:
            return


def count_connected(home: ServerHome, since: float = 0.0) -> int:
    time.sleep(1)
    with ServerStore.open(home) as store:
        return sum(site.last_seen > since for site in store.sites())


def wait_for_campaign(
    home: ServerHome, queued: Campaign, seconds: float = 2 * WAIT_SECONDS
) -> Campaign:
    with ServerStore.open(home) as store:
        queue = CampaignQueue(store.engine)

        def ended() -> bool:
            time.sleep(1)
            return queue.find_campaign(queued.id, site=queued.tasks[0].site).finished is not None

        measure.wait_until(ended, "campaign", seconds)
        return queue.find_campaign(queued.id)


@contextmanager
def running_server(home: ServerHome, log: Path) -> Iterator[int]:
    with log.open("wb") as stream:
        process = start_process(["--be", "server", str(home.root)], stream)
        try:
            measure.wait_until(lambda: healthy(home), "the server", 60)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def node_processes(
    homes: Sequence[Path], count: int, log: Path, module: str = MODULE
) -> Iterator[list[int]]:
    """Run nodes in ``count`` processes during the body; yield the process ids."""
    shares = [["--be", "nodes", *map(str, homes[index::count])] for index in range(count)]
    with log.open("wb") as stream:
        running = [start_process(words, stream, module) for words in shares if len(words) > 2]
    try:
        yield [process.pid for process in running]
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(300)


def start_process(
    arguments: list[str], stderr: object, module: str = MODULE
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, stderr=stderr)  # type: ignore[call-overload,no-any-return]


def run_server(home: ServerHome, beside: int = 0) -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    for name in ("alembic", "flwr", "uvicorn"):  # as wg-server does
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("wg_server").setLevel(logging.INFO)
    logs.set_log_format(logs.JSON_FORMAT)
    stop = threading.Event()
    with stop_on_signals(stop):
        serve_home(home, stop_event=stop, make_package=make_base_package, additional_port=beside)


def make_base_package(
    home: ServerHome,
    pools: ReleasePools,
    recipient: PackageRecipient,
    request_id: str,
    generator: str,
) -> bytes:
    """Make a package with the public base only, with torch loaded as in the real package maker."""
    import wg_server.generator.weights.head_generation  # noqa: F401

    return base_package(home, pools, recipient, request_id, generator)


def run_nodes(homes: Sequence[ClientHome]) -> None:
    """Run several nodes on threads of this process."""

    def apply(home: ClientHome, source: Path) -> object:
        atomic.write_bytes(home.models / "applied", source.read_bytes())
        return None

    stop = threading.Event()
    handlers = NodeHandlers(answer_query=answer_synthetic, apply_package=apply)
    with stop_on_signals(stop):
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
