"""A question at epsilon 0 gets names and sheet, costs nothing, and stands on the ledger."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.client.conftest import WITNESS, MakePlant, TestPlant
from tests.core.wire.test_data_sheet import SHEETS

from wg_audit import dossier_answers, verification
from wg_audit.auditor_page import render_auditor_page
from wg_core.errors import DecodeError, PolicyRefused, VerificationError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.release.budget import read_plant_spending
from wg_core.release.query_answers import answer_query
from wg_core.site import config as configuration
from wg_core.site.config import PrivacyConfig
from wg_core.wire import bundle, signing, statistics_file
from wg_core.wire.bundle import StatementBundle
from wg_core.wire.protocol import STATEMENT_EPSILON
from wg_server.fleet import bundle_verification

SHEET = SHEETS[0]


@pytest.fixture
def plant(make_plant: MakePlant) -> TestPlant:
    return make_plant({0: 2, 1: 2})


def _open(plant: TestPlant, data: bytes, *, cosigned: bool = True) -> entries.PublicStatement:
    return bundle_verification.verify_statement_bundle(
        bundle.decode_statement(data),
        ledger_origin=plant.origin,
        ledger_key=signing.public_from_bytes(plant.ledger_key),
        witness_name=WITNESS if cosigned else None,
        witness_key=plant.witness.key.public_key() if cosigned else None,
    )


def _entries(plant: TestPlant) -> int:
    with Ledger.open(plant.home.ledger) as ledger:
        return ledger.size


def test_the_statement_is_covered_and_nothing_is_charged(plant: TestPlant, tmp_path: Path) -> None:
    plant.configure(data_sheet=SHEET)
    assert configuration.load(plant.home).data_sheet == SHEET
    data = answer_query(plant.home, plant.query(epsilon=STATEMENT_EPSILON), witness=plant.witness)
    statement = _open(plant, data)
    assert statement.labels == plant.config.data.labels and statement.data_sheet == SHEET
    assert (statement.site, statement.encoder) == (plant.config.site, plant.encoder)
    assert statement.recipient == plant.config.server.name
    spend = read_plant_spending(plant.home, plant.config)
    assert (spend.charge_count, spend.epsilon) == (0, 0.0)
    (tmp_path / "x.wgs").write_bytes(data)
    finding = verification.audit_log(plant.home.root, statistics=[tmp_path / "x.wgs"])
    document = finding.to_json()
    assert document["verdict"]["word"] == "holds by itself" and document["statements"] == 1
    assert (document["charges"], document["epsilon"]["primary"]) == (0, 0.0)
    assert "nothing charged: 1" in " ".join(finding.remark_sentences)
    assert "nothing charged: 1" in render_auditor_page(
        dossier_answers.read_log_records(plant.home.root, finding)
    )


def test_asking_again_does_not_make_the_ledger_grow(plant: TestPlant) -> None:
    first = answer_query(plant.home, plant.query(epsilon=STATEMENT_EPSILON), witness=plant.witness)
    size, entry = _entries(plant), bundle.decode_statement(first).entry
    for purpose in ("a", "b"):
        query = plant.query(epsilon=STATEMENT_EPSILON, purpose=purpose)
        again = answer_query(plant.home, query, witness=plant.witness)
        assert bundle.decode_statement(again).entry == entry
    assert _entries(plant) == size
    plant.configure(data_sheet=SHEET)
    again = answer_query(plant.home, plant.query(epsilon=STATEMENT_EPSILON), witness=plant.witness)
    assert _open(plant, again).data_sheet == SHEET and _entries(plant) == size + 1


def test_a_statement_needs_neither_a_snapshot_nor_a_person(plant: TestPlant) -> None:
    for path in plant.home.snapshots.glob("*"):
        path.rename(plant.home.root / path.name)
    plant.configure(privacy=replace(plant.config.privacy, approve="human"))
    assert _open(
        plant,
        answer_query(plant.home, plant.query(epsilon=STATEMENT_EPSILON), witness=plant.witness),
    )


def test_over_the_air_gap_the_file_can_be_witnessed(plant: TestPlant) -> None:
    answer_query(plant.home, plant.query(epsilon=STATEMENT_EPSILON), witness=None)
    data = answer_query(plant.home, plant.query(epsilon=STATEMENT_EPSILON), witness=None)
    assert _open(plant, data, cosigned=False)
    with pytest.raises(VerificationError, match="cosign"):
        _open(plant, data)
    requests = bundle_verification.witness_requests(bundle.decode_statement(data))
    assert plant.witness(requests[0].encode())


def test_the_policy_holds_for_statements(plant: TestPlant) -> None:
    for changes in ({"expires": 1}, {"site": "plant-b"}, {"encoder": "0" * 64}):
        with pytest.raises(PolicyRefused):
            answer_query(
                plant.home, plant.query(epsilon=STATEMENT_EPSILON, **changes), witness=plant.witness
            )
    for epsilon in ("0.0", "00", "-0", "0e1"):  # one spelling
        with pytest.raises(PolicyRefused):
            answer_query(plant.home, plant.query(epsilon=epsilon), witness=plant.witness)
    plant.configure(privacy=PrivacyConfig(purposes=("pooling",)))
    with pytest.raises(PolicyRefused, match="purpose"):
        answer_query(plant.home, plant.query(epsilon=STATEMENT_EPSILON), witness=plant.witness)


def test_a_release_has_the_sheet_and_the_ledger_states_it_before(plant: TestPlant) -> None:
    plant.configure(data_sheet=SHEET)
    data = answer_query(plant.home, plant.query(), witness=plant.witness)
    release = bundle.decode_statistics(data).release
    assert statistics_file.read_manifest(release).data_sheet == SHEET
    charge = entries.decode(bundle.decode_statistics(data).charge_entry)
    with Ledger.open(plant.home.ledger) as ledger:
        stated = entries.decode(ledger.entry_bytes(charge.head.seq - 1))
    assert isinstance(stated, entries.PublicStatement) and stated.data_sheet == SHEET
    assert verification.audit_log(plant.home.root).to_json()["statements"] == 1


def test_a_forged_statement_is_refused(plant: TestPlant, tmp_path: Path) -> None:
    data = answer_query(plant.home, plant.query(epsilon=STATEMENT_EPSILON), witness=plant.witness)
    good = bundle.decode_statement(data)
    entry = entries.decode(good.entry)
    assert isinstance(entry, entries.PublicStatement)
    forged = entries.encode(replace(entry, labels=("other", "names")))
    file = bundle.encode(StatementBundle(forged, good.proof))
    with pytest.raises(VerificationError):
        _open(plant, file)
    (tmp_path / "x.wgs").write_bytes(file)
    with pytest.raises(VerificationError, match="which the log"):
        verification.audit_log(plant.home.root, statistics=[tmp_path / "x.wgs"])
    with Ledger.open(plant.home.ledger) as ledger:
        genesis = StatementBundle(ledger.entry_bytes(0), ledger.inclusion_proof(0, witness=WITNESS))
    with pytest.raises(VerificationError, match="genesis"):
        _open(plant, bundle.encode(genesis))
    with pytest.raises(DecodeError):
        bundle.decode_statement(data[:-1])
    for labels in ((), ("a", "a"), ("a", "")):
        with pytest.raises(DecodeError, match=r"unique names|1 to 100 printable"):
            replace(entry, labels=labels)
