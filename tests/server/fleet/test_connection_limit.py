from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from wg_server.fleet.connection_limit import ConnectionLimit, PeerConnection


class Guests:
    """Connections of peers to one listener, and which of them are still there."""

    def __init__(self, connection_limit: ConnectionLimit, stack: ExitStack) -> None:
        self.connection_limit = connection_limit
        self._stack = stack
        self._ends: dict[PeerConnection, socket.socket] = {}

    def come(self, host: str, site: str = "") -> PeerConnection:
        near, far = (self._stack.enter_context(each) for each in socket.socketpair())
        visitor = self.connection_limit.add_connection(near, host)
        if site:
            self.connection_limit.assign_site(visitor, site)
        far.setblocking(False)
        self._ends[visitor] = far
        return visitor

    def dropped(self, visitor: PeerConnection) -> bool:
        try:
            return self._ends[visitor].recv(1) == b""
        except BlockingIOError:
            return False


@pytest.fixture
def guests() -> Iterator[Guests]:
    with ExitStack() as stack:
        yield Guests(ConnectionLimit(6), stack)


def test_a_newcomer_gets_in_and_the_busiest_address_loses_its_oldest(guests: Guests) -> None:
    other = guests.come("192.0.2.1")
    many = [guests.come("192.0.2.9") for _ in range(5)]
    newcomer = guests.come("192.0.2.2")
    assert len(guests.connection_limit) == 6
    assert guests.dropped(many[0])
    assert not any(guests.dropped(each) for each in (other, newcomer, *many[1:]))


def test_strangers_give_way_before_any_site_does(guests: Guests) -> None:
    site = [guests.come("192.0.2.1", "plant-a") for _ in range(5)]
    strangers = [guests.come(f"192.0.2.{number}") for number in range(2, 30)]
    assert not any(guests.dropped(each) for each in site)
    assert [guests.dropped(each) for each in strangers] == [True] * 27 + [False]


def test_among_sites_the_one_with_most_connections_gives_way(guests: Guests) -> None:
    honest = [guests.come("192.0.2.1", site) for site in ("plant-a", "plant-a", "plant-b")]
    hostile = [guests.come("192.0.2.1", "mallory") for _ in range(20)]
    assert not any(guests.dropped(each) for each in honest)
    assert [guests.dropped(each) for each in hostile] == [True] * 17 + [False] * 3


def test_a_host_with_many_addresses_of_ipv6_is_one_peer(guests: Guests) -> None:
    other = guests.come("2001:db8:1::1")
    many = [guests.come(f"2001:db8:2::{number:x}") for number in range(1, 9)]
    assert not guests.dropped(other) and guests.dropped(many[0])


def test_who_left_makes_room(guests: Guests) -> None:
    first = guests.come("192.0.2.1")
    others = [guests.come("192.0.2.1") for _ in range(5)]
    guests.connection_limit.remove_connection(first)
    others.append(guests.come("192.0.2.1"))
    assert not any(guests.dropped(each) for each in others) and len(guests.connection_limit) == 6
