from __future__ import annotations

import dataclasses

import pytest
from tests.core.ledger.conftest import WITNESS, Site, key

from wg_audit import verification
from wg_core.errors import VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.wire import handover, signing
from wg_core.wire.handover import Handover

NEW = key(9)
THIEF = key(10)


def word(site: Site) -> Handover:
    return handover.sign_handover(handover.WITNESS_USE, WITNESS, site.witness_key, NEW)


def known(number: object) -> TrustedWitness:
    return TrustedWitness(WITNESS, signing.public_bytes(number))  # type: ignore[arg-type]


def cosign(ledger: Ledger, by: object, time: int = 5) -> None:
    note = checkpoints.decode(ledger.newest_checkpoint())[1]
    lines = checkpoints.cosign(note, WITNESS, by, time)  # type: ignore[arg-type]
    ledger.add_cosignature(note.with_signatures(lines).encode(), WITNESS)


def test_a_handover_is_recorded_once_and_read_again(site: Site) -> None:
    with site.create() as ledger:
        seq = ledger.record_handover(word(site))
        assert ledger.record_handover(word(site)) == seq == ledger.size - 1
        cosign(ledger, NEW)
        assert ledger.is_newest_cosigned(WITNESS)
    with site.open() as ledger:
        size = ledger.size
        assert ledger.enrol_witness(WITNESS, signing.public_bytes(NEW)) == seq
        assert ledger.record_handover(word(site)) == seq and ledger.size == size


def test_a_site_that_enrolled_with_the_new_key_records_no_handover(site: Site) -> None:
    with site.create() as ledger:
        seq = ledger.enrol_witness(WITNESS, signing.public_bytes(NEW))
        assert ledger.record_handover(word(site)) == seq


@pytest.mark.parametrize("what", ["signature", "key", "name"])
def test_a_handover_that_the_witness_did_not_sign_is_refused(site: Site, what: str) -> None:
    """Also by every reader: the writer applies an entry as they do."""
    good = word(site)
    bad = {
        "signature": dataclasses.replace(good, now=signing.public_bytes(THIEF).hex()),
        "key": handover.sign_handover(handover.WITNESS_USE, WITNESS, THIEF, NEW),
        "name": handover.sign_handover(
            handover.WITNESS_USE, "stranger/witness", site.witness_key, NEW
        ),
    }[what]
    with site.create() as ledger:
        size = ledger.size
        with pytest.raises(VerificationError):
            ledger.record_handover(bad)
        assert ledger.size == size


def test_an_auditor_who_knows_the_old_key_believes_the_new_one_on_its_word(site: Site) -> None:
    with site.create() as ledger:
        site.cosign(ledger)
        ledger.record_handover(word(site))
        packages = handover.sign_handover(handover.PACKAGES_USE, "server.example", THIEF, NEW)
        ledger.record_handover(packages)
        site.release(ledger)
        cosign(ledger, NEW, 1_700_000_500)
        size = ledger.size
    old = known(site.witness_key)
    finding = verification.audit_log(
        site.path, TrustAnchors(witnesses=(old,)), current_time=1_700_000_600
    )
    assert finding.history.witnessed_size == size
    (view,) = finding.verdict.witnesses
    assert (view.public_key, view.handovers) == (signing.public_bytes(NEW).hex(), 1)
    assert (view.source, view.size, view.time) == ("given", size, 1_700_000_500)
    lines = [said for _, said in finding.verdict.display_rows()]
    assert any("given, 1 hand-over(s) from it" in line for line in lines)
    words = " ".join(finding.remark_sentences)
    assert (
        f"by the word of the one before, {signing.display_key(signing.public_bytes(THIEF))}"
        in words
    )
    document = finding.to_json()
    assert document["witnesses"][-1]["word_of"] == old.public_key.hex()
    assert [each["use"] for each in document["handovers"]] == ["witness", "packages"]
    # Who knows the new key alone knows nothing of what the old one saw.
    later = verification.audit_log(
        site.path, TrustAnchors(witnesses=(known(NEW),)), current_time=1_700_000_600
    )
    assert later.history.witnessed_size == size
    assert later.verdict.witnesses[0].handovers == 0


def test_a_key_that_the_log_alone_names_is_still_its_own_word(site: Site) -> None:
    """The plant enrols a key of its own under the witness's name, without a word of the old one."""
    with site.create() as ledger:
        site.cosign(ledger)
        seen = ledger.size
        ledger.enrol_witness(WITNESS, signing.public_bytes(THIEF))
        site.release(ledger)
        cosign(ledger, THIEF)
    finding = verification.audit_log(site.path, TrustAnchors(witnesses=(known(site.witness_key),)))
    assert finding.history.witnessed_size == seen


def test_the_servers_word_reaches_a_log_that_was_away_for_the_change(site: Site) -> None:
    """Its cosignatures are of the old key, and the log holds no hand-over yet."""
    with site.create() as ledger:
        site.cosign(ledger)
        size = ledger.size
    anchors = TrustAnchors(witnesses=(known(site.witness_key),), handovers=(word(site),))
    finding = verification.audit_log(site.path, anchors)
    assert finding.history.witnessed_size == size
    assert [x.public_key for x in finding.history.key_and_successors(known(site.witness_key))] == [
        signing.public_bytes(site.witness_key),
        signing.public_bytes(NEW),
    ]
    with pytest.raises(VerificationError):
        other = signing.public_bytes(THIEF).hex()
        TrustAnchors(handovers=(dataclasses.replace(word(site), now=other),))
