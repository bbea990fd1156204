"""The headline is the sum over all that is known; what two names or units hide is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.audit.workshop import NEW_ORIGIN
from tests.core.ledger.conftest import closed_form

from wg_audit import lookalikes, verification
from wg_core.ledger import log_succession
from wg_core.ledger.budget_ledger import Ledger
from wg_core.privacy.events import PrivacyEvent

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site

    from wg_core.ledger.charging import ChargeRequest

LOOK_ALIKES = ["parts", "pаrts", "ｐａｒｔｓ", "Parts", "рarts", "pаrtѕ", "PARTS", "pärts"]


def composed(*requests: ChargeRequest) -> float:
    units = sum(int(request.event.mu_squared) for request in requests)
    return closed_form([PrivacyEvent(mechanism="gaussian", mu_squared=str(units))], 1e-5)


def test_budgets_under_names_that_look_alike_are_added_and_the_names_are_told_apart(
    site: Site,
) -> None:
    requests = []
    with site.create() as ledger:
        for number, name in enumerate(LOOK_ALIKES):
            site.register(ledger, name, b"data of %d" % number if number else b"data")
            requests.append(site.request(f"r{number}", "2.5", name))
            ledger.charge(requests[-1])
    verdict = verification.audit_log(site.path).verdict
    assert verdict.total is not None and verdict.total.budgets == len(LOOK_ALIKES)
    assert verdict.total.epsilon == pytest.approx(composed(*requests), rel=1e-6)
    assert verdict.total.epsilon > 7 and verdict.total.cap_epsilon == 3
    assert f"{verdict.total.epsilon:.4f} of 3" in verdict.headline()
    (question,) = [x for x in verdict.not_checked if "look alike" in x]
    assert r"p\u0430rts" in question and "parts" in question


def test_several_budgets_are_at_most_partly_verified(site: Site) -> None:
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        site.register(ledger, "welds", b"other data")
        assert not several(site)  # nothing was spent of the second
        ledger.charge(site.request("w1", "0.5", "welds"))
        assert several(site)
        site.register(ledger, "welds", b"data")  # the content of the first: they are one from here
        assert not several(site)


def several(site: Site) -> bool:
    return any("2 budgets" in x for x in verification.audit_log(site.path).verdict.not_checked)


def test_spend_of_a_log_that_is_not_inherited_is_in_the_sum(site: Site, tmp_path: Path) -> None:
    with site.create() as ledger:
        first = site.request("r1", "1")
        ledger.charge(first)
    path = tmp_path / "new.sqlite"
    second = site.request("r2", "2")
    with Ledger.create(path, origin=NEW_ORIGIN, key=site.key, site="plant-a") as new:
        new.accountant = closed_form
        site.register(new, "parts")
        new.charge(second)
    verdict = verification.audit_log(path, previous=[site.path]).verdict
    assert verdict.word == "budget unknown" and verdict.total is not None
    assert verdict.total.epsilon == pytest.approx(composed(first, second), rel=1e-6)
    assert verdict.total.logs == 1


def test_inherited_spend_is_counted_once(site: Site, tmp_path: Path) -> None:
    with site.create() as ledger:
        first = site.request("r1", "1")
        ledger.charge(first)
    path = tmp_path / "new.sqlite"
    Ledger.create(
        path,
        origin=NEW_ORIGIN,
        key=site.signing_key,
        site="plant-a",
        predecessor=log_succession.read_predecessor(site.path, "lost"),
    ).close()
    verdict = verification.audit_log(path, previous=[site.path]).verdict
    assert verdict.total is not None and verdict.total.logs == 0
    assert verdict.total.epsilon == pytest.approx(composed(first), rel=1e-6)


def of_parts(request: ChargeRequest, unit: str = "part") -> ChargeRequest:
    """The request as a plant makes it that names a unit column."""
    guarantee = dataclasses.replace(
        request.guarantee, unit=unit, records_per_unit="the m records of a unit weigh 1/m each"
    )
    return dataclasses.replace(request, guarantee=guarantee)


def test_two_privacy_units_in_one_sum_are_a_problem(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wg_core.ledger.budget_ledger.check_same_privacy_unit", lambda *_: None)
    with site.create() as ledger:
        ledger.charge(of_parts(site.request("r1", "1")))
        assert verification.audit_log(site.path).verdict.word == "holds by itself"
        ledger.charge(site.request("r2", "0.5"))
    verdict = verification.audit_log(site.path).verdict
    assert verdict.word == "two units" and verdict.exit_code == 5
    assert "part and record" in verdict.problems[0] or "part, record" in verdict.problems[0]


def test_a_unit_before_and_another_one_after_a_lost_key_are_two(site: Site, tmp_path: Path) -> None:
    with site.create() as ledger:
        ledger.charge(of_parts(site.request("r1", "1")))
    path = tmp_path / "new.sqlite"
    old = log_succession.read_predecessor(site.path, "lost")
    with Ledger.create(
        path, origin=NEW_ORIGIN, key=site.signing_key, site="plant-a", predecessor=old
    ) as new:
        new.accountant = closed_form
        site.register(new, "parts")
        new.charge(site.request("r2", "0.5"))
    assert verification.audit_log(path).verdict.word == "holds by itself"
    assert verification.audit_log(path, previous=[site.path]).verdict.word == "two units"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("parts", "pаrts"),
        ("plant-a", "plant‐а"),
        ("line 1", "line l"),
        ("A_1", "a-1"),
        ("kerning", "keming"),
        ("ロット1", "口ット１"),
        ("タービン", "夕ーピン"[:2] + "ビン"),
        ("ﾊﾟｰﾂ", "パーツ"),
        ("Ⅳ", "iv"),
    ],
)
def test_names_that_look_alike_have_one_skeleton(one: str, other: str) -> None:
    assert lookalikes.lookalike_groups([one, other, "something else"]) == [
        tuple(sorted((one, other)))
    ]


@pytest.mark.parametrize(
    ("one", "other"), [("parts", "welds"), ("line 2", "line 3"), ("バリ", "ハリ"), ("傷", "打痕")]
)
def test_other_names_are_other_names(one: str, other: str) -> None:
    assert lookalikes.lookalike_groups([one, other]) == []
