"""What a few bytes on a ledger can make a reader do: every number, count and list is bounded.

The charges here are forged: signed by nobody, but that is checked only after they are decoded.
"""

from __future__ import annotations

import dataclasses
import re

import pytest
from tests.core.ledger.conftest import Site

from wg_core.errors import DecodeError, WgError
from wg_core.ledger import charge_parts, entries, log_state
from wg_core.ledger.budget_ledger import Ledger
from wg_core.wire import canonical

HOSTILE = ("1e30000000", "1e-30000000", "1/" + "7" * 5000, "9" * 5000, "0x1p+9999", "nan", "")
NUMBERS = (
    "sensitivity_squared",
    "sigma",
    "rho",
    "clip_radius",
    "epsilon",
    "delta",
    "cap_epsilon",
    "cap_delta",
    "mu_squared_before",
    "mu_squared_after",
    "epsilon_before",
    "epsilon_after",
    "mu_squared",
)


@pytest.fixture
def charge(site: Site, ledger: Ledger) -> bytes:
    return ledger.entry_bytes(site.release(ledger).seq)


@pytest.mark.parametrize("field", NUMBERS)
def test_every_number_of_a_charge_is_bounded_where_it_is_decoded(charge: bytes, field: str) -> None:
    good = charge.decode()
    for text in HOSTILE:
        forged = re.sub(rf'("{field}":)"[^"]*"', rf'\1"{text}"', good, count=1)
        assert forged != good
        with pytest.raises(DecodeError):
            entries.decode(forged.encode())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cap_is_bounded(text: str) -> None:
    with pytest.raises(DecodeError):
        charge_parts.parse_epsilon_and_delta(text, "1e-5")
    with pytest.raises(DecodeError):
        charge_parts.parse_epsilon_and_delta("1", text)


def test_lists_that_every_entry_is_compared_with_are_bounded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, act in (
        ("DATASET_ENTRIES_LIMIT", lambda ledger: site.register(ledger, "more", b"more")),
        ("WITNESS_KEYS_LIMIT", lambda ledger: ledger.enrol_witness("w.example", bytes(range(32)))),
    ):
        monkeypatch.setattr(log_state, name, 1)
        folder = site.folder / name
        folder.mkdir()
        one = dataclasses.replace(site, folder=folder)
        with one.create() as ledger, pytest.raises(WgError, match="more than 1"):
            act(ledger)
        monkeypatch.undo()


def test_nesting_is_refused_and_overflows_nothing() -> None:
    for depth in (1000, 200_000):
        for opening, closing in (("[", "]"), ('{"head":', "}")):
            data = (opening * depth + "1" + closing * depth).encode()
            with pytest.raises(DecodeError):
                entries.decode(data)
            with pytest.raises(DecodeError):
                canonical.decode(entries.EntryHeader, data, input_name="head")
