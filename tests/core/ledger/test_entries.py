"""Ledger records: canonical encoding, strict decoding, and the two encoders that must agree."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType
from tests.core.wire.test_data_sheet import SHEETS

from wg_core import text_grammars
from wg_core.errors import DecodeError
from wg_core.ledger import charge_parts, entries
from wg_core.ledger.commitment import commit_to_data
from wg_core.privacy.events import PrivacyEvent

letters = st.characters(categories=["L", "N", "P", "S"])
names = st.text(letters, min_size=1, max_size=text_grammars.NAME_CHARACTERS_LIMIT)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
keys = st.binary(min_size=31, max_size=31).map(lambda data: data.hex() + "07")
counts = st.integers(0, (1 << 53) - 1)
heads = st.one_of(
    st.builds(
        entries.EntryHeader,
        kind=st.just(entries.GENESIS_KIND),
        seq=st.integers(1, (1 << 53) - 1),
        prev=digests,
        origin=st.just("weightgate/plant-a/00ff"),
        key_id=st.binary(min_size=4, max_size=4).map(bytes.hex),
        time=st.integers(-(1 << 40), 1 << 40),
    )
)
events = st.builds(
    PrivacyEvent, mechanism=st.just("gaussian"), mu_squared=st.integers(1, 10**30).map(str)
)
caps = st.sampled_from(["1", "0.5", "10"])
deltas = st.sampled_from(["1e-5", "0.001"])
whole = st.integers(0, 10**60).map(str)
reals = st.floats(0, 1e300)
decimals = reals.map(repr)


NAMED: dict[str, st.SearchStrategy[Any]] = {
    "commitment": digests,
    "payload_sha256": digests,
    "before": keys,
    "now": keys,
    "signature": st.binary(min_size=64, max_size=64).map(bytes.hex),
    "name": st.text(st.sampled_from("abcXYZ019"), min_size=1, max_size=40),
    "cap_epsilon": caps,
    "cap_delta": deltas,
    "epsilon": caps,
    "delta": deltas,
    "clip_radius": decimals,
    "sensitivity_squared": whole,
    "sigma": reals.map(float.hex) | decimals,
    "rho": decimals,
    "mu_squared_before": whole,
    "mu_squared_after": whole,
    "epsilon_before": decimals,
    "epsilon_after": decimals,
    "encoder": digests,
    "labels": st.lists(names, min_size=1, max_size=3, unique=True).map(tuple),
    "data_sheet": st.none() | st.sampled_from(SHEETS),
}


SHORT: dict[Any, st.SearchStrategy[Any]] = {
    text_grammars.Hex: st.binary(max_size=40).map(bytes.hex),
    text_grammars.NoteText: st.text(st.characters(codec="utf-8"), max_size=12),
    text_grammars.Phrase: st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1),
}
"""Of grammars whose longest texts take long to draw."""


def field_strategy(name: str, hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a field, by its name or its type."""
    return NAMED[name] if name in NAMED else strategy(hint)


