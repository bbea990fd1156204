"""How a plant's node stands with its server: a small file that the node keeps, for a supervisor.

It says nothing that the node's log does not say, and stays on site. A file that is older than
``STALE_SECONDS`` says that the node hangs or was killed.
"""

import time
from dataclasses import dataclass, replace
from typing import Literal

from wg_core import atomic
from wg_core.errors import DecodeError, StorageError
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

BEAT_SECONDS = 60.0
"""How often a node that is connected hears of its server: it asks for work at least so often."""
STALE_SECONDS = 3 * BEAT_SECONDS
_LIMIT = 64 << 10
_REASON_LIMIT = 500

State = Literal["connected", "waiting", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Last state that a node wrote.

    Attributes:
        state: ``connected``; ``waiting``, to try again; or ``stopped``.
        since: Unix time since when.
        written: Unix time of this word.
        last: Unix time at which the server last answered; 0: never yet.
        reason: What it waits for, or why it stopped.
    """

    state: State
    since: int
    written: int
    last: int
    reason: str


def read(home: ClientHome) -> Contact | None:
    """Read the state that the node wrote last; None if nothing can be read.

    Raises:
        ConfigError: The file cannot be read.
    """
    if not home.contact.is_file():
        return None
    try:
        data = atomic.read_bytes(home.contact, limit=_LIMIT)
        return canonical.decode(Contact, data, subject=str(home.contact), limit=_LIMIT)
    except DecodeError:
        return None


class ContactFile:
    """Keeps the file of a running node. A disk that cannot be written hinders no node."""

    def __init__(self, home: ClientHome) -> None:
        self._home = home
        self._said: Contact | None = None

    def say(self, state: State, reason: str = "") -> None:
        """Write how it stands now."""
        current_time, before = int(time.time()), self._said
        since = before.since if before is not None and before.state == state else current_time
        last = current_time if state == "connected" else (before.last if before is not None else 0)
        contact = Contact(
            state=state, since=since, written=current_time, last=last, reason=reason[:_REASON_LIMIT]
        )
        if (
            before is not None
            and replace(contact, written=0, last=0) == replace(before, written=0, last=0)
            and current_time - before.written < BEAT_SECONDS / 2
        ):
            return
        self._said = contact
        try:
            atomic.write_bytes(self._home.contact, canonical.encode(contact), mode=atomic.PRIVATE)
        except StorageError:
            return  # said in the log where it matters: at the next answer
