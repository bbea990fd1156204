"""The server's question: does a ledger entry cover this release?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import entries, inclusion_proof, witness
from wg_core.ledger.budget_ledger import Ledger
from wg_core.wire.bundle import StatisticsBundle
from wg_server.fleet import bundle_verification

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site

LOG = "weightgate/plant-a/0011"
NAME = "server.example/witness"


def check(site: Site, covered: StatisticsBundle, **changes: Any) -> None:
    anchors: dict[str, Any] = {
        "ledger_origin": LOG,
        "ledger_key": site.key.public_key(),
        "witness_name": NAME,
        "witness_key": site.witness_key.public_key(),
    }
    bundle_verification.verify_statistics_bundle(covered, **{**anchors, **changes})


@pytest.fixture
def covered(site: Site, ledger: Ledger) -> StatisticsBundle:
    site.release(ledger)
    site.cosign(ledger)
    return site.covered(ledger)


def test_a_cosigned_release_is_covered(site: Site, covered: StatisticsBundle) -> None:
    check(site, covered)
    assert bundle_verification.claims_cosignature(covered, NAME, site.witness_key.public_key())


def test_a_name_alone_is_no_cosignature(site: Site, covered: StatisticsBundle) -> None:
    assert not bundle_verification.claims_cosignature(covered, NAME, site.signing_key.public_key())


@pytest.mark.parametrize(
    "changes",
    [{"ledger_origin": "someone/else"}, {"witness_name": "other.example/w"}, {"witness_key": None}],
)
def test_other_anchors_do_not_cover(
    site: Site, covered: StatisticsBundle, changes: dict[str, Any]
) -> None:
    with pytest.raises(VerificationError):
        check(site, covered, **changes)


def test_other_keys_do_not_cover(site: Site, covered: StatisticsBundle) -> None:
    other = site.signing_key.public_key()
    with pytest.raises(VerificationError, match="proof: checkpoint: no Ed25519 signature"):
        check(site, covered, ledger_key=other)
    with pytest.raises(VerificationError, match="no Ed25519 cosignature"):
        check(site, covered, witness_key=other)


def test_every_flipped_byte_is_found(site: Site, covered: StatisticsBundle) -> None:
    for field in dataclasses.fields(covered):
        good = getattr(covered, field.name)
        step = max(1, len(good) // 150)
        for position in range(0, len(good), step):
            bad = bytearray(good)
            bad[position] ^= 1
            with pytest.raises((DecodeError, VerificationError)):
                check(site, dataclasses.replace(covered, **{field.name: bytes(bad)}))


def test_another_release_s_bytes_are_not_covered(site: Site, ledger: Ledger) -> None:
    site.release(ledger, "r1")
    site.release(ledger, "r2", "0.5")
    site.cosign(ledger)
    one, two = site.covered(ledger, "r1"), site.covered(ledger, "r2")
    for field in ("release", "charge_entry", "release_entry"):
        with pytest.raises(VerificationError):
            check(site, dataclasses.replace(one, **{field: getattr(two, field)}))
    mixed = dataclasses.replace(one, charge_entry=two.charge_entry, charge_proof=two.charge_proof)
    with pytest.raises(VerificationError, match="releases charge"):
        check(site, mixed)


def test_entries_of_another_kind_do_not_cover(site: Site, covered: StatisticsBundle) -> None:
    swapped = dataclasses.replace(
        covered, charge_entry=covered.release_entry, charge_proof=covered.release_proof
    )
    with pytest.raises(VerificationError, match="is a release entry"):
        check(site, swapped)


def test_an_uncosigned_release_is_not_covered(site: Site, ledger: Ledger) -> None:
    site.release(ledger)
    covered = site.covered(ledger)
    assert not bundle_verification.claims_cosignature(covered, NAME, site.witness_key.public_key())
    with pytest.raises(VerificationError, match="no Ed25519 cosignature"):
        check(site, covered)


def test_a_release_in_a_file_can_be_witnessed_on_arrival(site: Site, ledger: Ledger) -> None:
    site.cosign(ledger)
    site.release(ledger)
    covered = site.covered(ledger)
    site.call(bundle_verification.witness_requests(covered)[-1].encode())
    check(site, covered, witness_name=None, witness_key=None)
    assert site.memory is not None and site.memory.newest_checkpoint.size == ledger.size


def test_a_file_from_a_rolled_back_ledger_is_refused(site: Site, ledger: Ledger) -> None:
    site.release(ledger)
    covered = site.covered(ledger)
    site.release(ledger, "r2", "0.5")
    site.cosign(ledger)
    with pytest.raises(witness.WitnessRefused) as caught:
        site.call(bundle_verification.witness_requests(covered)[-1].encode())
    assert caught.value.status == 409


def test_a_charge_in_another_checkpoint_than_the_release_is_not_witnessed(
    site: Site, ledger: Ledger
) -> None:
    """Else the charge could stand in a tree that no witness ever sees."""
    site.release(ledger)
    early = site.covered(ledger)
    site.release(ledger, "r2", "0.5")
    mixed = dataclasses.replace(site.covered(ledger), charge_proof=early.charge_proof)
    with pytest.raises(VerificationError, match="another of size"):
        bundle_verification.witness_requests(mixed)


def test_a_cosigned_proof_carries_no_request(covered: StatisticsBundle) -> None:
    with pytest.raises(DecodeError, match="expected consistency proofs"):
        bundle_verification.witness_requests(covered)


Change = Callable[[entries.Charge], entries.Charge]


def cheaper(charge: entries.Charge) -> entries.Charge:
    event = dataclasses.replace(charge.event, mu_squared="1")
    return dataclasses.replace(charge, event=event)


def other_request(charge: entries.Charge) -> entries.Charge:
    return dataclasses.replace(charge, request_id="r7")


def other_noise(charge: entries.Charge) -> entries.Charge:
    return dataclasses.replace(
        charge, mechanism=dataclasses.replace(charge.mechanism, sigma=(1e9).hex())
    )


def other_labels(charge: entries.Charge) -> entries.Charge:
    return dataclasses.replace(
        charge, guarantee=dataclasses.replace(charge.guarantee, labels=("x",))
    )


def other_units(charge: entries.Charge) -> entries.Charge:
    words = "at most 9 records of a unit count"
    return dataclasses.replace(
        charge, guarantee=dataclasses.replace(charge.guarantee, records_per_unit=words)
    )


def other_neighbours(charge: entries.Charge) -> entries.Charge:
    return dataclasses.replace(
        charge, guarantee=dataclasses.replace(charge.guarantee, adjacency="replace-one")
    )


def other_purpose(charge: entries.Charge) -> entries.Charge:
    return dataclasses.replace(charge, use=dataclasses.replace(charge.use, purpose="a test"))


@pytest.mark.parametrize(
    "change",
    [
        cheaper,
        other_request,
        other_noise,
        other_labels,
        other_units,
        other_neighbours,
        other_purpose,
    ],
)
def test_a_charge_for_something_else_does_not_cover(
    site: Site, covered: StatisticsBundle, change: Change
) -> None:
    """Even with valid proofs: a site could log one thing and send another."""
    charge = entries.decode(covered.charge_entry)
    assert isinstance(charge, entries.Charge)
    forged = entries.encode(change(charge))
    with pytest.raises(VerificationError):
        check(site, relogged(site, covered, forged))


def relogged(site: Site, covered: StatisticsBundle, charge: bytes) -> StatisticsBundle:
    """The release with another charge, under valid signatures of log and witness."""
    from wg_core.ledger import checkpoint as checkpoints
    from wg_core.ledger import merkle

    index = entries.decode(charge).head.seq
    leaves = [merkle.leaf_hash(b"filler")] * index
    leaves += [merkle.leaf_hash(charge), merkle.leaf_hash(covered.release_entry)]
    note = checkpoints.sign(
        checkpoints.Checkpoint(LOG, len(leaves), merkle.root(leaves)), [site.key]
    )
    note = note.with_signatures(checkpoints.cosign(note, NAME, site.witness_key, 1))
    proofs = [
        inclusion_proof.Proof(
            index=i, path=tuple(merkle.inclusion_proof(leaves, i)), note=note
        ).encode()
        for i in (index, index + 1)
    ]
    return dataclasses.replace(
        covered, charge_entry=charge, charge_proof=proofs[0], release_proof=proofs[1]
    )


def test_the_forgery_of_this_test_would_hold_without_a_change(
    site: Site, covered: StatisticsBundle
) -> None:
    check(site, relogged(site, covered, covered.charge_entry))
