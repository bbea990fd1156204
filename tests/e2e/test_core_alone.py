"""The process that holds a plant's keys and answers loads the core, and nothing else of ours."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.e2e.fleet_support import finished, start_campaign
from tests.e2e.product import Packages, make_fleet, node, seams, serving
from tests.patience import wait_until

OURS = {"wg_core", "wg_audit", "wg_common", "wg_client", "wg_server", "weightgate"}


def test_a_node_that_answered_and_had_a_package_applied_has_loaded_the_core_alone(
    tmp_path: Path, packages: Packages
) -> None:
    fleet = make_fleet(tmp_path, packages, ["plant-a"])
    (plant,) = fleet.sites
    listing = tmp_path / "modules"
    with serving(fleet), node(fleet, plant, environment=seams(modules_file=listing)) as process:
        done = finished(fleet.server, start_campaign(fleet.server, fleet.names()))
        assert done.state == "done", process.said()
        wait_until(lambda: len(plant.applied()) == 1, "applying")
        os.kill(process.pid, signal.SIGUSR1)
        wait_until(listing.is_file, "the list of modules")
        loaded = set(listing.read_text("utf-8").split())
        assert process.running()
    assert plant.charged() == 1
    assert {name.partition(".")[0] for name in loaded} & OURS == {"wg_core"}
    assert "wg_core.fleet.node" in loaded and "wg_core.ledger.budget_ledger" in loaded
    assert not {"torch", "sklearn", "PIL"} & loaded