def strategy(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    if kind is PrivacyEvent:
        return events
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        return st.builds(
            kind,
            **{
                name: NAMED[name] if name in NAMED else strategy(hint)
                for name, hint in hints.items()
            },
        )
    if kind is bool:
        return st.booleans()
    if kind is int:
        return counts
    for part in getattr(kind, "__metadata__", ()):
        if isinstance(part, text_grammars.PrintableText):
            return st.text(letters, min_size=1, max_size=part.max_characters)
        if isinstance(part, text_grammars.Pattern):
            return SHORT.get(kind, st.from_regex(part.expression, fullmatch=True))
    if typing.get_origin(kind) is typing.Annotated:
        return strategy(kind.__origin__)
    inner = typing.get_args(kind)
    if UnsetType in inner:
        return st.just(UNSET) | strategy(inner[0])
    if typing.get_origin(kind) is typing.Literal:
        return st.sampled_from(inner)
    if typing.get_origin(kind) is tuple:
        return st.lists(strategy(inner[0]), max_size=2).map(tuple)
    return st.one_of(st.none(), strategy(inner[0]))


def records(kind: str) -> st.SearchStrategy[Any]:
    """Entries of one kind."""
    record = entries.ENTRY_TYPES[kind]
    hints = {**typing.get_type_hints(record, include_extras=True)}
    del hints["head"]
    head = heads.map(lambda found: dataclasses.replace(found, kind=kind))
    return st.builds(
        record, head=head, **{name: field_strategy(name, hint) for name, hint in hints.items()}
    )


all_records = st.one_of([records(kind) for kind in entries.ENTRY_TYPES])


@given(all_records)
def test_entries_round_trip(entry: entries.Entry) -> None:
    data = entries.encode(entry)
    assert entries.decode(data) == entry
    assert entries.encode(entries.decode(data)) == data


@given(all_records)
def test_the_fast_encoder_is_rfc_8785(entry: entries.Entry) -> None:
    fast = msgspec.json.encode(entry, order="sorted")
    assert fast == rfc8785.dumps(msgspec.to_builtins(entry))


@given(st.dictionaries(st.text(st.characters(max_codepoint=0x7F)), st.text()))
def test_strings_are_encoded_as_in_rfc_8785(document: dict[str, str]) -> None:
    try:
        expected = rfc8785.dumps(document)
    except rfc8785.CanonicalizationError:
        return
    assert msgspec.json.encode(document, order="sorted") == expected


@given(all_records, st.data())
def test_a_changed_document_is_refused_or_means_something_else(
    entry: entries.Entry, data: st.DataObject
) -> None:
    encoded = bytearray(entries.encode(entry))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = entries.decode(bytes(encoded))
    except DecodeError:
        return
    assert found != entry


def genesis(**changes: Any) -> bytes:
    document: dict[str, Any] = {
        "head": {
            "key_id": "00112233",
            "kind": "genesis",
            "origin": "a",
            "prev": "",
            "seq": 0,
            "time": 0,
            "version": 1,
        },
        "ledger_key": "",
        "predecessor": None,
        "site": "a",
        "software": "weightgate 0.1.0",
    }
    for name, value in changes.items():
        place = document["head"] if name in document["head"] else document
        place[name] = value
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def test_the_plain_document_is_accepted() -> None:
    assert entries.decode(genesis()).head.seq == 0


@pytest.mark.parametrize(
    "bad",
    [
        genesis(version=2),
        genesis(kind="rumour"),
        genesis(seq=1),
        genesis(seq=-1),
        genesis(seq=1 << 53, prev="00" * 32),
        genesis(time=1 << 53),
        genesis(prev="00" * 32),
        genesis(key_id="0011223"),
        genesis(extra=1),
        genesis(site=7),
        genesis(site=None),
        genesis()[:-1],
        genesis() + b"\n",
        genesis().replace(b'"site":"a",', b'"site":"a","site":"a",'),
        b" " + genesis(),
        b"",
        b"null",
        b"[]",
        b'{"head":{}}',
        b"\xff",
        b'{"head":' * 5000,
        b"x" * (entries.ENTRY_BYTES_LIMIT + 1),
    ],
)
def test_what_is_no_entry_is_refused(bad: bytes) -> None:
    with pytest.raises(DecodeError):
        entries.decode(bad)


@pytest.mark.parametrize(
    "cap", [("0", "1e-5"), ("-1", "1e-5"), ("1", "0"), ("1", "1"), ("inf", "1e-5"), ("x", "0.1")]
)
def test_what_is_no_cap_is_refused(cap: tuple[str, str]) -> None:
    with pytest.raises(DecodeError):
        charge_parts.parse_epsilon_and_delta(*cap)


def test_commitments_depend_on_secret_content_and_framing() -> None:
    secret, other = bytes(32), bytes([1]) * 32
    same = commit_to_data(secret, [b"ab", b"c"])
    assert same == commit_to_data(secret, [b"ab", b"c"])
    assert (
        len({same, commit_to_data(other, [b"ab", b"c"]), commit_to_data(secret, [b"a", b"bc"])})
        == 3
    )
    with pytest.raises(ValueError, match="at least 32"):
        commit_to_data(b"short", [b""])
