"""When what is due: by hand-made campaigns, without a clock."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from wg_server.campaigns import schedule
from wg_server.store.campaigns import Campaign, CampaignTask
from wg_server.store.stored_site import ONLINE_LIMIT_SECONDS

BLANK = CampaignTask(
    site="a",
    query_id="q",
    delivery_id="d",
    state="waiting",
    code="",
    release_id="",
    package_sha256="",
    opened=100.0,
    asked=0.0,
    answered=0.0,
    received=0.0,
    made=0.0,
    served=0,
    tries=0,
    figure=0.0,
    messages=0,
    bytes_received=0,
    bytes_sent=0,
    updated=100.0,
)


def task(site: str, **values: Any) -> CampaignTask:
    return dataclasses.replace(BLANK, site=site, **values)


def released(site: str, at: float, **values: Any) -> CampaignTask:
    return task(site, **{"state": "released", "answered": at, "received": at, **values})


def campaign(*tasks: CampaignTask, **values: Any) -> Campaign:
    found = Campaign(
        id="c",
        created=90.0,
        purpose="p",
        epsilon="1",
        delta="1e-5",
        encoder="e",
        collect_seconds=50.0,
        deliver_seconds=20.0,
        min_sites=2,
        grace_seconds=10.0,
        started=100.0,
        paused_at=0.0,
        state="running",
        reason="",
        finished=None,
        tasks=tasks,
    )
    return dataclasses.replace(found, **values)


def names(tasks: list[CampaignTask]) -> list[str]:
    return [each.site for each in tasks]


@pytest.mark.parametrize(
    ("found", "end"),
    [
        (task("a"), 150.0),  # never asked: from when asking was allowed
        (task("a", asked=140.0), 190.0),
        (task("a", state="packaged"), 120.0),
        (task("a", state="packaged", asked=115.0), 135.0),
        (task("a", state="released"), None),
        (task("a", state="delivered"), None),
    ],
)
def test_each_site_has_a_clock_of_its_own(found: CampaignTask, end: float | None) -> None:
    whole = campaign(found)
    assert schedule.step_deadline(whole, found) == end
    if end is not None:
        assert schedule.overdue_tasks(whole, end) == []
        assert schedule.overdue_tasks(whole, end + 0.1) == [found]


def test_first_packages_wait_for_enough_releases_and_then_for_the_grace() -> None:
    few = campaign(released("a", 101.0), task("b"), task("c"))
    assert schedule.first_package_time(few, 105.0) is None
    two = campaign(released("a", 105.0), released("b", 101.0), task("c"))
    assert schedule.first_package_time(two, 105.0) == 115.0
    assert schedule.tasks_to_package(two, 114.9) == []
    assert names(schedule.tasks_to_package(two, 115.0)) == ["a", "b"]
    served = campaign(released("a", 101.0, served=1), released("b", 105.0))
    assert names(schedule.tasks_to_package(served, 115.0)) == [
        "b",
        "a",
    ]  # the first package comes first


def test_at_epsilon_zero_nobody_waits_and_nothing_gets_better() -> None:
    first = released("a", 105.0, state="delivered", made=106.0)
    free = campaign(first, released("b", 110.0), task("c"), epsilon="0")
    assert names(schedule.tasks_to_package(free, 110.0)) == ["b"]
    assert schedule.better_package_time(free, first, 110.0) is None


@pytest.mark.parametrize("state", ["refused", "failed", "expired"])
def test_nobody_waits_for_a_site_that_is_out(state: Any) -> None:
    found = campaign(released("a", 101.0), task("b", state=state), min_sites=2)
    assert names(schedule.tasks_to_package(found, 101.0)) == ["a"]


def test_a_late_release_is_packaged_at_once() -> None:
    found = campaign(
        released("a", 101.0, state="delivered", made=111.0, served=1),
        released("b", 130.0),
        task("c"),
    )
    assert names(schedule.tasks_to_package(found, 130.0)) == ["b"]


def test_a_better_package_comes_once_all_are_in_and_then_once_a_day_at_most() -> None:
    first = released("a", 101.0, state="delivered", made=111.0, served=1)
    late = released("b", 130.0, state="delivered", made=131.0, served=1)
    later = released("c", 135.0)
    found = campaign(first, late, later, task("d", asked=101.0))
    assert schedule.better_package_time(found, first, 140.0) == 111.0 + schedule.DAY_SECONDS
    assert schedule.better_package_time(found, later, 140.0) is None
    assert schedule.tasks_due_for_better_package(found, "abcd", 140.0) == []
    assert names(
        schedule.tasks_due_for_better_package(found, "abcd", 111.0 + schedule.DAY_SECONDS)
    ) == ["a"]
    last = released("c", 135.0, state="delivered", made=135.0, served=1)
    over = campaign(first, late, last)  # nobody is waited for
    assert names(schedule.tasks_due_for_better_package(over, "abc", 135.0)) == ["a", "b"]
    assert schedule.tasks_due_for_better_package(over, "c", 135.0) == []  # of sites that are there
    assert not schedule.is_campaign_over(over, "abc", 135.0)
    # One more came after the better ones: who has had one today waits, and the campaign does not.
    again = dataclasses.replace(first, made=136.0, served=2)
    more = campaign(again, released("d", 140.0, state="delivered", made=140.0, served=1))
    assert schedule.better_package_time(more, again, 141.0) == 136.0 + schedule.DAY_SECONDS
    assert schedule.is_campaign_over(more, "ad", 141.0)


def test_a_release_that_the_server_had_before_makes_nothing_better() -> None:
    found = campaign(
        released("a", 101.0, state="delivered", made=111.0, served=1),
        released("b", 130.0, received=40.0, state="delivered", made=130.0, served=1),
    )
    assert schedule.tasks_due_for_better_package(found, "ab", 200.0) == []
    assert schedule.is_campaign_over(found, "ab", 200.0)


def test_a_campaign_is_over_when_no_part_is_open() -> None:
    assert schedule.is_campaign_over(campaign(task("a", state="refused")), "a", 200.0)
    for state in ("waiting", "released", "packaged"):
        assert not schedule.is_campaign_over(campaign(task("a", state=state)), "a", 200.0)


def test_nobody_waits_for_a_site_that_was_not_there_to_be_asked() -> None:
    there, away = released("a", 101.0), task("c")
    found = campaign(there, away, task("d", asked=101.0))
    late = 100.0 + ONLINE_LIMIT_SECONDS + 1
    assert schedule.is_site_absent(away, late) and not schedule.is_site_absent(away, 110.0)
    assert (
        schedule.first_package_time(found, late) is None
    )  # of two wanted, one that was asked can come
    alone = campaign(there, away)
    assert schedule.tasks_to_package(alone, 110.0) == []
    assert names(schedule.tasks_to_package(alone, late)) == ["a"]
    # Its answer is taken as long as its clock runs, and makes the first package better, once.
    done = dataclasses.replace(there, state="delivered", made=late, served=1)
    waiting = campaign(done, away)
    assert schedule.has_only_absent_sites(waiting, late) and not schedule.is_campaign_over(
        waiting, "ac", late
    )
    new = released("c", late + 9, state="delivered", made=late + 9, served=1)
    came = campaign(done, new, task("d"))
    assert names(schedule.tasks_due_for_better_package(came, "ac", late + 10)) == ["a"]


def test_a_site_that_was_asked_and_left_has_its_whole_time() -> None:
    asked = campaign(released("a", 101.0), task("b", asked=101.0))
    assert schedule.tasks_to_package(asked, 400.0) == []
    assert not schedule.has_only_absent_sites(asked, 400.0)
