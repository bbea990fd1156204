"""Schedule of a campaign as pure functions of the campaign, its sites and the time.

Each site has its own clock. It starts when the campaign starts, restarts when the site is first
asked, and again when its package is ready. No deadline therefore passes before a connected site was
asked, and an offline site delays no other site: a site that could not be asked within
``ONLINE_LIMIT_SECONDS`` (it is offline, or works by files) is not awaited, though its answer is
accepted until its deadline.

- In a campaign at epsilon 0, or for machine statistics, no site waits for another: nothing is
  pooled.
- The first packages are made when ``min_sites`` releases are in and ``grace_seconds`` have passed,
  or when no further answer is awaited.
- A site that releases later is served at once.
- If releases arrived after a site's package was made, a better one is made, provided that it is
  more informative (``package_comparison``): once as soon as no further answer is awaited, else a
  day after the previous package. No campaign stays open for that day.
"""

from bisect import bisect_right
from collections.abc import Collection
from datetime import timedelta
from operator import attrgetter, itemgetter

from wg_server.store.campaigns import OPEN_TASK_STATES, Campaign, CampaignTask
from wg_server.store.stored_site import ONLINE_LIMIT_SECONDS

DAY_SECONDS = timedelta(days=1).total_seconds()


def answer_deadline(campaign: Campaign, task: CampaignTask) -> float:
    """Return the deadline of a site's answer to the query, Unix seconds."""
    return (task.asked or task.opened) + campaign.collect_seconds


def step_deadline(campaign: Campaign, task: CampaignTask) -> float | None:
    """Return the deadline of a site's current step; None if the site is not asked anything."""
    if task.state == "waiting":
        return answer_deadline(campaign, task)
    if task.state == "packaged":
        return (task.asked or task.opened) + campaign.deliver_seconds
    return None


def overdue_tasks(campaign: Campaign, current_time: float) -> list[CampaignTask]:
    """Return the tasks whose deadline has passed."""
    ends = [(task, step_deadline(campaign, task)) for task in campaign.tasks]
    return [task for task, end in ends if end is not None and current_time > end]


def is_site_absent(task: CampaignTask, current_time: float) -> bool:
    """Return whether a site has not connected in time to be asked, so that nothing waits for it.

    No site of a queued campaign is absent, since none was to be asked yet.
    """
    is_asked_for = task.state == "waiting" and task.opened > 0 and not task.asked
    return is_asked_for and current_time - task.opened > ONLINE_LIMIT_SECONDS


def count_awaited_sites(campaign: Campaign, current_time: float) -> int:
    """Return the number of sites whose answer is awaited."""
    progress = campaign.progress
    are_absent = current_time - progress.last_unasked_opening_time > ONLINE_LIMIT_SECONDS
    return progress.task_counts_by_state["waiting"] - (progress.unasked_count if are_absent else 0)


def first_package_time(campaign: Campaign, current_time: float) -> float | None:
    """Return the earliest time of the first packages, Unix seconds; 0: now; None: unknown yet."""
    progress = campaign.progress
    if (
        not campaign.uses_pooled_releases
        or not count_awaited_sites(campaign, current_time)
        or progress.has_packaging_begun
    ):
        return 0.0
    return (
        None
        if progress.min_sites_time is None
        else progress.min_sites_time + campaign.grace_seconds
    )


def tasks_to_package(campaign: Campaign, current_time: float) -> list[CampaignTask]:
    """Return the tasks whose package is due, those without any package first."""
    begin = first_package_time(campaign, current_time)
    if begin is None or current_time < begin:
        return []
    release_tasks = (task for task in campaign.tasks if task.state == "released")
    return sorted(release_tasks, key=attrgetter("served"))


def better_package_time(
    campaign: Campaign, task: CampaignTask, current_time: float
) -> float | None:
    """Return from when a site gets a better package, Unix seconds; 0: now; None: not at all."""
    if task.state != "delivered":
        return None
    arrivals = campaign.release_arrivals
    later = bisect_right(arrivals, task.made, key=itemgetter(0))
    if all(site == task.site for _, site in arrivals[later : later + 2]):
        return None
    complete = not count_awaited_sites(campaign, current_time)
    return 0.0 if complete and task.served < 2 else task.made + DAY_SECONDS


def tasks_due_for_better_package(
    campaign: Campaign, site_names: Collection[str], current_time: float
) -> list[CampaignTask]:
    """Return the tasks of ``site_names`` for which a better package is due."""
    own_tasks = [task for task in campaign.tasks if task.site in site_names]
    begins = [(task, better_package_time(campaign, task, current_time)) for task in own_tasks]
    return [task for task, begin in begins if begin is not None and current_time >= begin]


def has_only_absent_sites(campaign: Campaign, current_time: float) -> bool:
    """Return whether every open task of a campaign belongs to an absent site."""
    open_tasks = [task for task in campaign.tasks if task.state in OPEN_TASK_STATES]
    return bool(open_tasks) and all(is_site_absent(task, current_time) for task in open_tasks)


def is_campaign_over(campaign: Campaign, site_names: Collection[str], current_time: float) -> bool:
    """Return whether no task is open, and no better package is due to one of ``site_names``."""
    open_tasks = any(task.state in OPEN_TASK_STATES for task in campaign.tasks)
    return not open_tasks and not tasks_due_for_better_package(campaign, site_names, current_time)
