"""Where each site of a campaign stands, in words: what is, why, and what a person can do about it.

For command lines and pages. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wg_common.wire import fleet
from wg_server.campaigns import absence, intake, schedule
from wg_server.campaigns.absence import Sight
from wg_server.store.campaigns import IN_TASKS, OPEN_TASKS, Campaign, Task

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a site stands where it does, and what to do; either may be empty: nothing is amiss."""

    why: str
    do: str = ""


def of_task(campaign: Campaign, task: Task, sight: Sight, now: float) -> Reason:
    """Why a site's part of a campaign stands where it does.

    Args:
        campaign: The campaign.
        task: The site's part.
        sight: What the server sees of the site.
        now: Unix time.
    """
    if task.state in OPEN_TASKS:
        if campaign.state == "paused":
            return Reason("the campaign is paused", "wg-server campaign resume")
        if campaign.state == "queued":
            return Reason("the campaign has not begun", "start 'wg-server serve'")
        return _under_way(campaign, task, sight, now)
    if task.state == "delivered":
        return _delivered(campaign, task, now)
    if task.state == "cancelled":
        return Reason("the campaign was cancelled" if campaign.state == "cancelled" else "")
    return _ended(task, sight, now)


def of_site(sight: Sight, now: float) -> Reason:
    """Why an enrolled site is not there; empty if it is, or is not enrolled."""
    away = _away(*absence.of_site(sight, now), now) if sight.state == "enrolled" else None
    return away or Reason("")


def of_campaign(campaign: Campaign, now: float) -> str:
    """What a campaign waits for, or how it ended, in one sentence."""
    there = sum(task.state in IN_TASKS for task in campaign.tasks)
    served = sum(task.state == "delivered" or bool(task.served) for task in campaign.tasks)
    count = len(campaign.tasks)
    if campaign.reason:
        return campaign.reason
    if campaign.state != "running":
        return f"{served} of {count} sites have a package"
    begin = schedule.packages_from(campaign)
    if begin is None:
        return f"{there} of {count} sites have released; {_when_enough(campaign)}"
    if begin > now:
        return f"{there} of {count} sites have released; packages in {span(begin - now)}"
    return f"{there} of {count} sites have released, {served} have a package"


def span(seconds: float) -> str:
    """A span of time in its largest unit, such as ``2 days``; a second at least."""
    for size, name in _UNITS:
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {name}{'' if number == 1 else 's'}"
    return "1 second"


def _under_way(campaign: Campaign, task: Task, sight: Sight, now: float) -> Reason:
    if task.state == "released":
        return _released(campaign, task, now)
    end = schedule.deadline(campaign, task) or now
    left = f"; {span(end - now)} left" if end > now else ""
    away = _away(*absence.of_site(sight, now), now)
    if away is not None:
        return Reason(f"{away.why}{left}", away.do)
    if task.state == "packaged":
        what = "a better package" if task.served else "a package"
        return Reason(f"{what} is there to be fetched{left}")
    if task.code:
        meaning = fleet.REFUSALS.get(task.code, task.code)
        return Reason(f"asked {_times(task.tries)}: {meaning}{left}", _DO.get(task.code, ""))
    if task.asked:
        return Reason(f"asked {span(now - task.asked)} ago, no answer yet{left}")
    return Reason(f"about to be asked{left}")


def _when_enough(campaign: Campaign) -> str:
    """When packages are made while there are too few releases for them."""
    coming = sum(task.state == "waiting" or task.state in IN_TASKS for task in campaign.tasks)
    if coming < campaign.min_sites:
        return (
            f"{campaign.min_sites} were wanted and {coming} can still be: packages are made when no"
            " site is waited for any more"
        )
    return f"packages are made from {campaign.min_sites} releases on"


def _released(campaign: Campaign, task: Task, now: float) -> Reason:
    begin = schedule.packages_from(campaign)
    if begin is None:
        return Reason(_when_enough(campaign))
    if begin > now:
        return Reason(f"packages are made in {span(begin - now)}")
    return Reason("a better package is being made" if task.served else "its package is being made")


