"""Bounded set of connections of a listener, with eviction of the busiest peer's oldest one.

A connection costs memory and a file descriptor as soon as it is accepted, long before TLS
identifies the peer. When a listener is full, the oldest connection of the peer with most
connections is dropped for the new one: first among unidentified peers (no certificate yet, counted
by address), and among sites only if there are none. Idle connections can therefore neither exhaust
the process nor keep a plant out: a new connection is always accepted, and stays at least until as
many further connections have arrived as the listener may hold.
"""

import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from wg_server.fleet.sliding_window_limit import client_network

CONNECTIONS_LIMIT = 2000
"""Largest number of connections of a listener."""


@dataclass(slots=True, eq=False)
class PeerConnection:
    """Connection of a peer to a listener.

    Attributes:
        sock: Socket of the connection.
        peer_key: Peer that it is counted for: name of the site in its certificate, or its address
            (IPv6: its /64).
        is_identified: True after it has shown a valid client certificate.
    """

    sock: socket.socket
    peer_key: str
    is_identified: bool = False


class ConnectionLimit:
    """Connections of one listener, oldest first; used by one thread only."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._visitors: dict[PeerConnection, None] = {}

    def __len__(self) -> int:
        return len(self._visitors)

    def add_connection(self, sock: socket.socket, host: str) -> PeerConnection:
        """Add a new connection, and drop another connection if the limit is reached."""
        while len(self._visitors) >= self._limit:
            self._drop_oldest_of_busiest_peer()
        visitor = PeerConnection(sock, client_network(host))
        self._visitors[visitor] = None
        return visitor

    def assign_site(self, connection: PeerConnection, site: str) -> None:
        """Count a connection from now on for the site that its certificate names."""
        connection.peer_key = site
        connection.is_identified = True

    def remove_connection(self, connection: PeerConnection) -> None:
        """Remove a connection that has ended."""
        self._visitors.pop(connection, None)

    def _drop_oldest_of_busiest_peer(self) -> None:
        strangers = [visitor for visitor in self._visitors if not visitor.is_identified]
        among = strangers or list(self._visitors)
        ((busiest, _),) = Counter(visitor.peer_key for visitor in among).most_common(1)
        oldest = next(visitor for visitor in among if visitor.peer_key == busiest)
        self.remove_connection(oldest)
        with suppress(OSError):  # closed already
            oldest.sock.shutdown(socket.SHUT_RDWR)  # its transport sees the end, and closes it
