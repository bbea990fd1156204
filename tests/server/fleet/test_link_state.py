"""A node's messages are found as Flower finds them, without a look at others'."""

from __future__ import annotations

import time

from flwr.app import Message
from tests.server.rows import site_named

from wg_core.wire.flower_messages import Envelope
from wg_server.fleet.adapter import FlowerLink, FlowerRun, IndexedLinkState
from wg_server.store.stored_site import StoredSite

QUESTION = Envelope("query", b"record", b"")


def site(name: str) -> StoredSite:
    return site_named(name, node_key=f"key of {name}")


def new_state() -> tuple[FlowerLink, IndexedLinkState]:
    fleet = FlowerLink()
    state = fleet._state
    assert isinstance(state, IndexedLinkState)
    return fleet, state


def online(state: IndexedLinkState, name: str) -> int:
    key = site(name).node_key.encode("ascii")
    node = state.create_node("", "", key, 0, name=name)
    assert state.activate_node(node, 600)
    return int(node)


def ids(messages: list[Message]) -> list[str]:
    return [message.metadata.message_id for message in messages]


def test_a_message_is_delivered_once_and_to_its_node_alone() -> None:
    fleet, state = new_state()
    one, two = online(state, "one"), online(state, "two")
    with fleet.open_run() as run:
        first, second = (send(run, "one") for _ in range(2))
        assert state.get_message_ins(two, limit=1) == []
        assert ids(state.get_message_ins(one, limit=1)) == [first]
        assert ids(state.get_message_ins(one, limit=None)) == [second]
        assert state.get_message_ins(one, limit=None) == []
        assert not state._waiting


def test_a_message_that_is_forgotten_or_has_expired_is_not_delivered() -> None:
    fleet, state = new_state()
    one = online(state, "one")
    with fleet.open_run() as run:
        run.withdraw_message(send(run, "one"))
        assert not state._waiting
        send(run, "one", seconds=0.01)
        time.sleep(0.05)
        assert state.get_message_ins(one, limit=None) == []
        assert not state._waiting


def send(run: FlowerRun, name: str, seconds: float = 600.0) -> str:
    found = run.send_message(site(name), "query", QUESTION, seconds)
    assert found is not None
    return found
