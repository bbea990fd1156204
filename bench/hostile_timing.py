"""Time at which an answer leaves, measured on the network: a part of ``python -m bench.hostile``.

A server and nodes of the product run in separate processes (``python -m bench.hostile_timing --be
nodes HOME``); a relay between each node and the server records time and size of the data that
passes. A process runs three plants: one with few records, one with many, and one whose policy
refuses the request. All are asked at once, many times. While a plant prepares an answer, its
connection is silent; the duration of this silence, and the time from its end to the complete
answer, are measured.

Plants of one process and one request form a block, so that load is the same for all three. Two
kinds of plants are compared by Wilcoxon's signed-rank test of their differences in each block,
which is robust to single answers that a busy machine delays. The level is .01 for all comparisons
together.
"""

import argparse
import functools
import math
import socket
import statistics
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from bench import fleet_processes
from bench import measure as measures
from scipy.stats import wilcoxon
from tests.e2e.fleet_support import LABELS, make_home, start_campaign
from tests.server.generators import install

from wg_audit.installed import simulated_records
from wg_audit.installed.audited_plant import PlantSetup
from wg_client.release import canary_audit
from wg_client.release.home_freeze import freeze_data, inspect_home_data
from wg_core import atomic
from wg_core.fleet.node import run_node
from wg_core.fleet.node_interface import NodeHandlers, NodeOptions
from wg_core.release.query_answers import answer_query
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_server.operation.serve import stop_on_signals
from wg_server.site.home import ServerHome

