"""A person decides: a request waits, is answered as approved, and the ledger has the name."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.client.cli.conftest import Json, run_here
from tests.client.conftest import MakePlant, TestPlant

from wg_audit import dossier_answers, verification
from wg_audit.auditor_page import render_auditor_page
from wg_core import errors
from wg_core.errors import ApprovalPending, PolicyRefused, UsageError, VerificationError
from wg_core.release import approval
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import answer_query, open_ledger
from wg_core.site.config import PrivacyConfig
from wg_core.wire import flower_messages
from wg_core.wire.protocol import StatisticsQuery

BY_HAND = PrivacyConfig(answer_slot_seconds=0.05, approve="human")


@pytest.fixture
def here(capfd: pytest.CaptureFixture[str]) -> Json:
    return run_here(capfd)


@pytest.fixture
def plant(make_plant: MakePlant) -> TestPlant:
    return make_plant({0: 2, 1: 2}, privacy=BY_HAND)


def _wait(plant: TestPlant, **changes: object) -> StatisticsQuery:
    """A request that came, and waits."""
    query = plant.query(**changes)
    with pytest.raises(ApprovalPending, match="waits for a person"):
        answer_query(plant.home, query, witness=plant.witness)
    return query


def test_a_request_waits_costs_nothing_and_is_answered_after_the_decision(
    plant: TestPlant, here: Json
) -> None:
    query = _wait(plant)
    with pytest.raises(ApprovalPending):
        answer_query(plant.home, query, witness=plant.witness)
    assert (
        read_plant_spending(plant.home, plant.config).charge_count == 0 and plant.witness.asked == 0
    )
    home = ("--home", plant.home.root)
    (row,) = here("requests", *home)["requests"]
    assert row["state"] == "waiting" and row["epsilon"] == "1" and row["purpose"] == "test"
    shown = here("requests", *home, query.request_id[:16])
    assert shown["cost"]["allowed"] and shown["would_leave"]["integers"] > 0
    done = here("requests", *home, query.request_id[:16], "--approve", "--by", "佐藤 (QA)")
    assert done["state"] == "approved" and done["by"] == "佐藤 (QA)"
    data = answer_query(plant.home, query, witness=plant.witness)
    assert answer_query(plant.home, query, witness=plant.witness) == data
    assert here("requests", *home)["requests"][0]["state"] == "answered"
    found = verification.audit_log(plant.home.root)
    assert "佐藤 (QA)" in " ".join(found.remark_sentences) and "charges by policy alone: 0" in str(
        found.remark_sentences
    )
    assert found.to_json()["decisions"][0]["approved"]
    page = render_auditor_page(dossier_answers.read_log_records(plant.home.root, found))
    assert "Decisions of people" in page and "佐藤 (QA)" in page
    late = here(
        "requests",
        *home,
        query.request_id,
        "--deny",
        "--by",
        "x",
        code=errors.ExitCode.VERIFICATION,
    )
    assert "decided after its charge" in late["error"]["message"]


def test_a_denied_request_is_refused_and_a_mind_may_change(plant: TestPlant, here: Json) -> None:
    query = _wait(plant)
    words = ("--home", plant.home.root, query.request_id, "--by", "works council")
    here("requests", *words, "--deny")
    with pytest.raises(PolicyRefused, match="denied by works council"):
        answer_query(plant.home, query, witness=plant.witness)
    here("requests", *words, "--approve")
    answer_query(plant.home, query, witness=plant.witness)


def test_what_was_approved_is_one_request_at_one_price(plant: TestPlant) -> None:
    query = _wait(plant)
    with open_ledger(plant.home) as ledger:
        approval.record_decision(plant.config, ledger, query, is_approved=True, person_name="A")
    changes: tuple[dict[str, Any], ...] = (
        {"epsilon": "2"},
        {"delta": "1e-6"},
        {"purpose": "other"},
    )
    for change in changes:
        with pytest.raises(PolicyRefused, match="approved was"):
            answer_query(plant.home, replace(query, **change), witness=plant.witness)
    _wait(plant)  # another request of the same kind waits for itself
    answer_query(plant.home, replace(query, epsilon="1.0"), witness=plant.witness)


def test_the_ledger_itself_refuses_a_charge_that_was_not_approved(plant: TestPlant) -> None:
    query = _wait(plant)
    with open_ledger(plant.home) as ledger:
        approval.record_decision(plant.config, ledger, query, is_approved=False, person_name="A")
    plant.configure(privacy=replace(BY_HAND, approve="policy"))  # somebody changes the file
    with pytest.raises(VerificationError, match=r"was denied \(entry"):
        answer_query(plant.home, query, witness=plant.witness)
    with open_ledger(plant.home) as ledger:
        approval.record_decision(plant.config, ledger, query, is_approved=True, person_name="A")
    with pytest.raises(VerificationError, match="epsilon is 2, approved was 1"):
        answer_query(plant.home, replace(query, epsilon="2"), witness=plant.witness)
    assert read_plant_spending(plant.home, plant.config).charge_count == 0


@pytest.mark.parametrize("name", ["", " a", "a\nb", "x" * 101, "\u202ea"])
def test_a_name_is_one_line_that_can_be_read(plant: TestPlant, name: str) -> None:
    query = _wait(plant)
    with open_ledger(plant.home) as ledger, pytest.raises(UsageError, match="--by"):
        approval.record_decision(plant.config, ledger, query, is_approved=True, person_name=name)


def test_a_server_cannot_fill_the_disk_and_what_expired_is_forgotten(
    plant: TestPlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approval, "WAITING_REQUESTS_LIMIT", 2)
    queries = [_wait(plant) for _ in range(3)]
    current_time = time.time()
    assert len(approval.list_waiting_requests(plant.home, current_time)) == 2
    with pytest.raises(errors.ConfigError, match="0 requests begin with it"):
        approval.find_waiting_request(plant.home, queries[2].request_id, current_time)
    with pytest.raises(errors.ConfigError, match="2 requests"):
        approval.find_waiting_request(plant.home, "", current_time)
    assert approval.list_waiting_requests(plant.home, current_time + 10_000) == []
    assert not list(plant.home.waiting_requests.iterdir())


def test_a_release_by_command_needs_a_name(plant: TestPlant, tmp_path: Path, here: Json) -> None:
    words = ("statistics", "--home", plant.home.root, "--epsilon", "1", "--out", tmp_path / "s.wgs")
    refused = here(*words, code=errors.ExitCode.REFUSED)
    assert "--by NAME" in refused["error"]["message"] and not (tmp_path / "s.wgs").exists()
    assert here(*words, "--by", "QA lead")["charged"]
    with open_ledger(plant.home) as ledger:
        kinds = [
            one for one in range(ledger.size) if b'"kind":"decision"' in ledger.entry_bytes(one)
        ]
    assert len(kinds) == 1


def test_a_name_where_the_policy_decides_is_a_wrong_call(
    make_plant: MakePlant, tmp_path: Path, here: Json
) -> None:
    plant = make_plant({0: 2}, privacy=replace(BY_HAND, approve="policy"))
    words = ("statistics", "--home", plant.home.root, "--out", tmp_path / "s.wgs", "--by", "A")
    assert "'policy'" in here(*words, code=errors.ExitCode.USAGE)["error"]["message"]
    assert here("requests", "--home", plant.home.root)["requests"] == []


def test_the_word_for_the_server_says_nothing_else() -> None:
    assert ApprovalPending.code == flower_messages.AWAITING_APPROVAL
    assert (
        flower_messages.AWAITING_APPROVAL in flower_messages.QUERY_REFUSAL_WORDS
        and flower_messages.AWAITING_APPROVAL in flower_messages.REFUSAL_MEANINGS
    )
