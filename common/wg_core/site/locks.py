"""Locks of a plant's home; ``wg_core.locks`` documents their errors."""

from contextlib import AbstractContextManager

from wg_core import locks
from wg_core.site.home import ClientHome


def lock_node(home: ClientHome) -> AbstractContextManager[None]:
    """Lock out other processes that run this plant's node or change its identity."""
    busy = "another process runs this plant's node, or enrols it"
    return locks.hold_lock(home.root / ".node.lock", busy_message=busy)


def lock_ledger(
    home: ClientHome, *, busy_message: str | None = None
) -> AbstractContextManager[None]:
    """Hold the lock under which a process makes a release or writes the ledger; wait for it.

    The lock file is beside the ledger, so that homes that share a ledger answer one at a time.

    Args:
        busy_message: Error message if another process holds the lock; None: wait for it.
    """
    return locks.hold_lock(home.budget_home / ".release.lock", busy_message=busy_message)


def lock_freeze(home: ClientHome) -> AbstractContextManager[None]:
    """Lock out other processes that freeze this plant's data set, with an error."""
    busy = "another process is freezing this data set; freeze again when it has ended"
    return locks.hold_lock(home.root / ".freeze.lock", busy_message=busy)


def lock_models(
    home: ClientHome, *, busy_message: str | None = None
) -> AbstractContextManager[None]:
    """Hold the lock for changing the model in use.

    ``busy_message`` is the error if another process holds the lock; None: wait for it.
    """
    return locks.hold_lock(home.root / ".models.lock", busy_message=busy_message)
