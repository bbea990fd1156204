"""What a few bytes on a ledger can make a reader do: every number, count and list is bounded.

The charges here are forged: signed by nobody, but that is checked only after they are decoded.
"""

from __future__ import annotations

import dataclasses
import re

import pytest
from tests.core.ledger.conftest import Site

from wg_core.errors import DecodeError, PolicyRefused, VerificationError, WgError
from wg_core.ledger import entries, state, statement
from wg_core.ledger.lineage import LineageState
from wg_core.ledger.store import Ledger
from wg_core.privacy import accounting, events, independent
from wg_core.privacy.events import PrivacyEvent, dp_sgd_event
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
    "sampling_probability",
    "noise_multiplier",
)


@pytest.fixture
def charge(site: Site, ledger: Ledger) -> bytes:
    return ledger.entry(site.release(ledger).seq)


@pytest.mark.parametrize("field", NUMBERS)
def test_every_number_of_a_charge_is_bounded_where_it_is_decoded(charge: bytes, field: str) -> None:
    good = charge.decode()
    for text in HOSTILE:
        if field == "rho" and not text:
            continue  # empty where the mechanism is not Gaussian
        forged = re.sub(rf'("{field}":)"[^"]*"', rf'\1"{text}"', good, count=1)
        assert forged != good
        with pytest.raises(DecodeError):
            entries.decode(forged.encode())


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cap_is_bounded(text: str) -> None:
    with pytest.raises(DecodeError):
        statement.check_cap(text, "1e-5")
    with pytest.raises(DecodeError):
        statement.check_cap("1", text)


@pytest.mark.parametrize(
    ("q", "sigma", "steps"),
    [
        ("0.01", "1", events.STEPS_LIMIT + 1),
        ("0.01", "1", 1 << 62),
        ("0.01", "1", -1),
        ("1e-300", "1", 10),
        ("0.01", "1e-300", 10),
        ("0.01", "1e300", 10),
    ],
)
def test_a_run_beyond_what_an_accountant_can_compose_is_no_event(
    q: str, sigma: str, steps: int
) -> None:
    with pytest.raises(DecodeError, match="privacy event"):
        PrivacyEvent(
            mechanism="dp-sgd", sampling_probability=q, noise_multiplier=sigma, steps=steps
        )


def runs(count: int, steps: int = 1) -> list[PrivacyEvent]:
    return [dp_sgd_event(0.01, 1 + number / 1000, steps) for number in range(count)]


def test_a_lineage_holds_as_many_kinds_of_runs_as_can_be_composed() -> None:
    lineage = LineageState("l", "3", "1e-5")
    for event in runs(events.RUNS_LIMIT):
        lineage.add(event)
    with pytest.raises(VerificationError, match="at most"):
        lineage.add(dp_sgd_event(0.5, 3, 1))
    with pytest.raises(PolicyRefused, match="at most"):
        accounting.epsilon(runs(events.RUNS_LIMIT + 1), 1e-5)


def test_a_lineage_holds_as_many_steps_as_can_be_composed() -> None:
    lineage = LineageState("l", "3", "1e-5")
    lineage.add(dp_sgd_event(0.01, 1, events.STEPS_LIMIT))
    with pytest.raises(VerificationError, match="at most"):
        lineage.add(dp_sgd_event(0.01, 1, 1))
    with pytest.raises(PolicyRefused, match="at most"):
        accounting.epsilon([dp_sgd_event(0.01, 1, events.STEPS_LIMIT)] * 2, 1e-5)


def test_releases_left_counts_no_further_than_the_limit_of_steps() -> None:
    event = dp_sgd_event(1e-9, 1e6, events.STEPS_LIMIT // 4)
    assert accounting.releases_left([], event, 1.0, 1e-5) == 4


def test_the_second_opinion_widens_its_bracket_instead_of_its_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = dp_sgd_event(0.01, 1, 1000)
    narrow = independent.epsilon_bounds([event], 1e-5)
    monkeypatch.setattr(independent, "BINS_LIMIT", 1 << 15)
    wide = independent.epsilon_bounds([event], 1e-5)
    assert wide.upper - wide.lower > 2 * (narrow.upper - narrow.lower)
    assert wide.lower <= narrow.estimate <= wide.upper


def test_a_bracket_that_would_say_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(independent, "BINS_LIMIT", 1 << 12)
    with pytest.raises(VerificationError, match="checks nothing"):
        independent.epsilon_bounds([dp_sgd_event(0.01, 1, 1000)], 1e-5)


def test_lists_that_every_entry_is_compared_with_are_bounded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, act in (
        ("DATASETS_LIMIT", lambda ledger: site.register(ledger, "more", b"more")),
        ("WITNESSES_LIMIT", lambda ledger: ledger.enrol_witness("w.example", bytes(range(32)))),
    ):
        monkeypatch.setattr(state, name, 1)
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
                canonical.decode(entries.Head, data, what="head")
