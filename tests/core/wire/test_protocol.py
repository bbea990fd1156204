"""Join tokens and site names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_core.errors import DecodeError
from wg_core.wire import protocol

TOKEN = protocol.JoinToken(
    site="plant-a",
    enrol_url="https://127.0.0.1:8443",
    ca_sha256="ab" * 32,
    encoder="ef" * 32,
    secret="cd" * 32,
    expires=1_800_000_000,
)


def test_a_token_is_one_word_and_decodes_to_itself() -> None:
    text = protocol.encode_token(TOKEN)
    assert len(text.split()) == 1
    assert protocol.decode_token(text) == TOKEN


@given(st.text(max_size=60))
def test_anything_else_is_no_token(text: str) -> None:
    for candidate in (text, protocol.TOKEN_PREFIX + text):
        with pytest.raises(DecodeError, match="join token"):
            protocol.decode_token(candidate)


def test_no_single_changed_character_gives_the_same_token() -> None:
    text = protocol.encode_token(TOKEN)
    for position in range(len(text)):
        changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
        try:
            assert protocol.decode_token(changed) != TOKEN
        except DecodeError:
            continue


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "a/b", "../a", "a" * 64, "a\n", "é"])
def test_a_site_name_is_a_dns_label(name: str) -> None:
    with pytest.raises(DecodeError, match="site name"):
        protocol.check_site_name(name)
