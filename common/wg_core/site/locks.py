"""The locks of a plant's home; ``wg_core.locks`` has their errors."""

from contextlib import AbstractContextManager

from wg_core import locks
from wg_core.site.home import ClientHome


def node(home: ClientHome) -> AbstractContextManager[None]:
    """One process runs this plant's node, or changes its identity; a second one is refused."""
    return locks.hold(
        home.root / ".node.lock", busy="another process runs this plant's node, or enrols it"
    )


def release(home: ClientHome) -> AbstractContextManager[None]:
    """One process of this plant makes a release or writes the ledger; a second one waits.

    The file lies beside the ledger: homes that share one answer one after the other.
    """
    return locks.hold(home.budget / ".release.lock")


def freezing(home: ClientHome) -> AbstractContextManager[None]:
    """One process freezes this plant's data set; a second one is refused."""
    busy = "another process is freezing this data set; freeze again when it has ended"
    return locks.hold(home.root / ".freeze.lock", busy=busy)


def models(home: ClientHome) -> AbstractContextManager[None]:
    """One process of this plant changes which model is in use; another one waits."""
    return locks.hold(home.root / ".models.lock")
