"""When what is due in a campaign: pure functions of the campaign, its sites and the time.

Each site has a clock of its own. It starts when asking is first allowed, starts anew when the site
is first asked, and again when its package is there. So nobody's time runs out before the site was
asked while it was there, and a site that is away holds up nobody else:

- In a campaign at epsilon 0 nobody waits for anybody: nothing is pooled in it.
- The first packages are made when ``min_sites`` releases are in and ``grace_seconds`` are over, or
  when no other site is waited for.
- A site that releases later is served at once.
- A site that has a package is offered a better one ``grace_seconds`` after the first release that
  its package was made without, or when no other site is waited for. So there is at most one better
  package a grace, and one at the end.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Self

from wg_server.store.campaigns import IN_TASKS, OPEN_TASKS, Campaign, Task


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


def overdue(campaign: Campaign, now: float) -> list[Task]:
    """Parts whose time is over."""
    ends = [(task, deadline(campaign, task)) for task in campaign.tasks]
    return [task for task, end in ends if end is not None and now > end]


def packages_from(campaign: Campaign) -> float | None:
    """When the first packages may be made, Unix seconds; zero: now; None: not known yet."""
    if campaign.is_free or not _waiting(campaign) or any(task.made for task in campaign.tasks):
        return 0.0
    answered = sorted(task.answered for task in campaign.tasks if task.state in IN_TASKS)
    if len(answered) < campaign.min_sites:
        return None
    return answered[campaign.min_sites - 1] + campaign.grace_seconds


def to_package(campaign: Campaign, now: float) -> list[Task]:
    """Parts whose package is to be made."""
    begin = packages_from(campaign)
    if begin is None or now < begin:
        return []
    return [task for task in campaign.tasks if task.state == "released"]


def better_from(campaign: Campaign, task: Task) -> float | None:
    """When a site that has a package may be offered a better one; None: there is none better."""
    return _Arrivals.of(campaign).better_from(task)


def to_improve(campaign: Campaign, sites: Collection[str], now: float) -> list[Task]:
    """Parts of ``sites`` for which a better package is to be made."""
    arrivals = _Arrivals.of(campaign)
    begins = [(task, arrivals.better_from(task)) for task in campaign.tasks if task.site in sites]
    return [task for task, begin in begins if begin is not None and now >= begin]


def is_over(campaign: Campaign, sites: Collection[str]) -> bool:
    """Whether nothing is left to do, also nothing better for ``sites``."""
    arrivals = _Arrivals.of(campaign)
    return not any(
        task.state in OPEN_TASKS or (task.site in sites and arrivals.better_from(task) is not None)
        for task in campaign.tasks
    )


@dataclass(frozen=True, slots=True)
class _Arrivals:
    """When the server got each release of a campaign, in order, and of whom."""

    releases: Sequence[tuple[float, str]]
    grace_seconds: float | None  # None: no site is waited for

    @classmethod
    def of(cls, campaign: Campaign) -> Self:
        tasks = () if campaign.is_free else campaign.tasks
        released_tasks = [task for task in tasks if task.state in IN_TASKS]
        grace = campaign.grace_seconds if _waiting(campaign) else None
        return cls(sorted((task.received, task.site) for task in released_tasks), grace)

    def better_from(self, task: Task) -> float | None:
        if task.state != "delivered":
            return None
        later = bisect_right(self.releases, task.made, key=itemgetter(0))
        for received, site in self.releases[later : later + 2]:
            if site != task.site:
                return 0.0 if self.grace_seconds is None else received + self.grace_seconds
        return None


def _waiting(campaign: Campaign) -> bool:
    return any(task.state == "waiting" for task in campaign.tasks)
