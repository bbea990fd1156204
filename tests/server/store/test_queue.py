from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from tests.server.rows import add_sites, release_of

from wg_core.errors import ConfigError
from wg_server.store import schema
from wg_server.store.campaigns import Campaign, TaskState
from wg_server.store.queue import CampaignQueue, NewCampaign, TaskTraffic
from wg_server.store.server_store import ServerStore


@pytest.fixture
def store(any_store: ServerStore) -> ServerStore:
    return any_store


@pytest.fixture
def queue(store: ServerStore) -> CampaignQueue:
    add_sites(store, "ab")
    add_sites(store, "c", state="revoked")
    return CampaignQueue(store.engine)


def add(queue: CampaignQueue, *sites: str, current_time: float | None = None) -> Campaign:
    return queue.add_campaign(
        NewCampaign(
            sites=sites or ("a", "b"),
            epsilon="1",
            delta="1e-5",
            purpose="test",
            encoder="e",
            collect_seconds=60.0,
            deliver_seconds=60.0,
        ),
        current_time=current_time,
    )


def test_request_ids_are_made_once_and_are_all_different(queue: CampaignQueue) -> None:
    first, second = add(queue), add(queue)
    ids = [each for c in (first, second) for t in c.tasks for each in (t.query_id, t.delivery_id)]
    assert len(set(ids)) == 8
    assert queue.find_campaign(first.id) == first


@pytest.mark.parametrize("sites", [("a", "a"), ("a", "c"), ("a", "nobody")])
def test_a_campaign_needs_enrolled_sites_each_once(
    queue: CampaignQueue, sites: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError):
        add(queue, *sites)
    assert queue.newest_campaigns() == []


def test_a_final_task_does_not_change_again(queue: CampaignQueue) -> None:
    campaign = add(queue, "a")
    queue.update_task(campaign.id, "a", state="refused", code="budget")
    queue.update_task(campaign.id, "a", state="delivered", code="")
    assert queue.find_campaign(campaign.id).tasks[0].state == "refused"


def test_a_release_and_its_task_are_stored_together_or_not_at_all(
    queue: CampaignQueue, store: ServerStore
) -> None:
    campaign = add(queue, "a")
    release = release_of("nobody", "r")  # breaks a foreign key
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        queue.update_task(campaign.id, "a", release=release, state="released", release_id="r")
    assert queue.find_campaign(campaign.id).tasks[0].state == "waiting"
    assert store.find_release("r") is None


@pytest.mark.parametrize(
    ("states", "ended"),
    [
        (("delivered", "delivered"), "done"),
        (("delivered", "refused"), "partial"),
        (("delivered", "waiting"), "partial"),
    ],
)
def test_a_campaign_is_done_if_every_site_was_served(
    queue: CampaignQueue, states: tuple[TaskState, TaskState], ended: str
) -> None:
    campaign = add(queue)
    queue.start_queued_campaigns()
    for site, state in zip("ab", states, strict=True):
        [counted] = queue.newest_campaigns(with_tasks=False)
        assert (counted.tasks, counted.progress) == ((), queue.find_campaign(campaign.id).progress)
        queue.update_task(campaign.id, site, state=state, made=5.0, answered=7.0)
    assert (
        queue.newest_campaigns(with_tasks=False)[0].progress
        == queue.find_campaign(campaign.id).progress
    )
    found = queue.finish_campaign(campaign.id)
    assert found.state == ended and found.finished is not None
    assert all(task.state != "waiting" for task in found.tasks)
    assert queue.start_queued_campaigns() == []


def test_cancelling_ends_what_waits_at_once_and_what_runs_soon(queue: CampaignQueue) -> None:
    waiting, running = add(queue), add(queue)
    assert queue.cancel_campaign(waiting.id).state == "cancelled"
    assert queue.start_queued_campaigns() == [running.id]
    assert queue.cancel_campaign(running.id).state == "cancelling"
    found = queue.finish_campaign(running.id)
    assert found.state == "cancelled"
    assert {task.state for task in found.tasks} == {"cancelled"}
    with pytest.raises(ConfigError, match="already"):
        queue.cancel_campaign(running.id)


def test_an_unknown_campaign_says_so(queue: CampaignQueue) -> None:
    with pytest.raises(ConfigError, match="unknown"):
        queue.find_campaign("0" * 32)


def test_all_campaigns_are_worked_on_beside_one_another(queue: CampaignQueue) -> None:
    older, newer = add(queue, current_time=1.0), add(queue, current_time=2.0)
    assert queue.start_queued_campaigns(current_time=3.0) == [older.id, newer.id]
    assert queue.start_queued_campaigns(current_time=4.0) == [
        older.id,
        newer.id,
    ]  # also after a restart
    for each in (older, newer):
        found = queue.find_campaign(each.id)
        assert (found.state, found.started) == ("running", 3.0)
        assert {task.opened for task in found.tasks} == {3.0}
    queue.finish_campaign(older.id)
    assert queue.start_queued_campaigns() == [newer.id]


def test_a_campaign_that_is_held_keeps_no_other_waiting(
    queue: CampaignQueue, store: ServerStore
) -> None:
    if store.engine.dialect.name == "sqlite":
        pytest.skip("on SQLite all writers wait for one another")
    first, second = add(queue, current_time=1.0), add(queue, current_time=2.0)
    with store.engine.begin() as connection:
        connection.execute(
            sa.select(schema.campaign_table)
            .where(schema.campaign_table.c.id == first.id)
            .with_for_update()
        )
        assert queue.start_queued_campaigns() == [second.id]
    assert queue.start_queued_campaigns() == [first.id, second.id]


def test_cancelling_never_reopens_a_campaign_that_ends_meanwhile(
    queue: CampaignQueue, store: ServerStore
) -> None:
    for _ in range(10):
        campaign = add(queue, "a")
        queue.start_queued_campaigns()
        errors: list[Exception] = []

        def cancel(campaign: Campaign = campaign, errors: list[Exception] = errors) -> None:
            try:
                queue.cancel_campaign(campaign.id)
            except ConfigError as error:
                errors.append(error)

        threads = [
            threading.Thread(target=cancel),
            threading.Thread(target=queue.finish_campaign, args=(campaign.id,)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = queue.find_campaign(campaign.id)
        assert found.finished is not None
        assert found.state == ("partial" if errors else "cancelled")


def test_totals_are_counted_over_all_campaigns(queue: CampaignQueue) -> None:
    first = add(queue)
    queue.start_queued_campaigns()
    add(queue)
    queue.update_task(
        first.id,
        "a",
        traffic=TaskTraffic(messages=2, bytes_sent=5, bytes_received=7),
        state="refused",
    )
    queue.update_task(first.id, "b", traffic=TaskTraffic(messages=1, bytes_sent=1))
    found = queue.count_totals()
    assert found.campaign_counts_by_state == {"running": 1, "queued": 1}
    assert found.task_counts_by_state == {"refused": 1, "waiting": 3}
    assert (found.bytes_received, found.bytes_sent) == (7, 6)


def test_a_late_answer_changes_nothing_where_another_process_was_first(
    queue: CampaignQueue,
) -> None:
    campaign = add(queue, "a")
    queue.start_queued_campaigns()
    queue.update_task(campaign.id, "a", required_state="waiting", state="released", release_id="r")
    queue.update_task(campaign.id, "a", required_state="released", state="packaged")
    queue.update_task(
        campaign.id, "a", required_state="waiting", state="released", release_id="another"
    )
    task = queue.find_campaign(campaign.id).find_task("a")
    assert (task.state, task.release_id) == ("packaged", "r")
