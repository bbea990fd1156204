"""A release that goes out again states its other use, once, and costs nothing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
from tests.core.ledger.conftest import Site

from wg_audit import verification
from wg_core.errors import VerificationError
from wg_core.ledger import entries, log_sources, log_verification
from wg_core.ledger.budget_ledger import Ledger


def test_each_other_use_stands_on_the_log_once(site: Site, ledger: Ledger) -> None:
    charge = site.release(ledger).seq
    spent, use = ledger.read_spending("parts"), site.request().use
    assert ledger.record_reuse(charge, use) is None
    other = replace(use, purpose="second model")
    seq = ledger.record_reuse(charge, other)
    assert seq is not None and ledger.record_reuse(charge, other) is None
    assert ledger.read_spending("parts") == spent
    with closing(log_sources.open_source(site.path)) as source:
        (found,) = log_verification.verify_log(source).state.reuses.values()
    assert (found.head.seq, found.charge, found.purpose) == (seq, charge, "second model")
    (told,) = verification.audit_log(site.path).to_json()["reuses"]
    assert told == {
        "entry": seq,
        "charge": charge,
        "purpose": "second model",
        "recipient": use.recipient,
    }


def test_what_was_not_released_is_not_handed_out(site: Site, ledger: Ledger) -> None:
    charge = ledger.charge(site.request()).seq
    other = replace(site.request().use, purpose="second model")
    for number in (charge, 0):
        with pytest.raises(VerificationError, match="was not released"):
            ledger.record_reuse(number, other)
    assert isinstance(entries.decode(ledger.entry_bytes(ledger.size - 1)), entries.Charge)
