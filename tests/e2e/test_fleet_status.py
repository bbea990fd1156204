"""What a node writes of its contact with a real server, and what ends it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.e2e.fleet_support import Plant, enrol_plant, finished, make_home, running, start_campaign
from tests.patience import wait_until

from wg_client.operation import status
from wg_core.site import server_contact
from wg_core.site.home import ClientHome
from wg_server.site.home import ServerHome


def state(plant: Plant) -> str:
    word = server_contact.read(plant.home)
    return word.state if word else ""


def test_a_node_says_whether_it_is_connected_and_why_not(tmp_path: Path) -> None:
    server = make_home(tmp_path / "server")
    with running(server):
        plant = enrol_plant(server, tmp_path / "plant-a", "plant-a")
    with plant.running():
        wait_until(lambda: state(plant) == "waiting", "the node")
        word = server_contact.read(plant.home)
        assert word is not None and "cannot be reached" in word.reason
        with running(server):
            wait_until(lambda: state(plant) == "connected", "the server")
            found = status.collect_status(plant.home)
            assert found.running and found.connected and found.certificate_expires > 0
            assert found.budget is not None and found.budget.charges == 0
        wait_until(lambda: state(plant) == "waiting", "its end")
    assert state(plant) == "stopped" and not status.collect_status(plant.home).running


@pytest.mark.slow
def test_a_node_that_ended_says_why(server: ServerHome, plant: Plant, tmp_path: Path) -> None:
    shutil.copytree(plant.home.root, tmp_path / "snapshot")
    with plant.running():
        finished(server, start_campaign(server, [plant.site]))
    old = Plant(plant.site, ClientHome(tmp_path / "snapshot"))
    with old.running() as node:
        wait_until(lambda: not node.is_alive(), "the node's end")
    problems = " ".join(status.collect_status(old.home).problems)
    assert "does not run" in problems and "Restore the newest copy" in problems
