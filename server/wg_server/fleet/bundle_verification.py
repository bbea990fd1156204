"""Verification that a release is on its site's ledger, before the server uses its statistics.

A bundle carries a release's CHARGE and RELEASE entries, each with a proof of inclusion in a signed
and cosigned checkpoint. Verification shows that this site charged this release, once, in the
history that the witness has seen. Not guaranteed: that the site releases nothing elsewhere without
a ledger entry. No log can prevent that, only the plant's network.
"""

from typing import TypedDict, TypeVar, Unpack

from wg_core import number_parsers
from wg_core.errors import VerificationError
from wg_core.ledger import charging, entries, inclusion_proof
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import signed_note as notes
from wg_core.ledger.entries import Charge, Entry, PublicStatement, Release, Rotation
from wg_core.ledger.inclusion_proof import Proof
from wg_core.ledger.log_state import verify_rotation_signatures
from wg_core.ledger.mechanism_cost import check_mechanism_cost, parse_sigma
from wg_core.ledger.witness import WitnessRequest, requests_in_proof
from wg_core.wire import canonical, statistics_file
from wg_core.wire.bundle import StatementBundle, StatisticsBundle
from wg_core.wire.signing import PublicKey

E = TypeVar("E", Charge, Release, PublicStatement, Rotation)


def check_charge_terms(charge: Charge, release_data: bytes) -> None:
    """Check that a charge has the terms that a release of statistics states.

    Raises:
        DecodeError: The bytes are not a release.
        VerificationError: A term differs.
    """
    manifest = statistics_file.read_manifest(release_data)
    schema, mechanism = manifest.schema, charge.mechanism
    sensitivity = number_parsers.parse_fraction(
        manifest.sensitivity_squared, input_name="manifest: squared sensitivity"
    )
    charged_sensitivity = number_parsers.parse_fraction(
        mechanism.sensitivity_squared, input_name="charge entry: squared sensitivity"
    )
    _require_equal_terms(
        ("request id", manifest.request_id == charge.request_id),
        ("data set", manifest.dataset == charge.dataset),
        ("epsilon", manifest.epsilon == charge.epsilon),
        ("delta", manifest.delta == charge.delta),
        ("sigma", parse_sigma(mechanism.sigma) == parse_sigma(manifest.sigma)),
        ("sensitivity", charged_sensitivity == sensitivity),
        ("mechanism", charge.event.mechanism == "gaussian"),
        ("neighbouring relation", charge.guarantee.adjacency == "add-remove"),
        ("blocks", charging.block_shares(schema) == mechanism.blocks),
        (
            "rule of units",
            charging.describe_records_per_unit(schema) == charge.guarantee.records_per_unit,
        ),
        ("purpose", manifest.purpose == charge.use.purpose),
        ("encoder", schema.encoder == mechanism.encoder),
        ("bits", schema.bits == mechanism.bits),
        ("clip radius", schema.clip_radius == mechanism.clip_radius),
        ("dimension", schema.dimension == mechanism.dimension),
        ("labels", schema.labels == charge.guarantee.labels),
    )


class ExpectedSigners(TypedDict):
    """Log and witness, with their keys, that must have signed the checkpoints of a bundle.

    Attributes:
        ledger_origin: Origin of the site's ledger, known from enrolment.
        ledger_key: Signing key, known from enrolment or a verified rotation.
        witness_name: Key name of the witness that must have cosigned; ``None`` only if the caller
            itself cosigns the checkpoint afterwards (``witness_requests``).
        witness_key: Public key of the witness; ``None`` if ``witness_name`` is.
    """

    ledger_origin: str
    ledger_key: PublicKey
    witness_name: str | None
    witness_key: PublicKey | None


def verify_statistics_bundle(
    statistics_bundle: StatisticsBundle, **expected_signers: Unpack[ExpectedSigners]
) -> None:
    """Verify that a release is on a ledger: its entries, their proofs, and the cosignatures.

    The site's signature on the release is verified elsewhere (``statistics_file.decode_release``).

    Raises:
        DecodeError: A part is malformed.
        VerificationError: The proofs do not show that the ledger has the release.
    """
    charge = _decode_entry(statistics_bundle.charge_entry, Charge, "charge entry")
    release = _decode_entry(statistics_bundle.release_entry, Release, "release entry")
    _check_inclusion(
        "charge",
        charge,
        statistics_bundle.charge_entry,
        statistics_bundle.charge_proof,
        expected_signers,
    )
    _check_inclusion(
        "release",
        release,
        statistics_bundle.release_entry,
        statistics_bundle.release_proof,
        expected_signers,
    )
    _check_release_entry(charge, release, statistics_bundle.release)
    check_charge_terms(charge, statistics_bundle.release)
    check_mechanism_cost(charge)


def verify_statement_bundle(
    statement_bundle: StatementBundle, **expected_signers: Unpack[ExpectedSigners]
) -> PublicStatement:
    """Verify that a public statement is on a ledger; return it. See ``verify_statistics_bundle``.

    Raises:
        DecodeError: A part is malformed.
        VerificationError: The statement is not on the ledger.
    """
    statement = _decode_entry(statement_bundle.entry, PublicStatement, "statement entry")
    _check_inclusion(
        "statement", statement, statement_bundle.entry, statement_bundle.proof, expected_signers
    )
    return statement


