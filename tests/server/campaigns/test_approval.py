"""A site whose owner decides by hand is asked again until somebody has."""

from __future__ import annotations

import pytest
from tests.server.campaigns.nodes import Nodes, honest, make_stage, refusal

from wg_core.wire import flower_messages
from wg_core.wire.flower_messages import Envelope
from wg_server.campaigns import message_exchange
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore


def test_a_site_that_waits_for_a_person_is_asked_again_whatever_the_tries(
    home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_exchange, "_APPROVAL_POLL_SECONDS", 0.01)
    monkeypatch.setattr(message_exchange, "MESSAGE_TRIES_LIMIT", 2)
    asked: list[str] = []

    def decide_late(envelope: Envelope) -> Envelope:
        asked.append(envelope.kind)
        return refusal(flower_messages.AWAITING_APPROVAL) if len(asked) < 5 else honest(envelope)

    stage = make_stage(home, store, monkeypatch, Nodes(plant_a=decide_late))
    campaign = stage.start(["plant-a"])
    with stage.working():
        waiting = stage.wait(
            campaign,
            lambda found: found.find_task("plant-a").code == flower_messages.AWAITING_APPROVAL,
        )
        assert waiting.find_task("plant-a").state == "waiting"
        assert stage.ended(campaign)["plant-a"][0] == "delivered"
    assert asked == ["query"] * 5 + ["delivery"]
    assert len({query.request_id for query in stage.nodes.queries}) == 1


def test_a_site_that_denies_is_left_out_with_the_word(
    home: ServerHome, store: ServerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = make_stage(home, store, monkeypatch, Nodes(plant_a=lambda asked: refusal("policy")))
    campaign = stage.start(["plant-a"])
    with stage.working():
        assert stage.ended(campaign) == {"plant-a": ("refused", "policy")}
