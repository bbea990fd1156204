"""A campaign from query to receipt, between a real server and real nodes on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.fleet_support import (
    Plant,
    enrol_plant,
    finished,
    make_home,
    running,
    start_campaign,
)

from wg_server.home import ServerHome
from wg_server.store import Store


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerHome]:
    home = make_home(tmp_path / "server")
    with running(home):
        yield home


@pytest.fixture
def plant(server: ServerHome, tmp_path: Path) -> Plant:
    return enrol_plant(server, tmp_path / "plant-a", "plant-a")


def test_a_campaign_brings_statistics_in_and_a_package_out(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    other = enrol_plant(server, tmp_path / "plant-b", "plant-b")
    with plant.running(), other.running():
        done = finished(server, start_campaign(server, ["plant-a", "plant-b"]))
    assert done.state == "done"
    for each, task in zip((plant, other), done.tasks, strict=True):
        assert each.steps == ["charged", "recorded"]
        assert each.applied == [task.delivery_id]
        assert task.state == "delivered" and task.bytes_received > 0 and task.bytes_sent > 0
        with each.ledger() as ledger:
            assert ledger.spent("line-1").charges == 1
    with Store.open(server) as store:
        releases = store.memory(encoder=done.encoder, apart_from="nobody")
        assert [release.site for release in releases] == ["plant-a", "plant-b"]
