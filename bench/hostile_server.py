"""Server under attack during a campaign over three honest plants: a part of ``bench.hostile``.

The server is the product's ``serve`` in a process of its own on 127.0.0.1; the three plants run the
product's node in another; a third process attacks. Plants answer with the synthetic handler of
``tests/e2e/fleet_support`` (real charge, noise, signatures, witness; simulated features), packages
offer the public base, and the package maker loads torch as the real one does, so that the server's
memory is realistic. The attacks come from separate addresses in 127.0.0.0/8; connections are also
tried from the plants' own address:

* ``connections``: 500 at a time that send nothing, stop inside a header, send a byte each second,
  or have a certificate of another authority; each reconnects a second after it was closed;
* ``bodies``: 100 at a time that announce the largest body and stop one byte before its end;
* ``flood``: one enrolled site, as fast as it can: evidence of forks, replies without a message,
  packages of other sites, restarts of its node, noise;
* ``all``: all of these at once.

The table has the server's peak resident memory, the duration of campaigns relative to those of the
same run without an attack, and the reactions to the attackers. Times are medians. The attacker
shares the server's processor, which a real one does not.
"""

import itertools
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import attacker as attackers
from bench import fleet_processes, measure
from tests.e2e.fleet_support import make_home, start_campaign

from wg_core.site.home import ClientHome
from wg_server.site.home import ServerHome

MEMORY_TARGET_MB = 600
TIME_TARGET = 2.0
HONEST = ("plant-a", "plant-b", "plant-c")
ATTACKS = ("connections", "connections, plants' address", "bodies", "flood", "all")
PATIENCE_SECONDS = 300.0


def measure_attacks(campaigns: int, attacks: Sequence[str], nice: int) -> Iterator[str]:
    """Run the attacks, and yield the table.

    Args:
        campaigns: Number of campaigns under each attack.
        attacks: Some of ``ATTACKS``.
        nice: Niceness of the attacker's process.
    """
    with tempfile.TemporaryDirectory(prefix="wg-bench-") as name:
        folder = Path(name)
        home = make_home(folder / "server")
        with fleet_processes.running_server(home, folder / "server.log") as pid:
            for site in (*HONEST, attackers.HOSTILE_SITE):
                fleet_processes.enrol(home, folder / site, site)
            attackers.write_forks(ClientHome(folder / attackers.HOSTILE_SITE))
            homes = [folder / site for site in HONEST]
            with fleet_processes.node_processes(homes, 1, folder / "nodes.log"):
                measure.wait_until(
                    lambda: fleet_processes.count_connected(home) == len(HONEST), "the nodes", 120
                )
                epsilons = (f"0.{number}" for number in itertools.count(100))
                rows = {}
                quiet = Fleet(home, pid, epsilons)
                quiet.measure(1)  # torch is loaded, every route was used once
                rows["quiet"] = quiet.measure(campaigns)
                for attack in attacks:
                    with running_attacker(
                        attack, home, folder / attackers.HOSTILE_SITE, nice
                    ) as tally:
                        row = quiet.measure(campaigns)
                    rows[attack] = row | {"attacker": tally}
                    time.sleep(5)
                rows["quiet again"] = quiet.measure(campaigns)
    yield from table(rows)
    missed = missed_targets(rows)
    if missed:
        yield f"\nAbove the targets: {'; '.join(missed)}."


Rows = dict[str, dict[str, Any]]


def quiet_seconds(rows: Rows) -> float:
    calm = [rows[name]["campaign_seconds"] for name in ("quiet", "quiet again")]
    return float(statistics.median(itertools.chain.from_iterable(calm)))


def missed_targets(rows: Rows) -> list[str]:
    """Return results that exceed the targets."""
    base = quiet_seconds(rows)
    found = []
    for name, row in rows.items():
        times = statistics.median(row["campaign_seconds"]) / base
        if times > TIME_TARGET:
            found.append(f"{name}: campaigns took {times:.1f} times as long")
        if row["peak_mb"] > MEMORY_TARGET_MB:
            found.append(f"{name}: {row['peak_mb']:.0f} MB")
    return found


def table(rows: Rows) -> list[str]:
    """Write the table of docs/operations.md."""
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
    return lines


class Fleet:
    """Fleet of the honest plants, with measurements of the server during campaigns."""

    def __init__(self, home: ServerHome, pid: int, epsilons: Iterator[str]) -> None:
        self._home = home
        self._pid = pid
        self._epsilons = epsilons

    def measure(self, campaigns: int) -> dict[str, object]:
        """Run campaigns one after the other; return their durations and the server's memory."""
        measure.reset_peak(self._pid)
        took = [self._campaign() for _ in range(campaigns)]
        return {
            "campaign_seconds": [round(each, 2) for each in took],
            "peak_mb": round(measure.peak_memory(self._pid), 1),
        }

    def _campaign(self) -> float:
        start = time.monotonic()
        campaign = start_campaign(
            self._home, HONEST, epsilon=next(self._epsilons), seconds=PATIENCE_SECONDS
        )
        done = fleet_processes.wait_for_campaign(self._home, campaign)
        if done.state != "done":
            raise SystemExit(f"campaign: {done.state}: {[task.code for task in done.tasks]}")
        return time.monotonic() - start


@contextmanager
def running_attacker(
    attack: str, home: ServerHome, hostile: Path, nice: int
) -> Iterator[dict[str, int]]:
    """Attack during the body; yield a dict that receives the counts of reactions at its end."""
    tally: dict[str, int] = {}
    errors = hostile / "attacker.log"
    with errors.open("ab") as stream:
        command = [sys.executable, "-m", "bench.attacker"]
        process = subprocess.Popen(
            [*command, attack, str(home.root), str(hostile), str(nice)],
            stdout=subprocess.PIPE,
            stderr=stream,
        )
    try:
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise SystemExit(f"the attacker did not start: {errors.read_text()}")
        yield tally
    finally:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        tally |= json.loads(out or "{}")
