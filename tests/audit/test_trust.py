"""Trust is bound to keys that the auditor got elsewhere, never to a name on the log."""

from __future__ import annotations

import pytest
from tests.core.ledger.conftest import WITNESS as WITNESS
from tests.core.ledger.conftest import Site

from wg_audit import verification
from wg_core.errors import ConfigError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.trust_anchors import TrustAnchors, TrustedWitness
from wg_core.wire import signing
from wg_core.wire.signing import PrivateKey


def cosign(ledger: Ledger, key: PrivateKey, name: str = WITNESS, time: int = 1) -> None:
    """Any key cosigns the newest checkpoint under any name, once the log has enrolled it."""
    ledger.enrol_witness(name, signing.public_bytes(key))
    note = checkpoints.decode(ledger.newest_checkpoint())[1]
    lines = checkpoints.cosign(note, name, key, time)
    ledger.add_cosignature(note.with_signatures(lines).encode(), name)


def test_entries_are_counted_as_witnessed_by_the_given_key_alone(site: Site) -> None:
    with site.create() as ledger:
        site.cosign(ledger)
        seen = ledger.size
        site.release(ledger)
        cosign(ledger, site.signing_key)
        size = ledger.size
    finding = verification.audit_log(site.path, site.anchors)
    assert finding.history.witnessed_size == seen < size
    assert any("not cosigned yet" in remark for remark in finding.remark_sentences)
    known = {
        (c.name, c.is_trusted) for head in finding.history.checkpoints for c in head.cosignatures
    }
    assert known == {(WITNESS, True), (WITNESS, False)}


def test_a_cosignature_counts_even_if_the_log_does_not_name_the_witness(site: Site) -> None:
    """An auditor may be a witness that the site never heard of."""
    with site.create() as ledger:
        note = checkpoints.decode(ledger.newest_checkpoint())[1]
        lines = checkpoints.cosign(note, "auditor.example/w", site.signing_key, 5)
        signed = note.with_signatures(lines).encode()
        ledger._db.execute("update heads set note = ?", (signed,))
    known = TrustedWitness("auditor.example/w", signing.public_bytes(site.signing_key))
    finding = verification.audit_log(site.path, TrustAnchors(witnesses=(known,)))
    assert finding.history.newest_cosigned_size_and_time(known) == (3, 5)


def test_a_quorum_counts_keys_and_takes_the_size_that_enough_have_seen(site: Site) -> None:
    second = TrustedWitness("other.example/w", signing.public_bytes(site.signing_key))
    third = TrustedWitness("third.example/w", signing.public_bytes(site.signing_key)[::-1])
    with site.create() as ledger:
        site.cosign(ledger)
        seen = ledger.size
        cosign(ledger, site.signing_key, second.name)
        size = ledger.size
    known = site.anchors.witnesses
    for witnesses, quorum, expected in (
        ((*known, second), None, seen),
        ((*known, second), 1, size),
        ((*known, second, third), 2, seen),
    ):
        found = verification.audit_log(site.path, TrustAnchors(witnesses=witnesses, quorum=quorum))
        assert found.history.witnessed_size == expected
    with pytest.raises(VerificationError, match=r"2 of 3 known .* 3 must .* third\.example"):
        verification.audit_log(site.path, TrustAnchors(witnesses=(*known, second, third)))


def test_a_witness_cannot_be_counted_twice() -> None:
    one = TrustedWitness("a.example/w", bytes(range(32)))
    for witnesses in ((one, one), (one, TrustedWitness("b.example/w", bytes(range(32))))):
        with pytest.raises(ConfigError, match="twice"):
            TrustAnchors(witnesses=witnesses)
    with pytest.raises(ConfigError, match="1 or more"):
        TrustAnchors(witnesses=(one,), quorum=0)
    assert TrustAnchors(witnesses=(one,), quorum=2).witnessed_size([7]) == 0


def test_a_quorum_without_witnesses_is_not_met(site: Site) -> None:
    with site.create() as ledger:
        site.cosign(ledger)
    with pytest.raises(VerificationError, match="0 of 0 known witnesses"):
        verification.audit_log(site.path, TrustAnchors(quorum=1))


def test_a_known_key_vouches_for_the_keys_that_it_rotated_to(site: Site) -> None:
    new = site.signing_key
    with site.create() as ledger:
        ledger.rotate_key(new)
        site.release(ledger)
    for key in (site.key, new):
        verification.audit_log(site.path, TrustAnchors(ledger_key=signing.public_bytes(key)))
