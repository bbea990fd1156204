"""A person's decision stands before the charge, and the charge is what was approved."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tests.core.ledger.conftest import DELTA, Site

from wg_core.errors import VerificationError
from wg_core.ledger import entries, log_sources, log_verification
from wg_core.ledger.budget_ledger import Ledger


def _decide(ledger: Ledger, **changes: Any) -> int:
    words: dict[str, Any] = {
        "request_id": "r1",
        "dataset": "parts",
        "epsilon": "1",
        "delta": DELTA,
        "purpose": "first model",
        "recipient": "server.example",
        "approved": True,
        "name": "QA lead",
    }
    return ledger.record_decision(partial(entries.Decision, **{**words, **changes}))


def test_an_approved_request_is_charged_and_verifies(site: Site, ledger: Ledger) -> None:
    seq = _decide(ledger)
    site.release(ledger)
    found = ledger.newest_decision("parts", "r1")
    assert found is not None and found.head.seq == seq and found.name == "QA lead"
    assert ledger.newest_decision("parts", "r2") is None
    with closing(log_sources.open_source(site.path)) as source:
        verified = log_verification.verify_log(source)
    assert [one.name for one in verified.state.decisions.values()] == ["QA lead"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"approved": False}, "was denied"),
        ({"epsilon": "0.9"}, "epsilon is 1, approved was"),
        ({"delta": "1e-6"}, "delta"),
        ({"purpose": "other"}, "purpose is first model"),
        ({"recipient": "b"}, "recipient is server.example"),
    ],
)
def test_a_charge_of_something_else_does_not_follow(
    site: Site, ledger: Ledger, change: dict[str, Any], message: str
) -> None:
    _decide(ledger, **change)
    size = ledger.size
    with pytest.raises(VerificationError, match=message):
        ledger.charge(site.request())
    assert ledger.size == size
    ledger.charge(replace(site.request(), request_id="r2"))  # nobody decided that one


def test_the_newest_decision_before_the_charge_counts(site: Site, ledger: Ledger) -> None:
    _decide(ledger, approved=False)
    _decide(ledger)
    site.release(ledger)
    with pytest.raises(VerificationError, match="decided after its charge"):
        _decide(ledger, approved=False)


@pytest.mark.parametrize("name", ["", "a\nb", " a", "x" * 101])
def test_a_name_is_one_line(ledger: Ledger, name: str) -> None:
    size = ledger.size
    with pytest.raises(Exception, match="printable characters"):
        _decide(ledger, name=name)
    assert ledger.size == size
