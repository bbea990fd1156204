"""Status of a node's contact with its server, in a small file for a supervisor.

The file says nothing that the node's log does not say, and stays on site. If it is older than
``STALE_SECONDS``, the node hangs or was killed.
"""

import time
from dataclasses import dataclass, replace
from typing import Literal

from wg_core import atomic
from wg_core.errors import DecodeError, StorageError
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

CONTACT_INTERVAL_SECONDS = 60.0
"""Longest interval at which a connected node hears from its server, by polling or heartbeat."""
STALE_SECONDS = 3 * CONTACT_INTERVAL_SECONDS
_REASON_CHARACTERS_LIMIT = 500

ContactState = Literal["connected", "waiting", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactStatus:
    """Status of a node's contact with its server, as the node last wrote it.

    Attributes:
        state: ``connected``, ``waiting`` (to retry) or ``stopped``.
        since: Unix time since which the state holds.
        written: Unix time at which the file was written.
        last: Unix time at which the server last answered; 0: never.
        reason: Reason for waiting or stopping, or a present problem; may be empty.
    """

    state: ContactState
    since: int
    written: int
    last: int
    reason: str


def read(home: ClientHome) -> ContactStatus | None:
    """Read the node's last contact status; None if there is no file, or a malformed one.

    Raises:
        ConfigError: The file cannot be read.
    """
    if not home.contact_status.is_file():
        return None
    try:
        return canonical.read_record(ContactStatus, home.contact_status)
    except DecodeError:
        return None


class ContactFile:
    """Contact status file of a running node. A write failure does not stop the node."""

    def __init__(self, home: ClientHome) -> None:
        self._home = home
        self._said: ContactStatus | None = None

    def write_status(self, state: ContactState, reason: str = "") -> None:
        """Write the node's current status, unless an equal one was written recently."""
        current_time, before = int(time.time()), self._said
        since = before.since if before is not None and before.state == state else current_time
        last = current_time if state == "connected" else (before.last if before is not None else 0)
        contact = ContactStatus(
            state=state,
            since=since,
            written=current_time,
            last=last,
            reason=reason[:_REASON_CHARACTERS_LIMIT],
        )
        if (
            before is not None
            and replace(contact, written=0, last=0) == replace(before, written=0, last=0)
            and current_time - before.written < CONTACT_INTERVAL_SECONDS / 2
        ):
            return
        self._said = contact
        try:
            atomic.write_private_bytes(self._home.contact_status, canonical.encode(contact))
        except StorageError:
            return  # the disk's failure is logged at the next answer
