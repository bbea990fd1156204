"""Ports of a new home stay its own."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence

import pytest

from wg_core.errors import ConfigError
from wg_server.operation.initialise import free_ports


def test_ports_are_not_those_of_outgoing_connections() -> None:
    """Such a port was taken between the choice and the server's start."""
    found = free_ports("127.0.0.1", 3)
    assert len(set(found)) == 3 and all(10_000 <= port < 32_768 for port in found)


def test_a_port_that_is_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    (taken, free) = free_ports("127.0.0.1", 2)
    drawn = iter([taken, free, free, taken])

    def choice(ports: Sequence[int]) -> int:
        return next(drawn, taken)

    monkeypatch.setattr(secrets, "choice", choice)
    with socket.socket() as held:
        held.bind(("127.0.0.1", taken))
        assert free_ports("127.0.0.1", 1) == [free]
        with pytest.raises(ConfigError, match="no free port"):
            free_ports("127.0.0.1", 2)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1: cannot be bound"):
        free_ports("192.0.2.1", 1)
