"""``kill -9`` of real processes: nothing is charged twice, applied twice or lost."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.fleet_support import (
    Plant,
    enrol_plant,
    finished,
    healthy,
    make_home,
    running,
    start_campaign,
)
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_core.wire.bundle import decode_statistics
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

ROOT = Path(__file__).parents[2]


@contextmanager
def process(*words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, which does not outlive the block."""
    line = [sys.executable, "-m", "tests.e2e.fleet_process", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(line, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.kill()
            started.wait(PATIENCE_SECONDS)


def answers(plant: Plant) -> set[str]:
    """Hashes of the releases inside everything that the plant handed out."""
    parts = (plant.home.root / "answers.log").read_bytes().split(b"\n--end--\n")
    return {hashlib.sha256(decode_statistics(part).release).hexdigest() for part in parts if part}


def models(plant: Plant) -> int:
    return len(list(plant.home.models.iterdir())) if plant.home.models.is_dir() else 0


@pytest.mark.parametrize(
    "step",
    [
        "charged",
        pytest.param("recorded", marks=pytest.mark.slow),
        pytest.param("answered", marks=pytest.mark.slow),
        pytest.param("received", marks=pytest.mark.slow),
    ],
)
def test_a_node_killed_at_a_step_goes_on_where_it_was(
    server: ServerHome, plant: Plant, step: str
) -> None:
    campaign = start_campaign(server, ["plant-a"])
    with process("node", plant.home.root, "--die-after", step) as node:
        assert node.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    with plant.ledger() as ledger:
        assert ledger.read_spending("line-1").charge_count == 1
    with process("node", plant.home.root, "--once") as node:
        done = finished(server, campaign)
        assert node.wait(PATIENCE_SECONDS) == 0
    assert done.state == "done"
    assert len(answers(plant)) == 1  # whatever was handed out, it was the same release
    assert models(plant) == 1
    with plant.ledger() as ledger:
        spent = ledger.read_spending("line-1")
        assert (spent.charge_count, spent.open_charge_count) == (1, 0)


def test_a_server_killed_in_a_campaign_goes_on_where_it_was(tmp_path: Path) -> None:
    home = make_home(tmp_path / "server")
    with running(home):
        plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
    with process("node", plant.home.root, "--once") as node:
        with process("server", home.root) as first:
            wait_until(lambda: healthy(home), "the server")
            campaign = start_campaign(home, ["plant-a"])
            with ServerStore.open(home) as store:
                queue = CampaignQueue(store.engine)
                wait_until(
                    lambda: queue.find_campaign(campaign.id).tasks[0].messages > 0, "the query"
                )
            first.kill()
        with process("server", home.root) as second:
            done = finished(home, campaign)
            assert node.wait(PATIENCE_SECONDS) == 0
            second.send_signal(signal.SIGTERM)
            assert second.wait(PATIENCE_SECONDS) == 0
    assert done.state == "done"
    assert (len(answers(plant)), models(plant)) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_better_packages_survive_kills_of_the_server(tmp_path: Path, seed: int) -> None:
    """Two plants are served, a third comes late; the server is killed at three random moments."""
    rng = np.random.default_rng([seed, 146])
    home = make_home(tmp_path / "server")
    with running(home):
        names = ("plant-a", "plant-b", "plant-c")
        plants = [enrol_plant(home, tmp_path / name, name) for name in names]
        campaign = start_campaign(home, names, grace_seconds=0.0)
    with ExitStack() as stack, ServerStore.open(home) as store:
        queue = CampaignQueue(store.engine)
        main = stack.enter_context(process("server", home.root))
        for plant in plants[:2]:
            stack.enter_context(process("node", plant.home.root))
        wait_until(lambda: all(models(plant) == 1 for plant in plants[:2]), "the first packages")
        stack.enter_context(process("node", plants[2].home.root))
        for _ in range(3):
            time.sleep(float(rng.uniform(0.0, 3.0)))
            main.kill()
            main.wait(PATIENCE_SECONDS)
            main = stack.enter_context(process("server", home.root))
        done = finished(home, campaign)
        wait_until(lambda: all(map(models, plants)), "applying")
        assert queue.start_queued_campaigns() == []
    assert done.state == "done"
    assert done.find_task("plant-c").served == 1
    # A kill between a receipt and its record may have a package offered again, never made twice.
    assert all(task.served == 2 for task in done.tasks[:2])
    for plant in plants:
        assert len(answers(plant)) == 1
        with plant.ledger() as ledger:
            assert (
                ledger.read_spending("line-1").charge_count,
                ledger.read_spending("line-1").open_charge_count,
            ) == (
                1,
                0,
            )