def verify_key_rotation(
    rotation_entry: bytes, rotation_proof: Proof, *, origin: str, old_key: bytes
) -> bytes:
    """Verify that a site's ledger changed its signing key, and return the new key, raw.

    The checkpoint's own signature is verified with the new key when the checkpoint is cosigned.

    Args:
        old_key: Known key, raw; may already be the new key.

    Raises:
        DecodeError: A part is malformed.
        VerificationError: Old or new key did not sign the change, or the ledger does not hold it.
    """
    rotation = _decode_entry(rotation_entry, Rotation, "rotation entry")
    if rotation.head.origin != origin or rotation_proof.index != rotation.head.seq:
        raise VerificationError(
            f"rotation entry: {rotation.head.seq} of log {rotation.head.origin!r}, expected"
            f" {rotation_proof.index} of {origin!r}"
        )
    rotation_proof.verify(rotation_entry)
    if rotation.new_key != old_key.hex():
        verify_rotation_signatures(rotation, old_key)
    return bytes.fromhex(rotation.new_key)


def read_new_ledger_key(rotation_entry: bytes) -> str:
    """Return the unverified new key of a ROTATION entry, hex; errors: ``verify_key_rotation``."""
    return _decode_entry(rotation_entry, Rotation, "rotation entry").new_key


def witness_requests(bundle: StatisticsBundle | StatementBundle) -> tuple[WitnessRequest, ...]:
    """Return the ``add-checkpoint`` requests in a file from a site without a network.

    Raises:
        DecodeError: The proofs carry no requests: the checkpoint was cosigned elsewhere.
        VerificationError: The proofs are for different checkpoints, so that one of them would
            remain uncosigned.
    """
    *before, last = (inclusion_proof.decode(text, input_name="proof") for text in bundle.proofs)
    for earlier in before:
        if earlier.note.text != last.note.text:
            raise VerificationError(
                f"release proof: for a checkpoint of size {last.checkpoint.size}, the charge proof"
                f" for another of size {earlier.checkpoint.size}"
            )
    return requests_in_proof(last)


def claims_cosignature(
    bundle: StatisticsBundle | StatementBundle, witness_name: str, witness_key: PublicKey
) -> bool:
    """Return whether each checkpoint carries a cosignature line of a key, without verifying it."""
    return all(
        notes.signature_lines(
            inclusion_proof.decode(text, input_name="proof").note,
            witness_name,
            notes.COSIGNER_ROLE,
            witness_key,
        )
        for text in bundle.proofs
    )


def _check_inclusion(
    entry_name: str,
    entry: Charge | Release | PublicStatement,
    entry_data: bytes,
    proof_text: bytes,
    expected_signers: ExpectedSigners,
) -> None:
    """Verify that an entry is in the log as its proof states, under a signed checkpoint."""
    entry_proof = inclusion_proof.decode(proof_text, input_name=f"{entry_name} proof")
    origin, witness_name = expected_signers["ledger_origin"], expected_signers["witness_name"]
    if entry.head.origin != origin:
        raise VerificationError(
            f"{entry_name} entry: of log {entry.head.origin!r}, expected {origin!r}"
        )
    if entry_proof.index != entry.head.seq:
        raise VerificationError(
            f"{entry_name} proof: of entry {entry_proof.index}, the entry says {entry.head.seq}"
        )
    try:
        entry_proof.verify(entry_data)
        checkpoints.verify(entry_proof.note, origin, expected_signers["ledger_key"])
        if witness_name is not None:
            if expected_signers["witness_key"] is None:
                raise VerificationError(f"no key of witness {witness_name} is known")
            checkpoints.verified_cosignature_time(
                entry_proof.note, witness_name, expected_signers["witness_key"]
            )
    except VerificationError as error:
        raise VerificationError(f"{entry_name} proof: {error}") from error


def _decode_entry(data: bytes, entry_type: type[E], input_name: str) -> E:
    entry: Entry = entries.decode(data, input_name=input_name)
    if not isinstance(entry, entry_type):
        raise VerificationError(f"{input_name}: is a {entry.head.kind} entry")
    return entry


def _check_release_entry(charge: Charge, release: Release, release_data: bytes) -> None:
    if release.charge != charge.head.seq:
        raise VerificationError(
            f"release entry: releases charge {release.charge}, not {charge.head.seq}"
        )
    if release.request_id != charge.request_id:
        raise VerificationError("release entry: another request than the charge's")
    digest = canonical.sha256_hex(release_data)
    if digest != release.payload_sha256 or len(release_data) != release.payload_size:
        raise VerificationError(
            f"release entry: covers bytes with hash {release.payload_sha256}, found {digest}"
        )


def _require_equal_terms(*term_matches: tuple[str, bool]) -> None:
    for name, good in term_matches:
        if not good:
            raise VerificationError(f"charge entry: {name} is not that of the manifest")
