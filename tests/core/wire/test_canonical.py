"""Canonical records: one spelling, and nothing but what the record declares."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_core.errors import DecodeError
from wg_core.wire import canonical


@dataclass(frozen=True, slots=True)
class Inner:
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Outer:
    version: int
    flag: bool
    items: tuple[Inner, ...]
    note: str | None = None


# Integers are exact below 2^53 (RFC 8785, section 3.2.2.3).
text = st.text(st.characters(codec="utf-8"), max_size=40)
integers = st.integers(-(2**53) + 1, 2**53 - 1)
outers = st.builds(
    Outer,
    version=integers,
    flag=st.booleans(),
    items=st.lists(st.builds(Inner, name=text, count=integers), max_size=4).map(tuple),
    note=st.none() | text,
)


@given(outers)
def test_decoding_inverts_encoding(record: Outer) -> None:
    data = canonical.encode(record)
    assert canonical.decode(Outer, data, input_name="record") == record
    assert canonical.encode(canonical.decode(Outer, data, input_name="record")) == data


@given(outers, st.data())
def test_a_changed_byte_never_decodes_to_the_same_record(
    record: Outer, data: st.DataObject
) -> None:
    encoded = canonical.encode(record)
    position = data.draw(st.integers(0, len(encoded) - 1))
    flipped = bytearray(encoded)
    flipped[position] ^= data.draw(st.integers(1, 255))
    try:
        found = canonical.decode(Outer, bytes(flipped), input_name="record")
    except DecodeError:
        return
    assert found != record


@pytest.mark.parametrize(
    ("document", "want_error"),
    [
        (b'{"count":1,"name":"a","more":2}', "unknown or repeated"),
        (b'{"count":1,"count":1,"name":"a"}', "unknown or repeated"),
        (b'{"name":"a","count":1}', "canonical"),
        (b'{"count":1, "name":"a"}', "canonical"),
        (b'{"count":1.0,"name":"a"}', "int"),
        (b'{"count":"1","name":"a"}', "int"),
        (b'{"count":true,"name":"a"}', "int"),
        (b'{"name":"a"}', "count"),
        (b'{"count":1,"name":"\\u0061"}', "canonical"),
        (b'{"count":1,"name":"\xff"}', "utf-8|UTF-8"),
        (b'{"count":9007199254740993,"name":"a"}', "record"),
        (b"[" * 100_000, "record"),
        (b"", "record"),
        (b"null", "record"),
    ],
)
def test_anything_but_the_one_spelling_is_refused(document: bytes, want_error: str) -> None:
    with pytest.raises(DecodeError, match=want_error):
        canonical.decode(Inner, document, input_name="record")


def test_a_document_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(DecodeError, match="at most 10"):
        canonical.decode(Inner, b"x" * 11, input_name="record", max_bytes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versioned:
    version: int = 4
    name: str


@pytest.mark.parametrize("document", [b'{"fields":[],"version":5}', b'{"name":"a","version":3}'])
def test_a_record_of_another_version_is_refused_with_both_whatever_its_fields(
    document: bytes,
) -> None:
    assert canonical.decode(Versioned, b'{"name":"a","version":4}', input_name="record").name == "a"
    with pytest.raises(DecodeError, match=r"record: version [35], this program reads 4"):
        canonical.decode(Versioned, document, input_name="record")
