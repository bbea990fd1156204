"""The auditor: figures by two code bases, received files, remarks, and the command line."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from wg_audit import auditor_page, dossier_answers, verdict_formats, verification
from wg_audit.cli import group
from wg_common import cli
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger.budget_ledger import Ledger
from wg_core.privacy import accounting
from wg_core.wire import bundle

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site


@pytest.fixture
def home(site: Site) -> Path:
    """A client's home: two releases, one burned charge, one cosignature."""
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        site.cosign(ledger)
        ledger.charge(site.request("r2", "0.25"))
        site.release(ledger, "r3", "0.5")
    return site.folder


def run(*words: str) -> tuple[int, dict[str, Any]]:
    """A command with ``--json``; exit code and document."""
    result = CliRunner().invoke(group, [*words, "--json"], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    document: dict[str, Any] = json.loads(result.stdout)
    return result.return_value or 0, document


def test_verify_prints_both_figures(home: Path) -> None:
    _, document = run("verify", str(home))
    epsilon = document["epsilon"]
    assert document["verdict"]["word"] == "holds by itself" and document["delta"] == 1e-5
    assert abs(epsilon["primary"] - epsilon["independent"]) < 1e-3
    assert 1 < epsilon["primary"] < 1.5
    assert (document["charges"], document["releases"], document["burned"]) == (3, 2, 1)
    assert document["burned_charges"][0]["request_id"] == "r2"


def test_an_export_verifies_like_the_home(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.wgl"
    _, written = run("export", "--home", str(home), "--out", str(out))
    assert written["entries"] == run("verify", str(out))[1]["entries"]
    found = [run("verify", str(path))[1] for path in (out, home)]
    for document in found:
        document["verdict"]["freshness"].pop("checked")  # the time of day
    assert found[0] == found[1]


def test_keys_from_enrolment_are_compared(site: Site, home: Path) -> None:
    good = site.key.public_key().raw.hex()
    watcher = site.witness_key.public_key().raw.hex()
    _, document = run(
        "verify",
        str(home),
        "--ledger-key",
        good,
        "--witness-key",
        f"server.example/witness={watcher}",
    )
    assert document["verdict"]["ledger_key"]["source"] == "given"
    assert [w["source"] for w in document["verdict"]["witnesses"]] == ["given"]
    with pytest.raises(VerificationError, match="expected"):
        run("verify", str(home), "--ledger-key", watcher)


def test_a_broken_log_exits_with_5_and_one_json_document(
    site: Site, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(site.path.read_bytes())
    place = data.index(b'"request_id":"r1"') + 16
    data[place : place + 1] = b"9"
    site.path.write_bytes(bytes(data))
    with pytest.raises(SystemExit) as caught:
        cli.run_program(group, ["verify", str(home), "--json"])
    assert caught.value.code == 5
    assert "entry" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_received_files_are_each_covered_by_one_release(
    site: Site, home: Path, tmp_path: Path
) -> None:
    received = tmp_path / "received"
    received.mkdir()
    with site.open() as ledger:
        site.cosign(ledger)
        covered = site.covered(ledger, "r1")
    (received / "a.wgs").write_bytes(bundle.encode(covered))
    _, document = run("verify", str(home), "--statistics", str(received))
    assert [item["file"] for item in document["received"]] == ["a.wgs"]
    other = dataclasses.replace(
        covered, release=covered.release[:-1] + bytes([covered.release[-1] ^ 1])
    )
    (received / "b.wgs").write_bytes(bundle.encode(other))
    with pytest.raises(VerificationError, match="covered by 0 RELEASE entries"):
        run("verify", str(home), "--statistics", str(received))
    (received / "b.wgs").write_bytes(b"junk")
    with pytest.raises(DecodeError, match=r"b\.wgs"):
        run("verify", str(home), "--statistics", str(received))


def test_remarks_say_what_to_look_at(site: Site, home: Path) -> None:
    finding = verification.audit_log(home)
    remarks = " ".join((*finding.remark_sentences, *finding.verdict.not_checked))
    for words in ("--ledger-key", "charges without a release (burned): 1", "not cosigned yet"):
        assert words in remarks


def test_a_log_without_charges_verifies(site: Site, ledger: Ledger) -> None:
    document = verification.audit_log(site.path).to_json()
    assert document["epsilon"]["primary"] == 0 and document["burned"] == 0


def test_disagreeing_code_bases_are_an_error(
    site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "composed_epsilon", lambda events, delta: 1.0)
    with pytest.raises(VerificationError, match="by other code"):
        verification.audit_log(home)


def test_the_report_is_self_contained_and_complete(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    _, said = run("verify", str(home), "--report", str(out))
    assert {form["name"] for form in said.pop("dossier")} == {
        "NIST SP 800-226",
        "ISO/IEC 27559:2022",
    }
    again = run("verify", str(home))[1]
    for document in (said, again):
        document["verdict"]["freshness"].pop("checked")  # the time of day
    assert said == again
    page = out.read_text()
    for outside in ("http://", "https://", "<script", "<link", "@import", "src="):
        assert outside not in page
    for words in ("Holds by itself", "burned", "r1", "r2", "r3", "server.example/witness"):
        assert words in page
    assert page.count('class="charge"') == 3 and "SP 800-226" in page


def test_names_are_escaped_in_the_report(site: Site, ledger: Ledger) -> None:
    site.register(ledger, "<script>alert(1)</script>", b"other")
    page = auditor_page.render_auditor_page(
        dossier_answers.read_log_records(site.path, verification.audit_log(site.path))
    )
    assert "<script>" not in page and "&lt;script&gt;" in page


def test_a_report_on_an_empty_log_renders(site: Site, ledger: Ledger) -> None:
    page = auditor_page.render_auditor_page(
        dossier_answers.read_log_records(
            site.path, verification.audit_log(site.path, current_time=1_700_000_000)
        )
    )
    assert "Nothing was charged" in page and "2023-11-14" in page


def test_a_year_beyond_the_calendar_does_not_break_the_report() -> None:
    assert verdict_formats.format_utc(10**18) == f"{10**18} s"


def test_the_audit_program_starts_fast_and_light() -> None:
    code = (
        "import sys, wg_audit.cli; "
        "print([m for m in ('torch','flwr','numpy','scipy','dp_accounting','jinja2') "
        "if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_verification_needs_neither_torch_nor_flwr(home: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from wg_audit import auditor_page, dossier_answers, verification; "
        "path = Path(sys.argv[1]); "
        "found = verification.audit_log(path); "
        "records = dossier_answers.read_log_records(path, found); "
        "auditor_page.render_auditor_page(records); "
        "print([m for m in ('torch','flwr','torchvision') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
