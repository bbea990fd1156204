"""The policy refuses by the request alone, never by the data."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

from wg_core.errors import PolicyRefused
from wg_core.site import policy
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.pinned_server import PinnedServer
from wg_core.wire.protocol import DELIVERY_MESSAGE_TYPE, QUERY_MESSAGE_TYPE, StatisticsQuery

ENCODER = "ab" * 32
NOW = 1_000_000.0
QUERY = StatisticsQuery(
    request_id="0" * 32,
    site="plant-a",
    encoder=ENCODER,
    epsilon="1",
    delta="1e-5",
    purpose="pilot",
    expires=int(NOW) + 60,
)


def _config(**privacy: Any) -> ClientConfig:
    server = PinnedServer(fleet_url="", name="s", signing_key="", witness_name="w", witness_key="")
    return ClientConfig(
        site="plant-a",
        pin=server,
        data=DataConfig(name="d", path="p", labels=("a",), encoder="00" * 32),
        privacy=PrivacyConfig(**privacy),
    )


def test_a_query_within_the_policy_passes() -> None:
    policy.check_query(_config(), QUERY, encoder_sha256=ENCODER, current_time=NOW)
    policy.check_query(
        _config(purposes=("pilot",)), QUERY, encoder_sha256=ENCODER, current_time=NOW
    )


@pytest.mark.parametrize(
    "change",
    [
        {"site": "plant-b"},
        {"expires": int(NOW)},
        {"encoder": "cd" * 32},
        {"epsilon": "4.0001"},
        {"epsilon": "nan"},
        {"epsilon": "-1"},
        {"epsilon": "0.0"},
        {"epsilon": "Infinity"},
        {"epsilon": "one"},
        {"delta": "1e-4"},
        {"delta": "0"},
        {"request_id": ""},
        {"request_id": "../" + "0" * 29},
        {"request_id": "A" * 32},
        {"purpose": "x" * 2000},
        {"purpose": "a\x00b"},
    ],
)
def test_a_query_outside_of_the_policy_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(PolicyRefused):
        policy.check_query(
            _config(),
            dataclasses.replace(QUERY, **change),
            encoder_sha256=ENCODER,
            current_time=NOW,
        )


def test_purposes_are_compared_word_for_word() -> None:
    with pytest.raises(PolicyRefused):
        policy.check_query(
            _config(purposes=("Pilot",)), QUERY, encoder_sha256=ENCODER, current_time=NOW
        )


def test_message_types_are_a_list_of_what_is_allowed() -> None:
    config = _config(message_types=(QUERY_MESSAGE_TYPE,))
    policy.check_message_type(config, QUERY_MESSAGE_TYPE)
    for kind in (DELIVERY_MESSAGE_TYPE, "evaluate.metrics", ""):
        with pytest.raises(PolicyRefused):
            policy.check_message_type(config, kind)


def test_no_record_enters_the_decision() -> None:
    for function in (policy.check_query, policy.check_message_type):
        names = set(inspect.signature(function).parameters)
        assert names <= {"config", "query", "encoder_sha256", "current_time", "message_type"}
