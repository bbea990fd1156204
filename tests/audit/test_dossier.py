"""Each line of the dossier stands on evidence, and is not evidenced where that is taken away."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.core.ledger.conftest import ORIGIN

from wg_audit import auditor_page, dossier, dossier_answers, verification
from wg_audit.cli import group
from wg_audit.dossier_answers import AnswerWithEvidence, LogRecords
from wg_common.language import LANGUAGE_CODES
from wg_common.translations import shared_language
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger

if TYPE_CHECKING:
    from tests.audit.conftest import Exported
    from tests.core.ledger.conftest import Site

NEVER = {
    "bias of the data",
    "empirical audit",
    "access to the records",
    "how the data were collected, and who else has them",
    "6.2.2 security and privacy practices",
    "6.3.3 privacy-related harms",
    "8.2.3 adversarial testing",
    "8.3.2 reconfiguring the environment",
    "9.2.5 communicating with stakeholders",
}
"""What no log can answer."""
INCIDENTS = "9.4 mitigation in case of incident"
OF_THE_SERVER = {
    "other releases of the same data",
    "the record of releases is complete and unchanged",
    "what the recipient got",
    "6.3.2 transparency and stakeholders",
    "8.3.4 re-evaluation",
    "9.3.2 monitoring the data environment",
}
OF_CHARGES = {
    "accuracy of what is released",
    "ε and δ of all releases together",
    "variant of differential privacy",
    "unit and neighbouring relation",
    "several records of a unit",
    "mechanism and accountant",
    "sensitivity and noise",
    "sampling of noise",
    "program",
    "noise on small classes",
    "who gets what, and for what",
    "floating point",
    "timing",
    "what is not protected",
    "6.2.3 motives and capacity to re-identify",
    "7.2.2 data principals",
    "7.2.3 data type",
    "7.2.4 attribute types",
    "7.3.2 maximum or average risk",
    "7.3.3 population or sample-based attack",
    "7.3.4 data privacy models",
    "8.2.2 quantifying identifiability",
    "8.3.3 transforming the data",
    "9.2.4 managing a data disclosure",
}
OF_DECISIONS = {"who decides on requests", "9.2.2 roles and responsibilities"}
OF_DATASETS = {"budget", "7.2.5 dataset properties", "9.2.3 principles, policies and procedures"}


def fill(site: Site, ledger: Ledger, *, without: str = "") -> None:
    """Entries of every kind that a line stands on, but one."""
    if without != "decision":
        ledger.record_decision(
            partial(
                entries.Decision,
                request_id="r1",
                dataset="parts",
                epsilon="1",
                delta="1e-5",
                purpose="first model",
                recipient="server.example",
                approved=True,
                name="Aiko Sato",
            ),
        )
    if without == "charge":
        return
    site.release(ledger, "r1")


def records_of(site: Site, exported: Exported, *, without: str = "") -> LogRecords:
    """A log that a server cosigned, with what the server has, but for one kind of evidence."""
    with site.create() as ledger:
        fill(site, ledger, without=without)
        note = site.cosign(ledger)
        exported.saw(ORIGIN, site.key, note)
        if without not in ("file", "charge"):
            exported.received(ledger, site, "r1")
    server = None if without == "server" else exported.folder
    return dossier_answers.read_log_records(
        site.path, verification.audit_log(site.path, server=server)
    )


def answered(records: LogRecords) -> set[str]:
    """Topics with evidence, by either form."""
    lines = [
        x for form in dossier.answer_forms(records) for part in form.sections for x in part.lines
    ]
    assert len({line.topic for line in lines}) == len(lines)
    for line in lines:
        assert all(answer.says and answer.where for answer in line.evidence), line
    return {line.topic for line in lines if line.evidence}


def test_a_full_log_answers_all_but_what_no_log_can(site: Site, exported: Exported) -> None:
    records = records_of(site, exported)
    topics = {x.topic for f in dossier.answer_forms(records) for s in f.sections for x in s.lines}
    assert topics - answered(records) == NEVER | {INCIDENTS}


@pytest.mark.parametrize(
    ("without", "vanished"),
    [
        ("server", OF_THE_SERVER),
        ("file", {"what the recipient got", "8.3.4 re-evaluation"}),
        ("decision", OF_DECISIONS),
        ("charge", OF_CHARGES | {"what the recipient got", "8.3.4 re-evaluation"}),
    ],
)
def test_a_line_vanishes_with_its_evidence(
    site: Site, exported: Exported, tmp_path: Path, without: str, vanished: set[str]
) -> None:
    records = records_of(site, exported, without=without)
    expected = OF_THE_SERVER | OF_CHARGES | OF_DECISIONS | OF_DATASETS
    assert answered(records) == expected - vanished


def test_without_a_data_set_there_is_no_budget(site: Site) -> None:
    with Ledger.create(site.path, origin=ORIGIN, key=site.key, site="plant-a"):
        pass
    assert (
        answered(dossier_answers.read_log_records(site.path, verification.audit_log(site.path)))
        == set()
    )


def test_an_answer_says_where_it_stands(site: Site, exported: Exported) -> None:
    records = records_of(site, exported)
    lines = {x.topic: x for f in dossier.answer_forms(records) for s in f.sections for x in s.lines}

    def one(topic: str) -> AnswerWithEvidence:
        (answer,) = lines[topic].evidence
        return answer

    (first,) = (charge.head.seq for charge in records.charges)
    (account,) = records.result.accounts
    spent = one("8.2.2 quantifying identifiability")
    assert f"ε {account.primary:.4f} of a cap of 3" in spent.says
    assert spent.where == f"computed from entries {first}"
    assert one("accuracy of what is released").where == f"computed from entries {first}"
    assert one("what the recipient got").where == "compared with r1.wgs"
    sigma = float.fromhex(records.charges[0].mechanism.sigma)
    weight = records.charges[0].mechanism.blocks[0].weight
    assert f"standard deviation of {sigma / weight:.3g}" in one("noise on small classes").says


def test_a_guess_is_right_no_more_often_than_epsilon_and_delta_allow(
    site: Site, exported: Exported
) -> None:
    records = records_of(site, exported)
    (account,) = records.result.accounts
    for epsilon, delta, share in ((1.0, 0.0, "73.1"), (0.1, 1e-5, "52.5"), (800.0, 0.5, "100.0")):
        changed = dataclasses.replace(account, primary=epsilon, delta=delta)
        finding = dataclasses.replace(records.result, accounts=[changed])
        assert any(
            f"at most {share} % of the time" in answer.says
            for form in dossier.answer_forms(dataclasses.replace(records, result=finding))
            for section in form.sections
            for line in section.lines
            for answer in line.evidence
        )


def test_a_new_key_and_a_log_before_are_incidents(site: Site) -> None:
    with site.create() as ledger:
        ledger.rotate_key(site.signing_key)
        (turned,) = [
            seq
            for seq in range(ledger.size)
            if isinstance(entries.decode(ledger.entry_bytes(seq)), entries.Rotation)
        ]
    records = dossier_answers.read_log_records(site.path, verification.audit_log(site.path))
    (answer,) = dossier.answer_forms(records)[1].sections[-1].lines[-1].evidence
    assert answer.where == f"stated in entries {turned}"


def test_no_page_capitalizes_a_symbol(site: Site, exported: Exported) -> None:
    records = records_of(site, exported)
    for code in LANGUAGE_CODES:
        page = auditor_page.render_auditor_page(records, shared_language(code))
        assert "ε" in page and "Ε" not in page  # the capital letter looks like an E


def test_page_and_document_say_the_same(site: Site, exported: Exported, tmp_path: Path) -> None:
    records = records_of(site, exported)
    page = auditor_page.render_auditor_page(records)
    lines = [x for f in dossier.answer_forms(records) for s in f.sections for x in s.lines]
    assert page.count(">not evidenced<") == sum(not line.evidence for line in lines)
    words = ["verify", str(site.path), "--server", str(exported.folder), "--json"]
    done = CliRunner().invoke(group, [*words, "--report", str(tmp_path / "audit.html")])
    document = json.loads(done.stdout)["dossier"]
    assert [form["name"] for form in document] == ["NIST SP 800-226", "ISO/IEC 27559:2022"]
    assert [
        [answer["says"] for answer in line["evidence"]]
        for form in document
        for section in form["sections"]
        for line in section["lines"]
    ] == [[str(answer.says) for answer in line.evidence] for line in lines]
