"""Heads and files that a server refused: two histories, a file that only came late, or nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.audit.conftest import Exported
from tests.core.ledger.conftest import ORIGIN, WITNESS, closed_form

from wg_audit import verification
from wg_audit.verdict import Verdict
from wg_common import auditor_record
from wg_core.errors import DecodeError, ExitCode, VerificationError
from wg_core.ledger import log_succession
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.privacy.events import PrivacyEvent
from wg_core.wire import bundle, signing

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site


@dataclass
class Copies:
    """A plant's ledger, a copy of it that went on by itself, and what the server exports."""

    site: Site
    copy: Site
    exported: Exported

    @property
    def forks(self) -> Path:
        folder = self.exported.folder / "plant-a" / auditor_record.FORK_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def heads(self, earlier: bytes, later: bytes) -> None:
        """The server says that two heads do not fit."""
        (self.forks / f"0{auditor_record.EARLIER_CHECKPOINT_SUFFIX}").write_bytes(earlier)
        (self.forks / f"0{auditor_record.LATER_CHECKPOINT_SUFFIX}").write_bytes(later)

    def refuse(self, site: Site, *request_ids: str) -> None:
        """The server refuses files of one of the ledgers."""
        with site.open() as ledger:
            for request_id in request_ids:
                data = bundle.encode(site.covered(ledger, request_id))
                (self.forks / f"{request_id}.wgs").write_bytes(data)

    def verdict(self) -> Verdict:
        return verification.audit_log(self.site.path, server=self.exported.folder).verdict


@pytest.fixture
def copies(site: Site, exported: Exported, tmp_path: Path) -> Copies:
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        site.cosign(ledger)
    copy = replace(site, folder=tmp_path / "copy")
    copy.folder.mkdir()
    shutil.copy(site.path, copy.path)
    with site.open() as ledger:
        site.release(ledger, "r2", "0.5")
        exported.saw(ORIGIN, site.key, site.cosign(ledger))
        for request_id in ("r1", "r2"):
            exported.received(ledger, site, request_id)
    with copy.open() as ledger:
        copy.release(ledger, "c1", "0.7")
        copy.release(ledger, "c2", "0.3")
    return Copies(site, copy, exported)


def composed(site: Site, *epsilons: str) -> float:
    units = sum(int(site.request("x", epsilon).event.mu_squared) for epsilon in epsilons)
    return closed_form([PrivacyEvent(mechanism="gaussian", mu_squared=str(units))], 1e-5)


def test_charges_of_both_branches_are_added_and_what_they_share_counts_once(copies: Copies) -> None:
    assert copies.verdict().exit_code == ExitCode.OK
    copies.refuse(copies.copy, "c1", "c2")
    verdict = copies.verdict()
    assert (verdict.word, verdict.exit_code) == ("two histories", ExitCode.VERIFICATION)
    assert verdict.total is not None and verdict.total.at_least
    assert verdict.total.epsilon == pytest.approx(composed(copies.site, "1", "0.5", "0.7", "0.3"))
    (fork,) = verdict.forks
    assert (fork.origin, fork.charges) == (ORIGIN, 2)


def test_a_head_alone_shows_a_fork_and_no_charge(copies: Copies) -> None:
    with copies.site.open() as ledger, copies.copy.open() as other:
        copies.heads(ledger.newest_checkpoint(), other.newest_checkpoint())
    verdict = copies.verdict()
    assert verdict.word == "two histories" and verdict.forks[0].charges == 0
    assert verdict.total is not None
    assert verdict.total.epsilon == pytest.approx(composed(copies.site, "1", "0.5"))


def test_heads_and_files_that_the_log_has_prove_nothing(copies: Copies) -> None:
    """A file that came after a later one is refused, too; it is compared like any other."""
    with copies.site.open() as ledger:
        copies.heads(ledger.first_entry_checkpoint(), ledger.newest_checkpoint())
    received = copies.exported.folder / "plant-a" / "r1.wgs"
    received.rename(copies.forks / "late.wgs")
    verdict = copies.verdict()
    assert (verdict.word, verdict.forks, verdict.missing) == ("verified", (), 0)


def test_a_head_that_the_log_did_not_sign_is_no_evidence(copies: Copies) -> None:
    stranger = replace(
        copies.site, folder=copies.copy.folder / "stranger", key=signing.generate_key()
    )
    stranger.folder.mkdir()
    stranger.memory = None
    with stranger.create() as ledger, copies.site.open() as true:
        copies.heads(true.newest_checkpoint(), ledger.newest_checkpoint())
    with pytest.raises(VerificationError, match="no key of log"):
        copies.verdict()


def test_a_charge_that_is_not_in_its_head_is_no_evidence(copies: Copies) -> None:
    copies.refuse(copies.copy, "c1")
    path = copies.forks / "c1.wgs"
    file = bundle.decode_statistics(path.read_bytes())
    with copies.copy.open() as ledger:
        charge = ledger.find_charge("parts", request_id="c2")
        assert charge is not None
        other = replace(file, charge_entry=ledger.entry_bytes(charge.seq))
    path.write_bytes(bundle.encode(other))
    with pytest.raises(VerificationError, match=r"c1\.wgs"):
        copies.verdict()
    path.write_bytes(b"junk")
    with pytest.raises(DecodeError, match=r"c1\.wgs"):
        copies.verdict()


def test_what_else_lies_beside_the_evidence_is_named(copies: Copies) -> None:
    (copies.forks / f"7{auditor_record.LATER_CHECKPOINT_SUFFIX}").write_bytes(b"half of a pair")
    assert any("7.later.note" in question for question in copies.verdict().not_checked)


