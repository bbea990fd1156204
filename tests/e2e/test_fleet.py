"""Campaigns from query to receipt, between a real server and real nodes on loopback."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tests.e2e.fleet_support import (
    Died,
    Plant,
    enrol_plant,
    expire,
    finished,
    start_campaign,
)
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_core.errors import (
    ConfigError,
    DataError,
    NoMachineStatistics,
    NotAcceptedError,
    PeerError,
    PolicyRefused,
    WgError,
)
from wg_core.fleet.inbox import Inbox
from wg_core.fleet.node import run_node
from wg_core.fleet.node_interface import NodeHandlers
from wg_core.privacy.schema import MACHINE_STATISTICS
from wg_core.site import server_contact
from wg_server.operation.serve import serve_home
from wg_server.site.home import ServerHome
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore


def test_a_campaign_brings_statistics_in_and_packages_out(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    other = enrol_plant(server, tmp_path / "plant-b", "plant-b")
    with plant.running(), other.running():
        done = finished(server, start_campaign(server, ["plant-a", "plant-b"]))
        wait_until(lambda: bool(plant.applied and other.applied), "applying")
    assert done.state == "done"
    for each, task in zip((plant, other), done.tasks, strict=True):
        assert each.steps == ["charged", "recorded"]
        assert each.applied == [task.delivery_id]
        assert task.state == "delivered" and task.bytes_received > 0 and task.bytes_sent > 0
        with each.ledger() as ledger:
            assert ledger.read_spending("line-1").charge_count == 1
    with ServerStore.open(server) as store:
        releases = store.newest_usable_release_ids(
            encoder_sha256=done.encoder, excluded_site="nobody"
        )
        assert [store.require_release(each).site for each in releases] == ["plant-a", "plant-b"]


def test_a_campaign_for_machine_statistics_serves_a_plant_and_waits_for_no_other(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    other = enrol_plant(server, tmp_path / "plant-b", "plant-b")

    def states_none() -> None:
        raise NoMachineStatistics("no sheet")

    other.before_answer = states_none
    with plant.running(), other.running():
        begun = start_campaign(server, ["plant-a", "plant-b"], statistics=MACHINE_STATISTICS)
        done = finished(server, begun)  # long before the ten minutes of grace
        wait_until(lambda: bool(plant.applied), "applying")
    assert done.state == "partial"
    served, left = done.tasks
    assert (served.state, left.state, left.code) == ("delivered", "refused", "machine")
    with ServerStore.open(server) as store:
        release = store.require_release(served.release_id)
        assert release.statistics == MACHINE_STATISTICS and release.is_usable
        assert (
            store.newest_usable_release_ids(encoder_sha256=done.encoder, excluded_site="nobody")
            == []
        )


@pytest.mark.slow
def test_a_late_plant_holds_nobody_up_is_served_and_makes_the_others_packages_better(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    other, late = (enrol_plant(server, tmp_path / name, name) for name in ("plant-b", "plant-c"))
    with plant.running(), other.running():
        sites = ["plant-a", "plant-b", "plant-c"]
        campaign = start_campaign(server, sites, grace_seconds=0.0)
        wait_until(lambda: bool(plant.applied and other.applied), "the first packages")
        beside = finished(server, start_campaign(server, ["plant-a"], epsilon="0.5"))
        assert beside.state == "done"
        with late.running():
            done = finished(server, campaign)
            wait_until(lambda: len(other.applied) == 2 and bool(late.applied), "better packages")
    assert done.state == "done"
    assert [task.served for task in done.tasks] == [2, 2, 1]
    assert other.applied[-1] == done.find_task("plant-b").delivery_id
    for each, charges in ((plant, 2), (other, 1), (late, 1)):
        with each.ledger() as ledger:
            assert ledger.read_spending("line-1").charge_count == charges


def test_once_ends_after_one_package(server: ServerHome, plant: Plant) -> None:
    with plant.running(once=True) as node:
        finished(server, start_campaign(server, ["plant-a"]))
        node.join(PATIENCE_SECONDS)
        assert not node.is_alive()
    assert len(plant.applied) == 1


def test_once_has_left_the_server_before_the_package_is_applied(
    server: ServerHome, plant: Plant
) -> None:
    """When a plant leaves would say how long its records took."""

    def has_left() -> bool:
        word = server_contact.read(plant.home)
        return word is not None and word.state == "stopped"

    plant.before_apply = lambda: wait_until(has_left, "leaving the server")
    with plant.running(once=True) as node:
        finished(server, start_campaign(server, ["plant-a"]))
        node.join(PATIENCE_SECONDS)
        assert not node.is_alive() and len(plant.applied) == 1


def test_once_reports_why_a_package_was_not_applied(server: ServerHome, plant: Plant) -> None:
    def refuse() -> None:
        raise NotAcceptedError("worse than what is there")

    plant.before_apply = refuse
    failures: list[WgError] = []

    def run() -> None:
        try:
            run_node(
                plant.home,
                NodeHandlers(answer_query=plant.answer, apply_package=plant.apply),
                stops_after_package=True,
            )
        except WgError as error:
            failures.append(error)

    node = threading.Thread(target=run)
    node.start()
    done = finished(server, start_campaign(server, ["plant-a"]))
    node.join(PATIENCE_SECONDS)
    assert [type(each) for each in failures] == [NotAcceptedError]
    assert done.state == "done"  # whether a package was any good is not the server's to know
    assert not Inbox(plant.home).waiting_packages()
    assert [path.stem for path in (plant.home.packages / "rejected").iterdir()] == [
        done.tasks[0].delivery_id
    ]


def test_a_second_campaign_gets_the_stored_release_and_charges_nothing(
    server: ServerHome, plant: Plant
) -> None:
    with plant.running():
        first = finished(server, start_campaign(server, ["plant-a"]))
        second = finished(server, start_campaign(server, ["plant-a"]))
    assert (first.state, second.state) == ("done", "done")
    assert first.tasks[0].release_id == second.tasks[0].release_id
    assert first.tasks[0].query_id != second.tasks[0].query_id
    with plant.ledger() as ledger:
        assert ledger.read_spending("line-1").charge_count == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PolicyRefused("/plant/secret/path: not for this"), "policy"),
        (DataError("/plant/secret/path: torn image"), "unavailable"),
        (ValueError("/plant/secret/path"), "unavailable"),
        (PeerError("the witness is away"), "peer"),
    ],
)
def test_no_text_of_an_error_leaves_the_plant(
    server: ServerHome, plant: Plant, error: Exception, code: str
) -> None:
    def fail() -> None:
        plant.before_answer = lambda: None
        raise error

    plant.before_answer = fail
    with plant.running():
        done = finished(server, start_campaign(server, ["plant-a"]))
    (task,) = done.tasks
    if code == "policy":
        assert (done.state, task.state, task.code) == ("partial", "refused", "policy")
    else:  # another try may cure it, and did
        assert (done.state, task.messages) == ("done", 3)


def test_a_site_that_is_away_expires_and_the_campaign_ends(
    server: ServerHome, plant: Plant, tmp_path: Path
) -> None:
    enrol_plant(server, tmp_path / "plant-b", "plant-b")
    with plant.running():
        campaign = start_campaign(server, ["plant-a", "plant-b"])
        with ServerStore.open(server) as store:
            queue = CampaignQueue(store.engine)
            wait_until(
                lambda: bool(queue.find_campaign(campaign.id).tasks[0].release_id), "a release"
            )
        expire(server, campaign)
        done = finished(server, campaign)
    assert done.state == "partial"
    assert [task.state for task in done.tasks] == ["delivered", "expired"]


def test_a_cancelled_campaign_ends_and_asks_nobody_more(server: ServerHome, plant: Plant) -> None:
    campaign = start_campaign(server, ["plant-a"])
    with ServerStore.open(server) as store:
        queue = CampaignQueue(store.engine)
        wait_until(lambda: queue.find_campaign(campaign.id).state == "running", "the start")
        queue.cancel_campaign(campaign.id)
    assert finished(server, campaign).state == "cancelled"
    with plant.running():
        time.sleep(0.5)
    assert plant.steps == []


def test_a_package_that_arrived_is_applied_at_the_next_start(
    server: ServerHome, plant: Plant
) -> None:
    def die() -> None:
        plant.before_apply = lambda: None
        raise Died

    plant.before_apply = die
    with plant.running() as node:
        done = finished(server, start_campaign(server, ["plant-a"]))
        node.join(PATIENCE_SECONDS)
    assert plant.applied == []
    with plant.running(once=True) as node:
        node.join(PATIENCE_SECONDS)
    assert plant.applied == [done.tasks[0].delivery_id]


def test_one_process_serves_a_home(server: ServerHome) -> None:
    with pytest.raises(ConfigError, match="another process serves"):
        serve_home(server, stop_event=threading.Event())
