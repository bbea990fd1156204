"""Isolation of failures: an error in one site's task of a campaign ends only that task."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from wg_core.errors import InternalError, StorageError, WgError
from wg_server.store.queue import CampaignQueue

log = logging.getLogger(__name__)


@contextmanager
def fail_task_on_error(
    queue: CampaignQueue, campaign_id: str, site: str, step_name: str
) -> Iterator[None]:
    """Mark one site's task as failed, and suppress the error, if the body raises.

    Raises:
        StorageError: The disk or database cannot be written, which is no fault of the site.
    """
    try:
        yield
    except StorageError:
        raise
    except WgError as error:
        log.warning("campaign %s: %s of %s: %s", campaign_id, step_name, site, error)
        queue.update_task(campaign_id, site, state="failed", code=error.code)
    except Exception:  # a bug, or the effect of a hostile answer: the campaign continues
        log.exception("campaign %s: %s of %s", campaign_id, step_name, site)
        queue.update_task(campaign_id, site, state="failed", code=InternalError.code)
