"""One site's trouble is its own: what fails in its part of a campaign ends that part alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import InterfaceError, OperationalError

from wg_common.errors import InternalError, StorageError, WgError
from wg_server.store.queue import CampaignQueue

log = logging.getLogger(__name__)

FULL = (StorageError, OperationalError, InterfaceError)
"""The disk is full, or the database cannot be reached or written: no site's fault; it may pass."""


@contextmanager
def isolated(queue: CampaignQueue, campaign: str, site: str, what: str) -> Iterator[None]:
    """Let whatever is raised inside fail one site's part of a campaign; ``FULL`` is passed on."""
    try:
        yield
    except FULL:
        raise
    except WgError as error:
        log.warning("campaign %s: %s of %s: %s", campaign, what, site, error)
        queue.update(campaign, site, state="failed", code=error.code)
    except Exception:  # a bug, or what a hostile answer caused: the others' campaign goes on
        log.exception("campaign %s: %s of %s", campaign, what, site)
        queue.update(campaign, site, state="failed", code=InternalError.code)
