"""When what is due in a campaign: pure functions of the campaign, its sites and the time.

Each site has a clock of its own. It starts when asking is first allowed, starts anew when the site
is first asked, and again when its package is there. So nobody's time runs out before the site was
asked while it was there, and a site that is away holds up nobody else:

- In a campaign at epsilon 0, or for machine statistics, nobody waits for anybody: nothing is
  pooled in it.
- The first packages are made when ``min_sites`` releases are in and ``grace_seconds`` are over, or
  when no other site is waited for.
- A site that releases later is served at once.
- Where releases came that a site's package was made without, a better one is made, if it says more
  (``improvement``): once when no other site is waited for any more, and else a day after the last.
  No campaign stays open for that day.
"""

from bisect import bisect_right
from collections.abc import Collection
from operator import attrgetter, itemgetter

from wg_server.store.campaigns import OPEN_TASKS, Campaign, Task

DAY_SECONDS = 86400.0


def answer_by(campaign: Campaign, task: Task) -> float:
    """When a site's time to answer the question is over, Unix seconds."""
    return (task.asked or task.opened) + campaign.collect_seconds


def deadline(campaign: Campaign, task: Task) -> float | None:
    """When a site's time for what it is asked is over; None if nothing is asked of it."""
    if task.state == "waiting":
        return answer_by(campaign, task)
    if task.state == "packaged":
        return (task.asked or task.opened) + campaign.deliver_seconds
    return None


def overdue(campaign: Campaign, current_time: float) -> list[Task]:
    """Parts whose time is over."""
    ends = [(task, deadline(campaign, task)) for task in campaign.tasks]
    return [task for task, end in ends if end is not None and current_time > end]


def packages_from(campaign: Campaign) -> float | None:
    """When the first packages may be made, Unix seconds; zero: now; None: not known yet."""
    progress = campaign.progress
    if not campaign.is_pooled or not progress.states["waiting"] or progress.began:
        return 0.0
    return None if progress.enough is None else progress.enough + campaign.grace_seconds


def to_package(campaign: Campaign, current_time: float) -> list[Task]:
    """Parts whose package is to be made; those that have none come first."""
    begin = packages_from(campaign)
    if begin is None or current_time < begin:
        return []
    release_tasks = (task for task in campaign.tasks if task.state == "released")
    return sorted(release_tasks, key=attrgetter("served"))


def better_from(campaign: Campaign, task: Task) -> float | None:
    """When a better package may be made for a site that has one; None: no release came since."""
    if task.state != "delivered":
        return None
    arrivals = campaign.arrivals
    later = bisect_right(arrivals, task.made, key=itemgetter(0))
    if all(site == task.site for _, site in arrivals[later : later + 2]):
        return None
    complete = not campaign.progress.states["waiting"]
    return 0.0 if complete and task.served < 2 else task.made + DAY_SECONDS


def to_improve(campaign: Campaign, sites: Collection[str], current_time: float) -> list[Task]:
    """Parts of ``sites`` for which a better package is to be made."""
    begins = [(task, better_from(campaign, task)) for task in campaign.tasks if task.site in sites]
    return [task for task, begin in begins if begin is not None and current_time >= begin]


def is_over(campaign: Campaign, sites: Collection[str], current_time: float) -> bool:
    """Return whether nothing is left to do, also nothing better for ``sites`` that is due."""
    open_tasks = any(task.state in OPEN_TASKS for task in campaign.tasks)
    return not open_tasks and not to_improve(campaign, sites, current_time)