MODULE = "bench.hostile_timing"
KINDS = ("few", "many", "refused")
SIZES = {"few": 30, "many": 10_000, "refused": 30}
SLOT_SECONDS = 2.0
DIMENSION = 16
ANSWER_BYTES = 4000  # Fewest of an answer with its proofs; a checkpoint has less
LEVEL = 0.01
_OPTIONS = NodeOptions(
    poll_seconds=0.05, idle_poll_seconds=0.3, backoff_seconds=0.1, backoff_limit_seconds=0.5
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Comparison of the times of two kinds of plants over blocks.

    Attributes:
        title: Name of the compared time.
        kinds: Kinds of plants; the difference is the second minus the first.
        blocks: Number of blocks.
        difference: Median difference, milliseconds.
        p_value: Two-sided p-value of the signed-rank test.
        level: Level below which ``p_value`` counts as a difference.
        detectable_shift: Shift that would be detected with probability .99, milliseconds.
    """

    title: str
    kinds: tuple[str, str]
    blocks: int
    difference: float
    p_value: float
    level: float
    detectable_shift: float


def measure(*, rounds: int, processes: int) -> tuple[list[Comparison], str]:
    """Ask all plants, and compare the times of their answers.

    Returns:
        The comparisons, and a sentence with the median silence by kind.
    """
    with tempfile.TemporaryDirectory(prefix="wg-bench-") as name:
        silence, answer = _measure_times(Path(name), rounds, processes)
    pairs = [
        ("silence", silence, ("few", "many")),
        ("silence", silence, ("few", "refused")),
        ("from silence to answer", answer, ("few", "many")),
    ]
    compared = [_compare(what, times, kinds, len(pairs)) for what, times, kinds in pairs]
    medians = (
        f"{kind} {1000 * float(np.nanmedian([x[kind] for x in silence])):.0f} ms" for kind in KINDS
    )
    return compared, ", ".join(medians)


Block = dict[str, float]
"""Seconds by kind of plant; NaN if the connection was not silent for a slot, or no answer came."""


def _measure_times(folder: Path, rounds: int, processes: int) -> tuple[list[Block], list[Block]]:
    encoder = canary_audit._ByteEncoder(dimension=DIMENSION)
    home = make_home(folder / "server")
    home.encoder_file.write_bytes(repr(encoder).encode())
    install(home)
    silence: list[Block] = []
    answer: list[Block] = []
    with ExitStack() as running:
        running.enter_context(fleet_processes.running_server(home, folder / "server.log"))
        lines: dict[tuple[int, str], Relay] = {}
        for number in range(processes):
            for kind in KINDS:
                relay = running.enter_context(running_relay(home.read_config().fleet_port))
                lines[number, kind] = relay
                _make_plant(home, folder / f"{kind}-{number}", kind, relay.port, encoder, number)
            homes = [folder / f"{kind}-{number}" for kind in KINDS]
            log = folder / f"nodes-{number}.log"
            running.enter_context(fleet_processes.node_processes(homes, 1, log, module=MODULE))
        sites = [f"{kind}-{number}" for number, kind in lines]
        measures.wait_until(
            lambda: fleet_processes.count_connected(home) == len(sites), "the nodes", 300
        )
        for number in range(rounds):
            for relay in lines.values():
                relay.clear()
            campaign = start_campaign(home, sites, epsilon=f"0.{100 + number}", seconds=120.0)
            fleet_processes.wait_for_campaign(home, campaign)
            for process in range(processes):
                seen = {kind: lines[process, kind].answer_times() for kind in KINDS}
                silence.append({kind: times[0] for kind, times in seen.items()})
                answer.append({kind: times[1] for kind, times in seen.items()})
    return silence[processes:], answer[processes:]  # the first round loads what is loaded once


def _make_plant(
    server: ServerHome,
    root: Path,
    kind: str,
    port: int,
    encoder: canary_audit._ByteEncoder,
    number: int,
) -> None:
    fleet_processes.enrol(server, root, root.name)
    home = ClientHome(root)
    rng = np.random.default_rng(number)
    rows = simulated_records.simulate_records(
        rng, SIZES[kind], PlantSetup(labels=tuple(LABELS), dimension=DIMENSION)
    )
    path = root / "data.npz"
    np.savez(
        path,
        x=np.stack([row.pixels for row in rows]),
        y=np.array([row.label for row in rows]),
        classes=np.array(LABELS),
    )
    config = configuration.load(home)
    url = config.server.fleet_url.replace(str(server.read_config().fleet_port), str(port))
    privacy = replace(
        config.privacy,
        answer_slot_seconds=SLOT_SECONDS,
        max_request_epsilon="0.01" if kind == "refused" else config.privacy.max_request_epsilon,
    )
    config = replace(
        config,
        pin=replace(config.server, fleet_url=url),
        data=replace(config.data, path=str(path)),
        privacy=privacy,
    )
    configuration.save(home, config)
    found = inspect_home_data(home, load_encoder=lambda _: encoder)
    freeze_data(home, found, load_encoder=lambda _: encoder)


@dataclass(slots=True)
class Relay:
    """Relay between a node and its server, with a record of passing data.

    Attributes:
        port: Port of the relay.
        outgoing: Seconds and bytes of data from the node to the server.
        incoming: Seconds and bytes of data from the server to the node.
    """

    port: int
    outgoing: list[tuple[float, int]] = field(default_factory=list)
    incoming: list[tuple[float, int]] = field(default_factory=list)

    def clear(self) -> None:
        """Forget the recorded data."""
        self.outgoing.clear()
        self.incoming.clear()

    def answer_times(self) -> tuple[float, float]:
        """Seconds of silence before an answer, and from then to the complete answer; or NaN."""
        out, back = list(self.outgoing), [moment for moment, _ in self.incoming]
        for moment, _ in out[1:]:
            last = back[bisect_left(back, moment) - 1] if back else moment
            if moment - last > 0.9 * SLOT_SECONDS:
                sent = 0
                for later, size in out:
                    sent += size if later >= moment else 0
                    if sent > ANSWER_BYTES:
                        return moment - last, later - moment
                return moment - last, float("nan")
        return float("nan"), float("nan")


@contextmanager
def running_relay(port: int) -> Iterator[Relay]:
    """Run a relay to a local port during the body."""
    listener = socket.create_server(("127.0.0.1", 0))
    relay = Relay(listener.getsockname()[1])

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", port))
            for one, other, log in ((near, far, relay.outgoing), (far, near, relay.incoming)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_forward, args=(one, other, log), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield relay
    finally:
        listener.close()


def _forward(one: socket.socket, other: socket.socket, log: list[tuple[float, int]]) -> None:
    try:
        while data := one.recv(1 << 16):
            log.append((time.monotonic(), len(data)))
            other.sendall(data)
    except OSError:
        pass
    finally:
        other.close()


def _compare(
    title: str, times: Sequence[Block], kinds: tuple[str, str], comparisons: int
) -> Comparison:
    pairs = np.array([[block[kind] for kind in kinds] for block in times])
    differences = 1000 * np.diff(pairs[np.isfinite(pairs).all(axis=1)], axis=1)[:, 0]
    if not len(differences):
        raise SystemExit(f"{title}: no block was seen")
    level, normal = LEVEL / comparisons, statistics.NormalDist()
    middle = float(np.median(differences))
    spread = float(np.median(np.abs(differences - middle))) / normal.inv_cdf(0.75)
    error = spread * (math.pi / 3 / len(differences)) ** 0.5  # of signed ranks, if it is normal
    return Comparison(
        title=title,
        kinds=kinds,
        blocks=len(differences),
        difference=middle,
        p_value=float(wilcoxon(differences).pvalue),
        level=level,
        detectable_shift=error * (normal.inv_cdf(1 - level / 2) + normal.inv_cdf(0.99)),
    )


def main() -> None:
    """Run the nodes of one process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--be", choices=["nodes"], required=True)
    parser.add_argument("homes", type=Path, nargs="+")
    run_nodes([ClientHome(path) for path in parser.parse_args().homes])


def run_nodes(homes: Sequence[ClientHome]) -> None:
    """Run the product's node at each home, with the product's answers."""

    def apply(home: ClientHome, source: Path) -> object:
        atomic.write_bytes(home.models / "applied", source.read_bytes())
        return None

    stop = threading.Event()
    handlers = NodeHandlers(answer_query=answer_query, apply_package=apply)
    run = functools.partial(run_node, stop=stop, options=_OPTIONS)
    with stop_on_signals(stop):
        threads = [threading.Thread(target=run, args=(home, handlers)) for home in homes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
