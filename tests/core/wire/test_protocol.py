"""Join tokens and site names, and the messages of protocol 1 as version 0.1.0 writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_core.errors import DecodeError
from wg_core.wire import canonical, flower_messages, protocol

TOKEN = protocol.JoinToken(
    site="plant-a",
    enrol_url="https://127.0.0.1:8443",
    ca_sha256="ab" * 32,
    encoder="ef" * 32,
    secret="cd" * 32,
    expires=1_800_000_000,
)


def test_a_token_is_one_word_and_decodes_to_itself() -> None:
    text = protocol.encode_join_token(TOKEN)
    assert len(text.split()) == 1
    assert protocol.decode_join_token(text) == TOKEN


@given(st.text(max_size=60))
def test_anything_else_is_no_token(text: str) -> None:
    for candidate in (text, protocol.TOKEN_PREFIX + text):
        with pytest.raises(DecodeError, match="join token"):
            protocol.decode_join_token(candidate)


def test_no_single_changed_character_gives_the_same_token() -> None:
    text = protocol.encode_join_token(TOKEN)
    for position in range(len(text)):
        changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
        try:
            assert protocol.decode_join_token(changed) != TOKEN
        except DecodeError:
            continue


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a/b", "../a", "a" * 64, "a\n", "é"])
def test_a_site_name_is_a_dns_label(name: str) -> None:
    with pytest.raises(DecodeError, match="site name"):
        protocol.check_site_name(name)


def test_messages_of_protocol_1_are_read_and_written_as_by_version_0_1_0() -> None:
    """Plants upgrade in their own time: what changes here needs another number, and both read."""
    path = Path(__file__).parent / "vectors" / "protocol_1.json"
    document = json.loads(path.read_text("utf-8"))
    records: dict[str, type[Any]] = {
        name: value
        for name, value in vars(protocol).items()
        if isinstance(value, type) and value.__module__ == protocol.__name__
    }
    assert document["app"] == flower_messages.APP_HASH
    assert records.keys() == document["messages"].keys()
    for name, text in document["messages"].items():
        record = canonical.decode(records[name], text.encode(), input_name=name)
        assert canonical.encode(record) == text.encode()
