"""A plant whose clock is ten minutes wrong says so, and works on when the clock is set right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.e2e.fleet_support import finished, start_campaign
from tests.e2e.product import Packages, make_fleet, node, seams, serving
from tests.patience import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("ahead", "words"), [(600, "ahead of"), (-600, "behind")])
def test_a_plant_with_a_wrong_clock_names_it_and_recovers(
    tmp_path: Path, packages: Packages, ahead: int, words: str
) -> None:
    fleet = make_fleet(tmp_path, packages, ["plant-a"])
    (site,) = fleet.sites
    clock = tmp_path / "clock"
    clock.write_text(str(ahead))
    with serving(fleet), node(fleet, site, "--once", environment=seams(clock_file=clock)) as plant:
        campaign = start_campaign(fleet.server, ["plant-a"])
        text = re.compile(rf"this machine's clock is (\d+) s {words} the server's")
        wait_until(lambda: text.search(plant.said()) is not None, "the message")
        found = text.search(plant.said())
        assert found is not None and abs(int(found[1]) - abs(ahead)) < 30
        assert site.charged() == 0
        clock.write_text("0")
        assert finished(fleet.server, campaign).state == "done"
        assert plant.wait() == 0
    assert (site.charged(), len(site.applied())) == (1, 1)
