"""Trust is bound to keys that the auditor got elsewhere, never to a name on the log."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wg_audit import verification
from wg_core.errors import ConfigError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import recovery
from wg_core.ledger.anchors import TrustAnchors, TrustedWitness
from wg_core.ledger.store import Ledger
from wg_core.wire import signing
from wg_core.wire.signing import PrivateKey

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site

NAME = "server.example/witness"


def anchors(site: Site) -> TrustAnchors:
    """What an auditor got from the server: both true keys."""
    return TrustAnchors(
        ledger_key=signing.public_bytes(site.key),
        witnesses=(TrustedWitness(NAME, signing.public_bytes(site.witness_key)),),
    )


def cosign(ledger: Ledger, key: PrivateKey, name: str = NAME, time: int = 1) -> None:
    """Any key cosigns the newest checkpoint under any name, once the log has enrolled it."""
    ledger.enrol_witness(name, signing.public_bytes(key))
    note = checkpoints.decode(ledger.checkpoint())[1]
    lines = checkpoints.cosign(note, name, key, time)
    ledger.add_cosignature(note.with_signatures(lines).encode(), name)


@pytest.fixture
def forged(site: Site, tmp_path: Path) -> Site:
    """After a release: an empty log under the site's own key, its own key under the witness's name.

    The site has its signing key, so it can sign as many beginnings as it likes.
    """
    with site.create() as ledger:
        site.release(ledger, "r1", "2.5")
        site.cosign(ledger)
    verification.audit_log(site.path, anchors(site))
    folder = tmp_path / "forged"
    folder.mkdir()
    other = dataclasses.replace(site, folder=folder, witness_key=site.signing_key, memory=None)
    with other.create() as ledger:
        cosign(ledger, other.witness_key)
    return other


def test_a_key_of_the_logs_own_under_the_witnesss_name_is_not_the_witness(
    site: Site, forged: Site
) -> None:
    with pytest.raises(VerificationError, match=r"0 of 1 known witnesses cosigned this log"):
        verification.audit_log(forged.path, anchors(site))


def test_an_empty_log_with_both_keys_enrolled_is_still_not_cosigned(
    site: Site, forged: Site
) -> None:
    """The witness's public key is public: anybody can enrol it, and cosign with another."""
    with Ledger.open(forged.path, forged.key) as ledger:
        ledger.enrol_witness(NAME, signing.public_bytes(site.witness_key))
        cosign(ledger, forged.witness_key)
    with pytest.raises(VerificationError, match="0 of 1 known witnesses"):
        verification.audit_log(forged.path, anchors(site))


def test_entries_are_counted_as_witnessed_by_the_given_key_alone(site: Site) -> None:
    with site.create() as ledger:
        site.cosign(ledger)
        seen = ledger.size
        site.release(ledger)
        cosign(ledger, site.signing_key)
        size = ledger.size
    finding = verification.audit_log(site.path, anchors(site))
    assert finding.history.witnessed_size == seen < size
    assert any("not cosigned yet" in remark for remark in finding.remarks)
    known = {
        (c.name, c.is_trusted) for head in finding.history.checkpoints for c in head.cosignatures
    }
    assert known == {(NAME, True), (NAME, False)}


def test_a_cosignature_counts_even_if_the_log_does_not_name_the_witness(site: Site) -> None:
    """An auditor may be a witness that the site never heard of."""
    with site.create() as ledger:
        note = checkpoints.decode(ledger.checkpoint())[1]
        lines = checkpoints.cosign(note, "auditor.example/w", site.signing_key, 5)
        signed = note.with_signatures(lines).encode()
        ledger._db.execute("update heads set note = ?", (signed,))
    known = TrustedWitness("auditor.example/w", signing.public_bytes(site.signing_key))
    finding = verification.audit_log(site.path, TrustAnchors(witnesses=(known,)))
    assert finding.history.newest_cosignature(known) == (3, 5)


def test_a_quorum_counts_keys_and_takes_the_size_that_enough_have_seen(site: Site) -> None:
    second = TrustedWitness("other.example/w", signing.public_bytes(site.signing_key))
    third = TrustedWitness("third.example/w", signing.public_bytes(site.signing_key)[::-1])
    with site.create() as ledger:
        site.cosign(ledger)
        seen = ledger.size
        cosign(ledger, site.signing_key, second.name)
        size = ledger.size
    known = anchors(site).witnesses
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


def test_a_log_from_before_a_rotation_does_not_hold_under_the_new_key(site: Site) -> None:
    """An old key that was stolen signs what it likes; the key known now does not vouch for it."""
    with site.create() as ledger:
        site.release(ledger)
    with pytest.raises(VerificationError, match="the log is signed by"):
        verification.audit_log(
            site.path, TrustAnchors(ledger_key=signing.public_bytes(site.signing_key))
        )


def test_a_predecessor_must_be_the_log_that_the_witness_saw(site: Site, tmp_path: Path) -> None:
    """An old log that is made up after the fact inherits nothing."""
    with site.create() as ledger:
        site.release(ledger, "r1", "2.5")
        site.cosign(ledger)
    folder = tmp_path / "old"
    folder.mkdir()
    invented = dataclasses.replace(site, folder=folder, memory=None)
    with invented.create() as ledger:
        cosign(ledger, site.signing_key)
    for old, good in ((site, True), (invented, False)):
        path = tmp_path / f"new-{good}.sqlite"
        new = Ledger.create(
            path,
            origin="weightgate/plant-a/0022",
            key=site.signing_key,
            site="plant-a",
            predecessor=recovery.read_predecessor(old.path, "key was copied"),
        )
        with new:
            cosign(new, site.witness_key)
        known = TrustAnchors(witnesses=anchors(site).witnesses)
        if good:
            verification.audit_log(path, known, previous=[old.path])
        else:
            with pytest.raises(VerificationError, match="0 of 1 known witnesses"):
                verification.audit_log(path, known, previous=[old.path])