def test_the_log_of_the_refused_copy_is_told_apart_with_its_reason(copies: Copies) -> None:
    with pytest.raises(VerificationError, match="there are two histories"):
        verification.audit_log(copies.copy.path, server=copies.exported.folder)


def test_a_branch_that_shows_a_late_charge_costs_at_least_what_that_charge_states(
    copies: Copies,
) -> None:
    """A file of the second charge says what its own history had spent before it."""
    with Ledger.open(copies.copy.path, copies.copy.key) as ledger:
        ledger.accountant = closed_form
        copies.copy.release(ledger, "c3", "2")
        copies.copy.release(ledger, "c4", "0.1")
    copies.refuse(copies.copy, "c4")
    total = copies.verdict().total
    assert total is not None
    assert total.epsilon == pytest.approx(composed(copies.site, "1", "0.7", "0.3", "2", "0.1"))


def forked(copies: Copies, *others: Site) -> Verdict:
    """The verdict on the true ledger, to which an auditor adds the ledgers of copies."""
    return verification.audit_log(copies.site.path, previous=[x.path for x in others]).verdict


def test_the_ledger_of_a_copy_is_a_second_history_and_its_charges_are_added(
    copies: Copies,
) -> None:
    verdict = forked(copies, copies.copy)
    assert (verdict.word, verdict.exit_code) == ("two histories", ExitCode.VERIFICATION)
    assert verdict.total is not None and verdict.total.at_least
    assert verdict.total.epsilon == pytest.approx(composed(copies.site, "1", "0.5", "0.7", "0.3"))
    (fork,) = verdict.forks
    assert (fork.origin, fork.charges, len(fork.heads)) == (ORIGIN, 2, 2)
    back = verification.audit_log(copies.copy.path, previous=[copies.site.path]).verdict
    assert back.total == verdict.total and back.forks[0].charges == 1


def test_charges_that_a_copy_and_refused_files_show_count_once(copies: Copies) -> None:
    third = replace(copies.copy, folder=copies.copy.folder.with_name("third"))
    third.folder.mkdir()
    shutil.copy(copies.copy.path, third.path)
    with third.open() as ledger:
        third.release(ledger, "c3", "0.2")
    copies.refuse(copies.copy, "c1", "c2")
    for others in ([copies.copy, third], [third, copies.copy], [third]):
        verdict = verification.audit_log(
            copies.site.path, server=copies.exported.folder, previous=[x.path for x in others]
        ).verdict
        assert verdict.forks[0].charges == 3 and verdict.total is not None
        sums = "1", "0.5", "0.7", "0.3", "0.2"
        assert verdict.total.epsilon == pytest.approx(composed(copies.site, *sums))


def test_a_copy_that_no_witness_cosigned_is_a_second_history_where_witnesses_are_known(
    copies: Copies,
) -> None:
    """A witness refuses the second copy: that must not keep an auditor from adding it."""
    early = replace(copies.copy, folder=copies.copy.folder.with_name("early"), memory=None)
    early.folder.mkdir()
    with early.create() as ledger:
        early.release(ledger, "e1", "2")
    key = signing.public_bytes(copies.site.witness_key)
    anchors = TrustAnchors(witnesses=(TrustedWitness(WITNESS, key),))
    found = verification.audit_log(copies.site.path, anchors, previous=[early.path])
    assert found.verdict.word == "two histories" and found.verdict.forks[0].charges == 1


def test_an_older_copy_adds_nothing_and_is_named(copies: Copies, tmp_path: Path) -> None:
    older, newer = tmp_path / "older.wgl", tmp_path / "newer.wgl"
    with copies.site.open() as ledger:
        ledger.export(older)
        copies.site.release(ledger, "r3", "0.1")
        ledger.export(newer)
    found = verification.audit_log(newer, previous=[older, newer])
    assert not found.verdict.problems and not found.verdict.forks
    (remark,) = [x for x in found.remark_sentences if "older copy" in x]
    assert found.verdict.total is not None and ORIGIN in remark
    assert found.verdict.total.epsilon == pytest.approx(composed(copies.site, "1", "0.5", "0.1"))
    with pytest.raises(VerificationError, match="verify the longer one"):
        verification.audit_log(older, previous=[newer])


def test_a_strangers_ledger_of_the_same_name_is_no_second_history(copies: Copies) -> None:
    stranger = replace(copies.site, folder=copies.copy.folder / "other", key=signing.generate_key())
    stranger.folder.mkdir()
    stranger.memory = None
    stranger.create().close()
    with pytest.raises(VerificationError, match="have different keys"):
        forked(copies, stranger)


@pytest.mark.parametrize("first", [0, 1])
def test_two_copies_of_an_earlier_ledger_are_two_histories_in_any_order(
    copies: Copies, tmp_path: Path, first: int
) -> None:
    path = tmp_path / "new.sqlite"
    Ledger.create(
        path,
        origin="weightgate/plant-a/0022",
        key=copies.site.key,
        site="plant-a",
        predecessor=log_succession.read_predecessor(copies.site.path, "lost"),
    ).close()
    order = [copies.site.path, copies.copy.path]
    verdict = verification.audit_log(path, previous=[order[first], order[1 - first]]).verdict
    assert verdict.word == "two histories" and verdict.forks[0].origin == ORIGIN
    assert verdict.total is not None
    assert verdict.total.epsilon == pytest.approx(composed(copies.site, "1", "0.5", "0.7", "0.3"))
