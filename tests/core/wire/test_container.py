"""Containers: every byte counts, and the message names what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_core.errors import DecodeError
from wg_core.wire import container

NAMES = ("manifest", "body")


def pack(manifest: bytes = b"m", body: bytes = b"hello") -> bytes:
    return container.encode("wgt", 1, {"manifest": manifest, "body": body})


def unpack(data: bytes, limit: int = 1 << 20) -> dict[str, bytes]:
    return container.decode(data, kind="wgt", version=1, section_names=NAMES, max_bytes=limit)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_decoding_inverts_encoding(manifest: bytes, body: bytes) -> None:
    assert unpack(pack(manifest, body)) == {"manifest": manifest, "body": body}


def test_every_flipped_bit_is_found() -> None:
    data = pack()
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            with pytest.raises(DecodeError):
                unpack(bytes(flipped))


def test_every_truncation_and_extension_is_found() -> None:
    data = pack()
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            unpack(data[:size])
    with pytest.raises(DecodeError, match="after the last section"):
        unpack(data + b"\0")


@given(st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else_is_raised(data: bytes) -> None:
    with pytest.raises(DecodeError):
        unpack(data)
    with pytest.raises(DecodeError):
        unpack(container.MAGIC + data)


def test_the_message_names_kind_version_section_and_limit() -> None:
    data = pack()
    with pytest.raises(DecodeError, match="kind 'wgt'"):
        container.decode(data, kind="other", version=1, section_names=NAMES, max_bytes=999)
    with pytest.raises(DecodeError, match="version 1, this program reads 2"):
        container.decode(data, kind="wgt", version=2, section_names=NAMES, max_bytes=999)
    with pytest.raises(DecodeError, match="expected"):
        container.decode(data, kind="wgt", version=1, section_names=("body",), max_bytes=999)
    with pytest.raises(DecodeError, match="'body' does not match"):
        unpack(data[:-1] + b"!")
    with pytest.raises(DecodeError, match="at most 10"):
        unpack(data, limit=10)
