"""A plant that applies a package goes on asking and answering: how long it takes is not seen."""

from __future__ import annotations

import threading

from tests.e2e.fleet_support import (
    Plant,
    finished,
    start_campaign,
)
from tests.patience import PATIENCE_SECONDS, wait_until

from wg_server.site.home import ServerHome


def test_a_plant_answers_while_a_package_is_applied(server: ServerHome, plant: Plant) -> None:
    applying, finish = threading.Event(), threading.Event()

    def apply() -> None:
        applying.set()
        assert finish.wait(PATIENCE_SECONDS)

    plant.before_apply = apply
    with plant.running():
        first = start_campaign(server, [plant.site])
        wait_until(applying.is_set, "the package")
        second = start_campaign(server, [plant.site], epsilon="0.5")
        try:
            wait_until(lambda: len(plant.asked) == 2, "the second answer")
        finally:
            finish.set()
        assert finished(server, first).state == finished(server, second).state == "done"
