"""Codes for why a site is offline, each with a figure: a time, or the error of a clock.

TLS refuses a node with an expired certificate before the server learns whose it is. The reason is
therefore derived from the store: the expiry of the site's certificate, its last request, and what
the fleet listener recorded about it (``store.site_refusals``).
"""

from wg_server.store.campaigns import CampaignTask
from wg_server.store.site_refusals import SiteStatus
from wg_server.store.stored_site import ONLINE_LIMIT_SECONDS

CERTIFICATE_EXPIRED = "certificate-expired"
NEVER_CONNECTED = "never-connected"
NOT_CONNECTED = "not-connected"
SITE_USES_FILES = "uses-files"
NO_ANSWER = "no-answer"
PACKAGE_NOT_FETCHED = "not-fetched"


def offline_code_and_figure(status: SiteStatus, current_time: float) -> tuple[str, float]:
    """Return a code for why a site is offline (empty if it is online), and the code's figure.

    The figure is a Unix time, the error of a wrong clock in seconds, or 0.0 if the code has none.
    """
    if status.uses_files:
        return SITE_USES_FILES, 0.0
    if status.certificate_expiry is not None and status.certificate_expiry <= current_time:
        return CERTIFICATE_EXPIRED, status.certificate_expiry
    trouble = status.trouble
    if trouble is not None and current_time - trouble.last_refusal_time < ONLINE_LIMIT_SECONDS:
        return trouble.code, trouble.figure
    if not status.last_seen:
        return NEVER_CONNECTED, 0.0
    if current_time - status.last_seen > ONLINE_LIMIT_SECONDS:
        return NOT_CONNECTED, status.last_seen
    return "", 0.0


def missed_deadline_code_and_figure(
    task: CampaignTask, status: SiteStatus, current_time: float
) -> tuple[str, float]:
    """Return a code for why a site missed its deadline, and a figure: Unix time, seconds, or 0."""
    code, figure = offline_code_and_figure(status, current_time)
    if code:
        return code, figure
    if task.code:
        return task.code, 0.0  # the site's last answer, for instance a pending approval
    if task.state == "packaged":
        return PACKAGE_NOT_FETCHED, task.asked
    return (NO_ANSWER, task.asked) if task.asked else (NOT_CONNECTED, status.last_seen)
