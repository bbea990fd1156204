"""``kill -9`` of the installed commands, again and again, while a campaign runs.

The server and every plant's node are killed at random moments and started again at once. Each plant
must end with one release charged, one release in whatever left it, one package applied; whatever
the moments were.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.fleet_support import start_campaign
from tests.e2e.product import Command, Fleet, Packages, make_fleet, node, serving
from tests.patience import wait_until

from wg_audit import verification
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore


class Killer:
    """Kills one command so many times, each time after a random life, and starts it again."""

    def __init__(self, victim: Command, kills: int, life: float, seed: list[int]) -> None:
        self.victim = victim
        self.times: list[float] = []
        self._lives = np.random.default_rng(seed).uniform(0.0, life, kills)
        self._failure = ""
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for life in self._lives:
            if self.stop.wait(float(life)):
                return
            if not self.victim.running():
                self._failure = f"ended by itself:\n{self.victim.said()}"
                return
            self.victim.kill()
            self.times.append(time.time())
            self.victim.start()

    def end(self) -> None:
        """Start nothing more."""
        self.stop.set()
        self.thread.join()

    def check(self) -> None:
        self.thread.join()
        assert not self._failure, f"{self.victim.words}: {self._failure}"


def besieged(
    fleet: Fleet, *, kills: int, life: float, seed: int
) -> tuple[Campaign, list[list[float]]]:
    """Run one campaign while everything is killed; return it, and when each victim was killed.

    A process lives between 0 and ``life`` seconds. Starting takes three; a campaign alone, twenty,
    or ten if the plant's records are encoded already.
    """
    campaign = start_campaign(fleet.server, fleet.names())
    with ExitStack() as stack, ServerStore.open(fleet.server) as store:
        server = stack.enter_context(serving(fleet))
        victims = [server, *(stack.enter_context(node(fleet, site)) for site in fleet.sites)]
        killers = [Killer(victim, kills, life, [seed, n]) for n, victim in enumerate(victims)]
        for killer in killers:
            killer.thread.start()
            stack.callback(killer.end)
        for killer in killers:
            killer.check()
        queue = CampaignQueue(store.engine)
        wait_until(lambda: queue.find_campaign(campaign.id).finished is not None, "the campaign")
        wait_until(lambda: all(site.applied() for site in fleet.sites), "applying")
        # A process that is told to stop before it listens to signals is ended by them.
        signs = ["ready: ", *("online as " for _ in fleet.sites)]
        up = list(zip(victims, signs, strict=True))
        wait_until(lambda: all(sign in victim.said() for victim, sign in up), "starting again")
        # Nobody has anything left to do: another few questions for work change nothing.
        time.sleep(3)
        assert [victim.terminate() for victim in victims[1:]] == [0] * len(fleet.sites)
        assert server.terminate() == 0
        return queue.find_campaign(campaign.id), [killer.times for killer in killers]


def check_nothing_twice(fleet: Fleet, done: Campaign) -> None:
    assert done.state == "done", done
    for site, task in zip(fleet.sites, done.tasks, strict=True):
        spent = site.spent()
        assert (spent.charge_count, spent.open_charge_count) == (1, 0), site
        assert len(site.released()) == 1, site
        assert site.applied() == [task.delivery_id], site
        assert verification.audit_log(site.home.ledger).accounts[0].charges == 1
    with ServerStore.open(fleet.server) as store:
        kept = store.newest_usable_release_ids(encoder_sha256=done.encoder, excluded_site="nobody")
        assert kept == [t.release_id for t in done.tasks]
        assert store.list_fork_evidence() == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_campaign_over_three_plants_survives_ten_kills_of_each_process(
    tmp_path: Path, packages: Packages, seed: int
) -> None:
    fleet = make_fleet(tmp_path, packages, ["plant-a", "plant-b", "plant-c"])
    done, times = besieged(fleet, kills=10, life=10.0, seed=seed)
    assert [len(each) for each in times] == [10, 10, 10, 10]
    check_nothing_twice(fleet, done)
