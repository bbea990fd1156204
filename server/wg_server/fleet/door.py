"""Who is connected to a listener: a bounded number, and the busiest peer gives way.

A connection costs memory and a file descriptor from the moment it is accepted, long before TLS says
whose it is. When a listener has as many as it may have, the oldest connection of whoever has most
is dropped for the next one: first among strangers (no certificate of ours yet, counted by address),
and only if there is none among sites. So connections that say nothing can neither fill the process
nor keep a plant out: a newcomer always gets in, and has as long to show its certificate as a
listener's worth of newcomers takes to arrive.
"""

import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from wg_server.fleet.tries import network_of

CONNECTIONS = 2000
"""Most connections of a listener; the busiest peer's oldest is dropped for one more."""


@dataclass(slots=True, eq=False)
class Visitor:
    """A connection.

    Attributes:
        sock: Listening socket.
        peer: Whom it counts for: the site of its certificate, or an address (IPv6: a /64).
        known: Whether it has shown a certificate of ours.
    """

    sock: socket.socket
    peer: str
    known: bool = False


class Door:
    """The connections of one listener, oldest first. For one thread."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._visitors: dict[Visitor, None] = {}

    def __len__(self) -> int:
        return len(self._visitors)

    def enter(self, sock: socket.socket, host: str) -> Visitor:
        """Count a new connection, and drop another one for it if there is no room."""
        while len(self._visitors) >= self._limit:
            self._drop_one()
        visitor = Visitor(sock, network_of(host))
        self._visitors[visitor] = None
        return visitor

    def recognise(self, visitor: Visitor, site: str) -> None:
        """Count a connection for the site of its certificate from now on."""
        visitor.peer = site
        visitor.known = True

    def leave(self, visitor: Visitor) -> None:
        """Forget a connection that has ended."""
        self._visitors.pop(visitor, None)

    def _drop_one(self) -> None:
        strangers = [visitor for visitor in self._visitors if not visitor.known]
        among = strangers or list(self._visitors)
        ((busiest, _),) = Counter(visitor.peer for visitor in among).most_common(1)
        oldest = next(visitor for visitor in among if visitor.peer == busiest)
        self.leave(oldest)
        with suppress(OSError):  # gone already
            oldest.sock.shutdown(socket.SHUT_RDWR)  # its transport sees the end, and closes it
