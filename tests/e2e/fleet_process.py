"""A server or a node in a process of its own, for tests that kill it.

Usage: python -m tests.e2e.fleet_process server HOME
       python -m tests.e2e.fleet_process node HOME [--once] [--die-after STEP]

``--die-after`` kills the process (-9) right after a step of the answer: ``charged`` or
``recorded``; or ``answered`` (before the reply is sent), ``received`` (before the package is
applied).
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from tests.e2e.fleet_support import FAST, answer_synthetic, base_package

from wg_common import weights_file
from wg_core import atomic
from wg_core.fleet.node import run_node
from wg_core.fleet.node_interface import NodeHandlers
from wg_core.ledger.witness import AskWitness
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import signing
from wg_core.wire.protocol import StatisticsQuery
from wg_server.operation.serve import serve_home, stop_on_signals
from wg_server.site.home import ServerHome


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "node"])
    parser.add_argument("home", type=Path)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--die-after", default="")
    words = parser.parse_args()
    stop = threading.Event()
    with stop_on_signals(stop):
        if words.role == "server":
            serve_home(ServerHome(words.home), stop_event=stop, make_package=base_package)
        else:
            node(ClientHome(words.home), words.once, words.die_after, stop)


def node(home: ClientHome, once: bool, fatal: str, stop: threading.Event) -> None:
    def step(name: str) -> None:
        if name == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def answer(
        home: ClientHome,
        query: StatisticsQuery,
        *,
        witness: AskWitness | None,
        clock: Callable[[], float],
    ) -> bytes:
        data = answer_synthetic(home, query, witness=witness, on_step=step, clock=clock)
        with (home.root / "answers.log").open("ab") as log:
            log.write(data)
            log.write(b"\n--end--\n")
        step("answered")
        return data

    def apply(home: ClientHome, source: Path) -> object:
        step("received")
        data = source.read_bytes()
        key = bytes.fromhex(configuration.load(home).server.signing_key)
        manifest, _ = weights_file.decode_weights_package(data, signing.public_from_bytes(key))
        atomic.write_bytes(home.models / manifest.package_id, data)  # applying twice is one model
        return manifest

    run_node(
        home,
        NodeHandlers(answer_query=answer, apply_package=apply),
        stops_after_package=once,
        stop=stop,
        options=FAST,
    )


if __name__ == "__main__":
    main()
