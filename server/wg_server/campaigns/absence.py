"""Why a site is not there, as far as the server can know: one word and a figure.

A node with an expired certificate is refused by TLS before it can say who it is, so its absence is
explained from what the store knows: until when its certificate was good, when it was seen last, and
what the fleet listener noted of it (``store.troubles``).
"""

from wg_server.store.campaigns import Task
from wg_server.store.site import PRESENT_SECONDS
from wg_server.store.troubles import Sight

CERTIFICATE = "certificate-expired"
NEVER = "never-connected"
AWAY = "not-connected"
SILENT = "no-answer"
NOT_FETCHED = "not-fetched"


def of_site(sight: Sight, current_time: float) -> tuple[str, float]:
    """Why a site is not there, or nothing; the figure is a time, or for a clock seconds."""
    if sight.certificate is not None and sight.certificate <= current_time:
        return CERTIFICATE, sight.certificate
    trouble = sight.trouble
    if trouble is not None and current_time - trouble.seen < PRESENT_SECONDS:
        return trouble.code, trouble.figure
    if not sight.last_seen:
        return NEVER, 0.0
    if current_time - sight.last_seen > PRESENT_SECONDS:
        return AWAY, sight.last_seen
    return "", 0.0


def of_overdue(task: Task, sight: Sight, current_time: float) -> tuple[str, float]:
    """Why a site did not do in time what it was asked for."""
    code, figure = of_site(sight, current_time)
    if code:
        return code, figure
    if task.code:
        return task.code, 0.0  # what it answered until the end, such as that a person decides
    if task.state == "packaged":
        return NOT_FETCHED, task.asked
    return (SILENT, task.asked) if task.asked else (AWAY, sight.last_seen)
