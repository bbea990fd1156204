"""One site's trouble is its own: what fails in its part of a campaign ends that part alone."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from wg_core.errors import InternalError, StorageError, WgError
from wg_server.store.queue import CampaignQueue

log = logging.getLogger(__name__)


@contextmanager
def isolate(queue: CampaignQueue, campaign: str, site: str, step: str) -> Iterator[None]:
    """Let whatever is raised inside fail one site's part of a campaign.

    Raises:
        StorageError: Disk or database cannot be written: no site's fault, and it may pass.
    """
    try:
        yield
    except StorageError:
        raise
    except WgError as error:
        log.warning("campaign %s: %s of %s: %s", campaign, step, site, error)
        queue.update(campaign, site, state="failed", code=error.code)
    except Exception:  # a bug, or what a hostile answer caused: the others' campaign goes on
        log.exception("campaign %s: %s of %s", campaign, step, site)
        queue.update(campaign, site, state="failed", code=InternalError.code)
