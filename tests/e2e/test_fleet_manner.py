"""What a server can tell from how a plant answers: when, in which words, and what goes on."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from click.testing import CliRunner
from tests.e2e.fleet_support import Plant, finished, start_campaign
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_client.cli.main import group
from wg_core.errors import DataError
from wg_core.fleet import flower
from wg_core.privacy import time_slots
from wg_server.site.home import ServerHome


def held(plant: Plant) -> tuple[threading.Event, threading.Event]:
    """Applying a package tells when it has begun, and waits until it may go on."""
    begun, go_on = threading.Event(), threading.Event()

    def apply_slowly() -> None:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)

    plant.before_apply = apply_slowly
    return begun, go_on


def test_polling_and_answering_go_on_while_a_package_is_applied(
    server: ServerHome, plant: Plant
) -> None:
    begun, go_on = held(plant)
    with plant.running():
        assert finished(server, start_campaign(server, ["plant-a"])).state == "done"
        assert begun.wait(PATIENCE_SECONDS)
        # The first package is being applied; a whole campaign passes meanwhile.
        shown = CliRunner().invoke(group, ["models", "show", "--home", str(plant.home.root)])
        assert "is being applied" in shown.output
        second = finished(server, start_campaign(server, ["plant-a"], epsilon="0.5"))
        assert second.tasks[0].state == "delivered" and plant.applied == []
        go_on.set()
        wait_until(lambda: len(plant.applied) == 2, "applying")


def test_a_node_that_is_stopped_finishes_the_package_that_it_applies(
    server: ServerHome, plant: Plant
) -> None:
    begun, go_on = held(plant)
    with plant.running():
        finished(server, start_campaign(server, ["plant-a"]))
        assert begun.wait(PATIENCE_SECONDS)
        threading.Timer(0.2, go_on.set).start()  # leaving the block stops the node
    assert len(plant.applied) == 1
    assert not list((plant.home.packages / "waiting").glob("*.wgw"))


def test_no_reply_says_how_long_it_took(
    server: ServerHome, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[float] = []
    push = flower.FleetClient.PushMessages

    def watch(client: Any, request: Any, *words: Any) -> Any:
        sent.extend(request.clientapp_runtime_list)
        return push(client, request, *words)

    monkeypatch.setattr(flower.FleetClient, "PushMessages", watch)
    with plant.running():
        assert finished(server, start_campaign(server, ["plant-a"])).state == "done"
    assert len(sent) >= 2 and set(sent) == {0.0}


def test_an_answer_takes_one_slot_and_so_does_a_refusal(
    server: ServerHome, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    hold = time_slots.wait_for_slot_end

    def count(*words: Any, **more: Any) -> int:
        waited.append(hold(*words, **more))
        return waited[-1]

    def fail() -> None:
        plant.before_answer = lambda: None
        raise DataError("/plant/broken.png")

    monkeypatch.setattr(time_slots, "wait_for_slot_end", count)
    plant.before_answer = fail
    with plant.running():
        done = finished(server, start_campaign(server, ["plant-a"]))
    assert done.state == "done"
    assert len(waited) == 2  # one refusal, one answer: each waited once
