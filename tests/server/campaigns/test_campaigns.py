"""Campaigns beside one another, from the queue to the last receipt; only Flower is made up."""

from __future__ import annotations

import time
from functools import partialmethod

import pytest
from tests.server.campaigns.nodes import Nodes, Stage, honest, make_stage, refusal, states, stored

from wg_core.errors import ConfigError, InternalError
from wg_core.wire.flower_messages import Envelope
from wg_server.campaigns import message_exchange, packaging_threads, schedule, worker
from wg_server.site.home import ServerHome
from wg_server.store import schema
from wg_server.store.campaigns import Campaign
from wg_server.store.queue import TaskTraffic
from wg_server.store.server_store import ServerStore

SERVED = ("delivered", "")


@pytest.fixture
def stage(home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return make_stage(home, store, monkeypatch, Nodes())


def served(*sites: str) -> object:
    return lambda found: all(found.find_task(site).state == "delivered" for site in sites)


def test_a_campaign_does_not_wait_for_another_ones_site(stage: Stage) -> None:
    stage.nodes.away = {"plant-c"}
    long = stage.start(min_sites=3)
    with stage.working():
        stage.wait(long, lambda found: found.find_task("plant-a").state == "released")
        short = stage.start(["plant-b"])
        assert stage.ended(short) == {"plant-b": SERVED}
        assert stage.queue.find_campaign(long.id).state == "running"


def test_a_site_that_was_queued_for_long_is_asked_before_its_time_runs(stage: Stage) -> None:
    campaign = stage.start(current_time=time.time() - 3600.0)
    with stage.working():
        assert set(stage.ended(campaign).values()) == {SERVED}


def test_a_sites_time_runs_from_when_it_was_first_asked(stage: Stage) -> None:
    stage.nodes.answers = {"plant-a": lambda asked: None}
    stage.nodes.away = {"plant-a"}
    campaign = stage.start(["plant-a"], collect_seconds=600.0)
    with stage.working():
        stage.wait(campaign, lambda found: found.find_task("plant-a").opened > 0)
        time.sleep(0.05)
        assert stage.queue.find_campaign(campaign.id).find_task("plant-a").asked == 0
        stage.nodes.away = set()
        task = stage.wait(campaign, lambda found: found.find_task("plant-a").asked > 0).tasks[0]
    assert task.asked > task.opened
    assert schedule.step_deadline(campaign, task) == task.asked + 600.0
    assert stage.nodes.queries[0].expires == int(task.asked + 600.0)


def test_one_site_that_is_away_holds_nobody_up_and_is_served_when_it_comes(stage: Stage) -> None:
    stage.nodes.away = {"plant-c"}
    campaign = stage.start()
    with stage.working():
        found = stage.wait(campaign, served("plant-a", "plant-b"))  # type: ignore[arg-type]
        assert states(found)["plant-c"] == ("waiting", "")
        stage.nodes.away = set()
        assert set(stage.ended(campaign).values()) == {SERVED}
    late = next(others for site, _, others in stage.packages if site == "plant-c")
    assert late == ("plant-a", "plant-b")


def test_sites_served_early_get_a_better_package_when_later_releases_came(stage: Stage) -> None:
    stage.nodes.away = {"plant-c"}
    campaign = stage.start()
    with stage.working():
        early = stage.wait(campaign, served("plant-a", "plant-b"))  # type: ignore[arg-type]
        stage.nodes.away = set()
        stage.ended(campaign)
    done = stage.queue.find_campaign(campaign.id)
    assert done.state == "done"
    assert [task.served for task in done.tasks] == [2, 2, 1]
    for site in ("plant-a", "plant-b"):
        made = [(delivery, others) for name, delivery, others in stage.packages if name == site]
        assert [("plant-c" in others) for _, others in made] == [False, True]
        assert made[0][0] == early.find_task(site).delivery_id
        assert made[1][0] == done.find_task(site).delivery_id != made[0][0]
    # Whoever was asked for statistics was asked once: a better package is no new question.
    assert sorted(site for site, kind in stage.nodes.asked if kind == "query") == [
        "plant-a",
        "plant-b",
        "plant-c",
    ]


def test_one_message_at_a_time_is_enough(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_exchange, "MAX_IN_FLIGHT_BYTES", 1)
    campaign = stage.start()
    with stage.working():
        assert set(stage.ended(campaign).values()) == {SERVED}


def test_a_fleet_is_asked_however_long_sending_takes_and_looks_are_apart(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_on, turn = (
        message_exchange.MessageExchange.send_remaining_requests,
        worker.CampaignWorker._run_turn,
    )
    monkeypatch.setattr(
        message_exchange.MessageExchange,
        "send_remaining_requests",
        partialmethod(send_on, time_limit_seconds=1e-9),
    )
    monkeypatch.setattr(worker.CampaignWorker, "_run_turn", partialmethod(turn, pause_factor=1e9))
    campaign = stage.start()
    with stage.working():
        stage.wait(campaign, lambda found: all(task.asked for task in found.tasks))


def test_who_would_be_told_nothing_else_gets_no_better_package(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaging_threads, "is_more_informative", lambda before, package: False)
    stage.nodes.away = {"plant-c"}
    campaign = stage.start()
    with stage.working():
        early = stage.wait(campaign, served("plant-a", "plant-b"))  # type: ignore[arg-type]
        stage.nodes.away = set()
        assert set(stage.ended(campaign).values()) == {SERVED}
    done = stage.queue.find_campaign(campaign.id)
    assert [task.served for task in done.tasks] == [1, 1, 1]
    kept = [(task.delivery_id, task.package_sha256) for task in early.tasks[:2]]
    assert [(task.delivery_id, task.package_sha256) for task in done.tasks[:2]] == kept
    assert len(list(stage.home.packages_folder.glob("*.wgw"))) == 3


def test_a_plant_may_decline_a_better_package_and_keeps_what_it_has(stage: Stage) -> None:
    deliveries: list[Envelope] = []

    def once(asked: Envelope) -> Envelope:
        deliveries.append(asked)
        return refusal("policy") if [each.kind for each in deliveries][1:-1] else honest(asked)

    stage.nodes.answers = {"plant-a": once}
    stage.nodes.away = {"plant-c"}
    campaign = stage.start()
    with stage.working():
        stage.wait(campaign, served("plant-a", "plant-b"))  # type: ignore[arg-type]
        stage.nodes.away = set()
        found = stage.ended(campaign)
    assert found == {"plant-a": ("delivered", "policy"), "plant-b": SERVED, "plant-c": SERVED}
    assert stage.queue.find_campaign(campaign.id).state == "done"
    assert [each.kind for each in deliveries] == ["query", "delivery", "delivery"]


def test_an_equal_campaign_makes_nothing_better(stage: Stage) -> None:
    with stage.working():
        stage.ended(stage.start())
        again = stage.start(min_sites=1)  # whoever answers first has others' releases of before
        assert set(stage.ended(again).values()) == {SERVED}
    assert [task.served for task in stage.queue.find_campaign(again.id).tasks] == [1, 1, 1]


def test_packages_wait_for_so_many_releases_and_for_the_grace(stage: Stage) -> None:
    stage.nodes.away = {"plant-b", "plant-c"}
    campaign = stage.start(grace_seconds=3600.0)
    with stage.working():
        stage.wait(campaign, lambda found: found.find_task("plant-a").state == "released")
        stage.nodes.away = {"plant-c"}
        stage.wait(campaign, lambda found: found.find_task("plant-b").state == "released")
        time.sleep(0.05)
        assert stage.packages == []
        stage.nodes.away = set()  # nobody is waited for any more
        assert set(stage.ended(campaign).values()) == {SERVED}
    assert len(stage.packages) == 3


def test_what_is_left_out_has_a_reason(stage: Stage, store: ServerStore) -> None:
    current_time = time.time()
    with store.engine.begin() as connection:
        connection.execute(
            schema.certificate_table.insert().values(
                fingerprint="f", site="plant-b", expires=current_time - 2 * 86400
            )
        )
        connection.execute(schema.site_table.update().values(last_seen=current_time - 7200.0))
        connection.execute(
            schema.connection_trouble_table.insert().values(
                site="plant-c", code="clock", figure=600.0, seen=current_time
            )
        )
    stage.nodes.away = {"plant-a", "plant-b", "plant-c"}
    with stage.working():
        found = stage.ended(stage.start(collect_seconds=0.02))
    assert found == {
        "plant-a": ("expired", "not-connected"),
        "plant-b": ("expired", "certificate-expired"),
        "plant-c": ("expired", "clock"),
    }


def test_nobody_is_asked_while_a_campaign_is_paused_and_no_time_runs(stage: Stage) -> None:
    stage.nodes.answers = {"plant-a": lambda asked: None}
    campaign = stage.start(["plant-a"])
    begun = stage.queue.start_queued_campaigns(current_time=1000.0)
    assert begun == [campaign.id]
    stage.queue.update_task(campaign.id, "plant-a", traffic=TaskTraffic(messages=1), asked=1010.0)
    assert stage.queue.pause_campaign(campaign.id, current_time=1020.0).state == "paused"
    stage.queue.pause_campaign(campaign.id, current_time=1025.0)  # twice is once
    with stage.working():
        time.sleep(0.05)
        assert stage.nodes.asked == []
        assert stage.queue.find_campaign(campaign.id).state == "paused"
    (task,) = stage.queue.resume_campaign(campaign.id, current_time=5020.0).tasks
    assert (task.opened, task.asked) == (5000.0, 5010.0)
    with pytest.raises(ConfigError, match="expected paused"):
        stage.queue.resume_campaign(campaign.id)


def test_a_campaign_that_was_paused_goes_on(stage: Stage) -> None:
    campaign = stage.start()
    stage.queue.pause_campaign(campaign.id)
    with stage.working():
        assert stage.queue.resume_campaign(campaign.id).state == "queued"
        assert set(stage.ended(campaign).values()) == {SERVED}


def test_one_site_is_tried_again_after_the_end_and_others_profit(stage: Stage) -> None:
    stage.nodes.answers = {"plant-b": lambda asked: refusal("budget")}
    with stage.working():
        campaign = stage.start()
        assert stage.ended(campaign)["plant-b"] == ("refused", "budget")
        assert stage.queue.find_campaign(campaign.id).state == "partial"
        before = stage.queue.find_campaign(campaign.id).find_task("plant-b").query_id
        stage.nodes.answers = {}
        assert stage.queue.retry_task(campaign.id, "plant-b").finished is None
        assert set(stage.ended(campaign).values()) == {SERVED}
    done = stage.queue.find_campaign(campaign.id)
    assert done.state == "done" and done.find_task("plant-b").query_id != before
    assert [task.served for task in done.tasks] == [2, 1, 2]


def test_a_release_that_is_there_is_used_when_its_site_is_tried_again(stage: Stage) -> None:
    stage.nodes.answers = {
        "plant-a": lambda asked: honest(asked) if asked.kind == "query" else refusal("policy")
    }
    with stage.working():
        campaign = stage.start(["plant-a"])
        assert stage.ended(campaign) == {"plant-a": ("refused", "policy")}
        stage.nodes.answers = {}
        stage.queue.retry_task(campaign.id, "plant-a")
        assert stage.ended(campaign) == {"plant-a": SERVED}
    assert [kind for _, kind in stage.nodes.asked].count("query") == 1


def test_a_site_whose_time_was_over_is_tried_again_under_the_same_id(stage: Stage) -> None:
    campaign = stage.start(["plant-a", "plant-b"])
    stage.queue.start_queued_campaigns()
    ids = {task.site: task.query_id for task in campaign.tasks}
    stage.queue.update_task(campaign.id, "plant-a", state="expired", code="approval")
    stage.queue.update_task(campaign.id, "plant-b", state="refused", code="policy")
    for site, same in (("plant-a", True), ("plant-b", False)):
        task = stage.queue.retry_task(campaign.id, site).find_task(site)
        assert (task.query_id == ids[site]) is same
        assert (task.state, task.code, task.tries) == ("waiting", "", 0)


def test_only_what_ended_without_a_package_is_tried_again(stage: Stage, store: ServerStore) -> None:
    with stage.working():
        campaign = stage.start(["plant-a"])
        stage.ended(campaign)
    with pytest.raises(ConfigError, match="delivered, expected one of refused"):
        stage.queue.retry_task(campaign.id, "plant-a")
    with pytest.raises(ConfigError, match="has no site plant-b"):
        stage.queue.retry_task(campaign.id, "plant-b")
    other = stage.start(["plant-b"])
    stage.queue.update_task(other.id, "plant-b", state="refused", code="policy")
    store.revoke_site("plant-b", time.time())
    with pytest.raises(ConfigError, match="revoked, expected enrolled"):
        stage.queue.retry_task(other.id, "plant-b")
    stage.queue.cancel_campaign(other.id)
    with pytest.raises(ConfigError, match="cancelled; start another"):
        stage.queue.retry_task(other.id, "plant-b")


def test_a_worker_that_ends_and_starts_again_and_again_makes_each_package_once(
    stage: Stage,
) -> None:
    """A life ends as soon as anything has moved on; what was on its way is lost with it."""

    def moved(found: Campaign) -> list[object]:
        return [found.finished, *((task.state, task.served) for task in found.tasks)]

    stage.nodes.away = {"plant-c"}
    campaign = found = stage.start()
    lives = 0
    while found.finished is None:
        if found.find_task("plant-a").served and found.find_task("plant-b").served:
            stage.nodes.away = set()
        before = moved(found)
        with stage.working():
            stage.wait(campaign, lambda current_time, before=before: moved(current_time) != before)  # type: ignore[misc]
        found = stage.queue.find_campaign(campaign.id)
        lives += 1
    assert lives > 3
    assert found.state == "done"
    deliveries = [delivery for _, delivery, _ in stage.packages]
    assert len(deliveries) == len(set(deliveries)) == 5
    assert [task.served for task in found.tasks] == [2, 2, 1]


def test_a_bug_in_one_campaign_ends_that_one_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, good = stage.start(min_sites=1), stage.start()
    real = schedule.overdue_tasks

    def overdue(campaign: Campaign, current_time: float) -> object:
        if campaign.id == broken.id:
            raise RuntimeError
        return real(campaign, current_time)

    monkeypatch.setattr(schedule, "overdue_tasks", overdue)
    with stage.working():
        assert set(stage.ended(good).values()) == {SERVED}
        assert {state for state, _ in stage.ended(broken).values()} == {"failed"}
    assert "internal error" in stage.queue.find_campaign(broken.id).reason


def test_a_run_is_open_only_while_somebody_is_asked(stage: Stage) -> None:
    stage.nodes.away = {"plant-a", "plant-b", "plant-c"}
    campaign = stage.start()
    with stage.working():
        stage.wait(campaign, lambda found: found.started > 0)
        assert stage.nodes.runs == 0
        stage.nodes.away = set()
        stage.ended(campaign)
    assert stage.nodes.runs == 0


def test_a_run_that_does_not_open_is_no_sites_fault(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FAILURE_PAUSE_SECONDS", 0.01)
    broken = [InternalError("Flower did not start a run")] * 3
    opening = stage.nodes.open_run

    def run() -> object:
        if broken:
            raise broken.pop()
        return opening()

    monkeypatch.setattr(stage.nodes, "open_run", run)
    with stage.working():
        assert set(stage.ended(stage.start()).values()) == {SERVED}
    assert not broken


def test_campaigns_take_turns_at_packages(stage: Stage) -> None:
    order: list[str] = []
    stage.before_package = order.append
    first = stage.start(["plant-a", "plant-b"])
    second = stage.start(["plant-c"])
    for campaign, sites in ((first, ("plant-a", "plant-b")), (second, ("plant-c",))):
        stage.queue.start_queued_campaigns()
        for site in sites:
            release = stored(site)
            stage.queue.update_task(
                campaign.id,
                site,
                release=release,
                release_id=release.release_id,
                state="released",
                answered=time.time(),
            )
    with stage.working():
        stage.ended(first)
        stage.ended(second)
    assert order == ["plant-a", "plant-c", "plant-b"]
