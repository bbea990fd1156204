"""The verdict: on whose word, how fresh, after which log; and what was not checked."""

# long: a case for each line that a verdict can have

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.audit.conftest import Exported
from tests.audit.workshop import DAY, NEW_ORIGIN
from tests.core.ledger.conftest import ORIGIN, WITNESS, Site, cosign_newest

from wg_audit import auditor_page, dossier_answers, verification
from wg_audit.cli import group
from wg_audit.verdict_formats import format_duration
from wg_common.auditor_record import Succession
from wg_core.errors import ConfigError, DecodeError, ExitCode, UsageError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import log_succession
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.wire import signing
from wg_core.wire.signing import PrivateKey


def run(*words: str | Path) -> tuple[int, str, str]:
    """A command; exit code, standard output, standard error."""
    result = CliRunner().invoke(group, [str(word) for word in words], standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.return_value or 0, result.stdout, result.stderr


@pytest.fixture
def full(site: Site, exported: Exported) -> bytes:
    """Two releases, cosigned, received and seen by the server; the newest checkpoint."""
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        site.release(ledger, "r2", "0.5")
        checkpoint = site.cosign(ledger)
        for name in ("r1", "r2"):
            exported.received(ledger, site, name)
    exported.saw(ORIGIN, site.key, checkpoint)
    return checkpoint


def test_with_the_servers_folder_everything_is_checked_by_the_servers_word(
    site: Site, exported: Exported, full: bytes
) -> None:
    found = verification.audit_log(
        site.path, server=exported.folder, current_time=site.current_time + 3 * DAY
    )
    verdict = found.verdict
    assert not found.verdict.problems and verdict.word == "verified"
    assert verdict.ledger_key.source == "the server's word"
    assert [x.source for x in verdict.witnesses] == ["the server's word"]
    assert (verdict.cosigned_by, verdict.needed) == (1, 1)
    assert verdict.cosigned_to == verdict.entries and verdict.received == 2
    assert found.succession.status == "first"
    assert found.freshness.age_seconds == 3 * DAY and len(found.freshness.extends) == 2
    proofs, past = verdict.not_checked
    assert "proofs inside received files" in proofs and "without an entry in its ledger" in past


def test_keys_that_were_given_are_named_so(site: Site, exported: Exported, full: bytes) -> None:
    verdict = verification.audit_log(site.path, site.anchors, server=exported.folder).verdict
    assert verdict.ledger_key.source == "given"
    assert verdict.ledger_key.public_key == signing.public_bytes(site.key).hex()
    (witness,) = verdict.witnesses
    assert witness.source == "given"
    assert witness.public_key == signing.public_bytes(site.witness_key).hex()
    assert witness.key_id == TrustedWitness(WITNESS, signing.public_bytes(site.witness_key)).key_id


def test_without_anything_from_outside_the_verdict_says_so(site: Site, full: bytes) -> None:
    verdict = verification.audit_log(site.path).verdict
    assert verdict.ledger_key.source == "the log's own word" and verdict.needed == 0
    assert verdict.word == "holds by itself"
    key = TrustAnchors(ledger_key=signing.public_bytes(site.key))
    assert verification.audit_log(site.path, key).verdict.word == "partly verified"
    assert verification.audit_log(site.path, site.anchors).verdict.word == "partly verified"
    text = " ".join(verdict.not_checked)
    for option in ("--ledger-key", "--witness-key", "--checkpoint", "--server", "--statistics"):
        assert option in text


def test_a_server_that_calls_another_key_by_the_witnesss_name_is_refused(
    site: Site, exported: Exported, full: bytes
) -> None:
    exported.witness_key = site.signing_key
    exported.write()
    with pytest.raises(VerificationError, match="is given, the server's record says"):
        verification.audit_log(site.path, site.anchors, server=exported.folder)
    with pytest.raises(VerificationError, match="0 of 1 known witnesses"):
        verification.audit_log(site.path, server=exported.folder)


def test_a_servers_folder_that_is_none_names_the_command(
    site: Site, exported: Exported, full: bytes
) -> None:
    with pytest.raises(ConfigError, match="wg-server export"):
        verification.audit_log(site.path, server=exported.folder / "nothing")


def test_another_ledger_key_than_the_servers_is_refused(
    site: Site, exported: Exported, full: bytes
) -> None:
    exported.saw(ORIGIN, site.signing_key, full)
    with pytest.raises(VerificationError, match="the log is signed by"):
        verification.audit_log(site.path, server=exported.folder)
    with pytest.raises(VerificationError, match="the server knows it with"):
        verification.audit_log(site.path, site.anchors, server=exported.folder)


# --- freshness


def test_a_checkpoint_must_be_signed_by_somebody_known(
    site: Site, full: bytes, tmp_path: Path
) -> None:
    head, note = checkpoints.decode(full)
    path = tmp_path / "checkpoint.note"
    path.write_bytes(checkpoints.sign(head, [site.signing_key]).encode())
    with pytest.raises(VerificationError, match="signed neither by the log's key nor"):
        verification.audit_log(site.path, site.anchors, checkpoints=[path])
    alone = [line for line in note.signatures if line.name == WITNESS]
    path.write_bytes(dataclasses.replace(note, signatures=tuple(alone)).encode())
    assert not verification.audit_log(site.path, site.anchors, checkpoints=[path]).verdict.problems
    forged = dataclasses.replace(alone[0], signature=bytes(72))
    path.write_bytes(dataclasses.replace(note, signatures=(forged,)).encode())
    with pytest.raises(VerificationError, match="does not hold"):
        verification.audit_log(site.path, site.anchors, checkpoints=[path])


def test_an_old_cosignature_is_refused_where_an_age_is_asked_for(
    site: Site, full: bytes, tmp_path: Path
) -> None:
    then = site.current_time
    later = then + 8 * DAY
    for age, good in ((9 * DAY, True), (7 * DAY, False)):
        if good:
            verification.audit_log(site.path, site.anchors, max_age=age, current_time=later)
            continue
        with pytest.raises(VerificationError, match=f"is {8 * DAY} s old, at most {age} s"):
            verification.audit_log(site.path, site.anchors, max_age=age, current_time=later)
    with pytest.raises(VerificationError, match="no key of a witness is known"):
        verification.audit_log(site.path, max_age=9 * DAY, current_time=later)
    # The witness looked again: nothing was added, so the same log is fresh once more.
    note = checkpoints.decode(full)[1]
    again = checkpoints.cosign(note, WITNESS, site.witness_key, later - DAY)
    path = tmp_path / "checkpoint.note"
    path.write_bytes(note.with_signatures(again).encode())
    found = verification.audit_log(
        site.path, site.anchors, checkpoints=[path], max_age=7 * DAY, current_time=later
    )
    assert found.freshness.age_seconds == DAY


def test_the_logs_own_witnesses_make_nothing_fresh(site: Site, full: bytes) -> None:
    found = verification.audit_log(site.path, current_time=site.current_time + DAY)
    assert found.freshness.newest is None and found.freshness.age_seconds is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 s"), (90, "1.5 min"), (7200, "2 h"), (3 * DAY, "3 d"), (-90, "-1.5 min")],
)
def test_ages_are_written_for_people(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


# --- successors


def successor(
    site: Site,
    path: Path,
    old: Path | None,
    origin: str = NEW_ORIGIN,
    key: PrivateKey | None = None,
) -> bytes:
    """A new log, which names the old one if it is given; its cosigned checkpoint."""
    predecessor = None if old is None else log_succession.read_predecessor(old, "key was copied")
    key = key or site.signing_key
    with Ledger.create(
        path, origin=origin, key=key, site="plant-a", predecessor=predecessor
    ) as new:
        new.enrol_witness(WITNESS, signing.public_bytes(site.witness_key))
        return cosign_newest(new, site.witness_key, site.current_time)


def test_a_successor_that_names_no_predecessor_has_an_unknown_budget(
    site: Site, exported: Exported, full: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "new.sqlite"
    checkpoint = successor(site, path, None)
    assert not verification.audit_log(path).verdict.problems
    exported.saw(NEW_ORIGIN, site.signing_key, checkpoint, "budget unknown")
    found = verification.audit_log(path, server=exported.folder)
    assert found.verdict.problems and found.verdict.word == "budget unknown"
    assert found.succession.unnamed == (ORIGIN,) and not found.to_json()["verified"]
    code, text, _ = run("verify", path, "--server", exported.folder)
    assert code == 5 and "NOT VERIFIED  budget unknown" in text
    page = auditor_page.render_auditor_page(dossier_answers.read_log_records(path, found))
    assert "budget unknown: its account leaves out log" in page and "Not verified" in page
    assert "<b>Verified</b>" not in page
    # The log itself names nobody, whatever the server says of it.
    exported.saw(NEW_ORIGIN, site.signing_key, checkpoint, "first")
    assert verification.audit_log(path, server=exported.folder).verdict.problems


def test_a_successor_that_names_its_predecessor_passes(
    site: Site, exported: Exported, full: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "new.sqlite"
    checkpoint = successor(site, path, site.path)
    exported.saw(NEW_ORIGIN, site.signing_key, checkpoint, "names its predecessor")
    found = verification.audit_log(path, server=exported.folder)
    assert not found.verdict.problems and found.succession.predecessor == ORIGIN
    text = " ".join(found.verdict.not_checked)
    assert found.verdict.word == "partly verified" and found.succession.checked == ()
    assert "nobody has shown 3 of its entries (--previous)" in text  # seven, two releases show four
    assert "2 received file(s) of the site's other logs" in text
    found = verification.audit_log(path, server=exported.folder, previous=[site.path])
    assert (
        not found.verdict.problems
        and found.succession.checked == (ORIGIN,)
        and found.verdict.received == 2
    )
    assert found.verdict.word == "verified" and len(found.verdict.not_checked) == 2


def test_a_predecessor_of_another_key_or_story_is_refused(
    site: Site, exported: Exported, full: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "invented"
    folder.mkdir()
    invented = dataclasses.replace(site, folder=folder, key=site.signing_key, memory=None)
    with invented.create() as ledger:
        for number in range(3):
            site.register(ledger, f"junk {number}", str(number).encode())
    path = tmp_path / "new.sqlite"
    checkpoint = successor(site, path, invented.path)
    exported.saw(NEW_ORIGIN, site.signing_key, checkpoint, "names its predecessor")
    with pytest.raises(VerificationError, match=r"with key .*, the server knows it with"):
        verification.audit_log(path, server=exported.folder)
    same_key = dataclasses.replace(invented, key=site.key, folder=tmp_path / "again")
    same_key.folder.mkdir()
    with same_key.create() as ledger:
        while ledger.size < 7:
            site.register(ledger, f"junk {ledger.size}", str(ledger.size).encode())
    path = tmp_path / "newer.sqlite"
    exported.saw(
        NEW_ORIGIN, site.signing_key, successor(site, path, same_key.path), "names its predecessor"
    )
    with pytest.raises(VerificationError, match="there are two histories"):
        verification.audit_log(path, server=exported.folder)


def test_an_unknown_budget_is_inherited(
    site: Site, exported: Exported, full: bytes, tmp_path: Path
) -> None:
    middle, path = tmp_path / "middle.sqlite", tmp_path / "new.sqlite"
    exported.saw(NEW_ORIGIN, site.signing_key, successor(site, middle, None), "budget unknown")
    third = "weightgate/plant-a/0033"
    checkpoint = successor(site, path, middle, third, site.key)
    exported.saw(third, site.key, checkpoint, "names its predecessor")
    found = verification.audit_log(path, server=exported.folder)
    assert found.verdict.problems and found.succession.unnamed == (ORIGIN,)


def test_a_chain_of_logs_is_checked_as_far_as_it_is_given(
    site: Site, exported: Exported, full: bytes, tmp_path: Path
) -> None:
    middle, path = tmp_path / "middle.sqlite", tmp_path / "new.sqlite"
    checkpoint = successor(site, middle, site.path)
    exported.saw(NEW_ORIGIN, site.signing_key, checkpoint, "names its predecessor")
    checkpoint = successor(site, path, middle, "weightgate/plant-a/0033", site.key)
    exported.saw("weightgate/plant-a/0033", site.key, checkpoint, "names its predecessor")
    for previous, checked, not_given in (
        ([], (), {NEW_ORIGIN, ORIGIN}),
        ([middle], (NEW_ORIGIN,), {ORIGIN}),
        ([middle, site.path], (NEW_ORIGIN, ORIGIN), set()),
        ([site.path, middle], (NEW_ORIGIN, ORIGIN), set()),
    ):
        found = verification.audit_log(path, server=exported.folder, previous=previous)
        assert not found.verdict.problems and found.succession.checked == checked
        assert {log.origin for log in found.succession.not_given} == not_given
        said = any("nobody has shown" in x for x in found.verdict.not_checked)
        assert said == bool(not_given) == (found.verdict.word == "partly verified")
    note_of_first = tmp_path / "first.note"
    note_of_first.write_bytes(full)
    both = [middle, site.path]
    assert not verification.audit_log(
        path, previous=both, checkpoints=[note_of_first]
    ).verdict.problems
    assert verification.audit_log(path, checkpoints=[note_of_first]).verdict.problems
    assert verification.audit_log(path, previous=[site.path]).verdict.word == "budget unknown"


def test_a_log_between_that_the_server_leaves_out_is_followed_by_its_word(
    site: Site, exported: Exported, full: bytes, tmp_path: Path
) -> None:
    """Nothing was released on it, so it is not in the record; the server followed what it names."""
    middle, path = tmp_path / "middle.sqlite", tmp_path / "new.sqlite"
    successor(site, middle, site.path)
    third = "weightgate/plant-a/0033"
    checkpoint = successor(site, path, middle, third, site.key)
    words: dict[Succession, bool] = {"names its predecessor": True, "first": False}
    for word, good in words.items():
        exported.saw(third, site.key, checkpoint, word)
        assert bool(verification.audit_log(path, server=exported.folder).verdict.problems) != good


def test_a_key_that_the_server_forgot_is_not_compared(
    site: Site, exported: Exported, full: bytes
) -> None:
    exported.logs = [dataclasses.replace(exported.logs[0], key="")]
    exported.write()
    verdict = verification.audit_log(site.path, server=exported.folder).verdict
    assert verdict.ledger_key.source == "the log's own word"
    assert any("--ledger-key" in words for words in verdict.not_checked)


def test_a_log_that_was_replaced_is_not_the_last_word(
    site: Site, exported: Exported, full: bytes, tmp_path: Path
) -> None:
    checkpoint = successor(site, tmp_path / "new.sqlite", site.path)
    exported.saw(NEW_ORIGIN, site.signing_key, checkpoint, "names its predecessor")
    with Ledger.open(tmp_path / "new.sqlite", site.signing_key) as new:
        site.register(new, "parts")
        charged = new.charge(site.request("r9", "0.25"))
        new.record_release(charged.seq, site.payload(site.request("r9", "0.25")))
        later = dataclasses.replace(site, key=site.signing_key)
        exported.received(new, later, "r9")
    found = verification.audit_log(site.path, server=exported.folder)
    assert found.verdict.problems and found.verdict.word == "superseded"
    assert any("1 received file(s)" in words for words in found.verdict.not_checked)


# --- the command


def test_the_command_says_all_of_it(site: Site, exported: Exported, full: bytes) -> None:
    key = signing.public_bytes(site.witness_key).hex()
    words: list[Any] = ["verify", site.path, "--server", exported.folder]
    words += ["--witness-key", f"{WITNESS}={key}", "--witnesses", "1", "--max-age", "99999d"]
    code, text, notes = run(*words)
    assert code == 0 and text.startswith("verified: 7 entries")
    for part in ("the server's word", "given"):
        assert f"(Ed25519, ML-DSA-44; {part})" in text
    assert "1 of 1 known by key" in text and "limit 99999 d" in text
    assert "not checked: whether anything left the site" in notes
    for post_quantum in ([], ["--post-quantum"]):
        document = json.loads(run(*words, *post_quantum, "--json")[1])
        assert document["verdict"]["ledger_key"]["algorithms"] == ["Ed25519", "ML-DSA-44"]
        assert document["verdict"]["witnesses"][0]["algorithms"] == ["Ed25519", "ML-DSA-44"]
    assert document["verified"] and document["verdict"]["freshness"]["max_age"] == 99999 * DAY


def test_the_command_says_it_in_japanese(site: Site, exported: Exported, full: bytes) -> None:
    words = ("--language", "ja", "verify", str(site.path), "--server", str(exported.folder))
    said = CliRunner().invoke(group, words).stdout
    assert "サーバーの sites.json の" in said and "、サーバーの checkpoint.note の" in said
    assert not re.search(r"the server|\d (?:s|min|h|d)\b|; ", said), said


def test_no_log_takes_a_text_that_could_forge_a_line_of_the_verdict(
    site: Site, full: bytes
) -> None:
    name = "x\nverified: 9 entries\x1b[2K\u202e"
    with site.open() as ledger, pytest.raises(DecodeError, match="dataset: name"):
        site.register(ledger, name, b"more")
    with pytest.raises(DecodeError, match="predecessor: reason"):
        dataclasses.replace(
            log_succession.read_predecessor(site.path, "lost"),
            reason="lost\n  ledger key  00000000 (given)",
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"implementation": {"randomness": "fixed seed"}},
        {"guarantee": {"unprotected": ("all pixels",)}},
        {"implementation": {"timing": "as soon as it is done"}},
        {"use": {"post_processing": "none"}},
    ],
)
def test_words_that_protect_nobody_are_a_problem(site: Site, changes: dict[str, Any]) -> None:
    with site.create() as ledger:
        request = site.request()
        parts = {
            name: dataclasses.replace(getattr(request, name), **fields)
            for name, fields in changes.items()
        }
        charged = ledger.charge(dataclasses.replace(request, **parts))
        site.cosign(ledger)
    found = verification.audit_log(site.path, site.anchors)
    assert not found.is_verified and found.verdict.word == "unknown words"
    (problem,) = found.verdict.problems
    (words,) = (str(word) for fields in changes.values() for word in fields.values())
    assert f"entry {charged.seq} states" in problem and words.strip("(),'") in problem


def test_class_names_that_change_are_printed(site: Site) -> None:
    with site.create() as ledger:
        site.release(ledger, "r1")
        request = site.request("r2")
        labels = ("good", "傷が 17 件")
        guarantee = dataclasses.replace(request.guarantee, labels=labels)
        before = request.guarantee.labels
        assert len(before) == 2
        ledger.charge(dataclasses.replace(request, guarantee=guarantee))
    _, text, notes = run("verify", site.path)
    line = next(x for x in (text + notes).splitlines() if "class names of" in x)
    assert "傷が 17 件" in line and all(name in line for name in before if name not in labels)


@pytest.mark.parametrize("age", ["7", "7w", "-1d", "0d", "1.5d", "d"])
def test_an_age_that_is_none_is_a_usage_error(site: Site, full: bytes, age: str) -> None:
    with pytest.raises(UsageError, match="--max-age"):
        run("verify", site.path, "--max-age", age)


def test_the_report_names_keys_and_what_was_not_checked(
    site: Site, exported: Exported, full: bytes, tmp_path: Path
) -> None:
    out = tmp_path / "report.html"
    run("verify", site.path, "--report", out, "--server", exported.folder)
    page = out.read_text()
    known = TrustedWitness(WITNESS, signing.public_bytes(site.witness_key))
    for words in ("On whose word", "What was not checked", known.key_id, "Verified"):
        assert words in page


def test_the_export_and_the_home_get_the_same_verdict(
    site: Site, exported: Exported, full: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "x.wgl"
    with site.open() as ledger:
        ledger.export(path)
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(site.path, home / "ledger.sqlite")
    current_time = site.current_time + DAY
    found = [
        verification.audit_log(x, server=exported.folder, current_time=current_time).to_json()
        for x in (path, home)
    ]
    assert found[0] == found[1]


def test_each_good_word_has_an_exit_code_of_its_own_and_true_is_for_the_first(
    site: Site, exported: Exported, full: bytes
) -> None:
    given = ["--ledger-key", site.key.public_key().raw.hex()]
    for brought, code, word in (
        (["--server", str(exported.folder)], ExitCode.OK, "verified"),
        (given, ExitCode.PARTLY_VERIFIED, "partly verified"),
        ([], ExitCode.HOLDS_BY_ITSELF, "holds by itself"),
    ):
        ended, text, _ = run("verify", site.path, *brought, "--json")
        document = json.loads(text)
        assert (ended, document["verdict"]["word"]) == (code, word)
        assert document["verified"] == (code == ExitCode.OK)