def _delivered(campaign: Campaign, task: Task, now: float) -> Reason:
    if task.code:
        said = fleet.REFUSALS.get(task.code, fleet.MEANING.get(task.code, task.code))
        return Reason(f"it has a package; a better one came to nothing: {said}")
    begin = schedule.better_from(campaign, task) if campaign.state == "running" else None
    if begin is None:
        return Reason("")
    when = f"in {span(begin - now)}" if begin > now else "now"
    return Reason(f"it has a package; a better one is made {when}")


def _ended(task: Task, sight: Sight, now: float) -> Reason:
    """Why a part is refused, failed or expired."""
    if sight.state == "revoked":
        return Reason("the site is revoked", _DO["revoked"])
    away = _away(task.code, task.figure, task.updated)
    if away is not None:
        when = f"{span(now - task.updated)} ago" if now > task.updated else "now"
        return Reason(f"left out {when}: {away.why}", f"{away.do}; {_RETRY}")
    if task.state in ("refused", "expired"):
        why = fleet.REFUSALS.get(task.code) or fleet.MEANING.get(task.code)
    else:
        why = _WHY.get(task.code)
    do = _DO.get(task.code, "see the server's log for this site")
    return Reason(why or f"error {task.code!r}", f"{do}; {_RETRY}")


def _away(code: str, figure: float, now: float) -> Reason | None:
    """What keeps a site away, by the word and figure of ``absence``."""
    words = _AWAY.get(code)
    return None if words is None else Reason(words(figure, now), _DO[code])


def _clock(figure: float, now: float) -> str:
    side = "ahead of" if figure > 0 else "behind"
    return f"the plant's clock is {abs(figure):.0f} s {side} this server's"


def _ago(text: str) -> Callable[[float, float], str]:
    return lambda figure, now: f"{text} {span(now - figure)} ago"


_AWAY: dict[str, Callable[[float, float], str]] = {
    absence.CERTIFICATE: _ago("its certificate expired"),
    absence.CLOCK: _clock,
    absence.NODE_KEY: lambda figure, now: "its node key is not the one that it enrolled with",
    absence.NEVER: lambda figure, now: "it never connected",
    absence.AWAY: _ago("not connected; last seen"),
    absence.SILENT: _ago("no answer; first asked"),
    absence.NOT_FETCHED: lambda figure, now: "its package was not fetched in time",
}

_WHY = {
    intake.QUARANTINED: "its release cannot be what it says, and enters nobody's weights",
    "revoked": "the site was revoked meanwhile",
    "tries": "it was asked again and again, and never answered",
    "verification": "its answer, or its package, does not hold",
    "decode": "its answer cannot be read",
    "internal": "an error of this server's",
    "config": "its package is not where it was put, or there is no generator",
}
"""Words of this server's own; those of plants are in ``wg_common.wire.fleet``."""

_START = "start 'wg-client run' at the plant, and see that it reaches the fleet port"
_UPDATE = "update the older side"
_RETRY = "then wg-server campaign retry"
_DO = {
    absence.CERTIFICATE: "wg-server enroll --replace, then wg-client init --replace at the plant",
    absence.CLOCK: "set the plant's clock by NTP",
    absence.NODE_KEY: "one home per plant: stop the copy, or enroll --replace",
    absence.NEVER: _START,
    absence.AWAY: _START,
    absence.SILENT: "ask the plant's engineer for its log",
    absence.NOT_FETCHED: "ask the plant's engineer for its log, its line and room on its disk",
    intake.QUARANTINED: "wg-server releases list names why; accept it, if that is right",
    "revoked": "wg-server enroll lets it in with new keys",
    "budget": "the plant's owner decides on its budget: ask for less, or leave the site out",
    "policy": "the plant's client.yaml says what it answers: agree on epsilon, delta and purpose",
    fleet.UNAVAILABLE: "ask the plant's engineer for its log",
    fleet.APPROVAL: "ask the plant's owner: 'wg-client requests list' shows what waits there",
    "peer": "see the line between plant and server",
    "witness": "wg-client witnesses at the plant names who is missing",
    fleet.APP_MISMATCH: _UPDATE,
    fleet.MALFORMED: _UPDATE,
    fleet.TYPE_DENIED: "the plant's client.yaml lists the message types that it answers",
    fleet.TOO_LARGE: "raise limits.max_package_bytes in the plant's client.yaml",
}


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
