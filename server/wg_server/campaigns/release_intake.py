"""Intake of releases: their signature, ledger entries, query and plausibility are checked.

A release arrives over the network or as a file, and passes the same checks. Over the network, the
ledger's checkpoint was cosigned before the release was sent. A file from a site without a network
carries a consistency proof instead, and its checkpoint is cosigned here if it extends the last one.

An implausible release (``plausibility``) is stored in quarantine, since the plant has already paid
for it, and is used for no weights until the operator accepts it. A public statement (epsilon 0)
holds no statistics: it is stored like a release, and is used only for its own plant's weights.
"""

import logging
from dataclasses import dataclass

from wg_core import number_parsers
from wg_core.errors import ConfigError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import entries, inclusion_proof
from wg_core.ledger.entries import PublicStatement
from wg_core.ledger.signed_note import Note
from wg_core.ledger.witness import CONTRADICTION_STATUSES, WitnessRefused
from wg_core.privacy.schema import CLASS_STATISTICS, StatisticsKind
from wg_core.wire import bundle, canonical, container, protocol, signing, statistics_file
from wg_core.wire.bundle import StatementBundle, StatisticsBundle
from wg_core.wire.signing import PublicKey
from wg_server.campaigns import plausibility
from wg_server.campaigns.release import (
    DecodedRelease,
    PackageRecipient,
    recipient_from_release,
    recipient_from_statement,
)
from wg_server.fleet import bundle_verification
from wg_server.fleet.witness import LedgerWitness
from wg_server.site.home import AdditionalWitness
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)

QUARANTINED_CODE = "quarantined"
"""Code of a task whose release is in quarantine."""

ReceivedBundle = StatisticsBundle | StatementBundle


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryTerms:
    """Terms that a query sets for a release: encoder, epsilon, delta and kind of statistics."""

    encoder_sha256: str
    epsilon: str
    delta: str
    statistics_kind: StatisticsKind = CLASS_STATISTICS


def accept_release(
    site: StoredSite,
    bundle_data: bytes,
    query_terms: QueryTerms,
    *,
    witness: LedgerWitness,
    current_time: float,
) -> StoredRelease:
    """Verify a release and its ledger proof against its query; return the row to store.

    Raises:
        DecodeError: The bytes are not a release with its ledger entries.
        VerificationError: The release is not validly signed, not covered by a witnessed ledger, or
            does not match the query.
    """
    statistics = _decode_bundle(bundle_data)
    plant = _verify_bundle(site, statistics, witness.name, witness.public_key)
    check_witness_quorum(site, statistics, witness)
    epsilon, delta = _epsilon_and_delta(plant)
    rows: list[tuple[str, object, object]] = [
        ("encoder", plant.encoder_sha256, query_terms.encoder_sha256),
        (
            "epsilon",
            number_parsers.parse_exact_decimal(epsilon),
            number_parsers.parse_exact_decimal(query_terms.epsilon),
        ),
    ]
    if plant.release is not None:
        rows.append(
            (
                "delta",
                number_parsers.parse_exact_decimal(delta),
                number_parsers.parse_exact_decimal(query_terms.delta),
            )
        )
        rows.append(("statistics", plant.statistics_kind, query_terms.statistics_kind))
    for field, actual, want in rows:
        if actual != want:
            raise VerificationError(
                f"release of {site.name}: {field} is {actual}, asked was {want}"
            )
    return _release_row(site, bundle_data, statistics, plant, current_time)


def accept_release_file(
    store: ServerStore,
    bundle_data: bytes,
    *,
    encoder_sha256: str,
    witness: LedgerWitness,
    current_time: float,
) -> StoredRelease:
    """Verify a release from a file, cosign its ledger if necessary, and store it.

    The caller must check whether the release is usable.

    Raises:
        ConfigError: The site is not enrolled.
        DecodeError: The bytes are not a release with its ledger entries.
        VerificationError: The release is invalid, or made with another encoder.
        WitnessRefused: The site's ledger contradicts an earlier checkpoint. The file is stored for
            auditors, since its release was charged, perhaps on another copy of the ledger.
    """
    statistics = _decode_bundle(bundle_data)
    claimed_release = _claimed_recipient(statistics)
    site = store.require_site(claimed_release.site)
    if site.state != "enrolled":
        raise ConfigError(f"site {site.name}: {site.state}, expected enrolled")
    if claimed_release.encoder_sha256 != encoder_sha256:
        raise VerificationError(
            f"release of {site.name}: encoder {claimed_release.encoder_sha256[:16]}…, this server's"
            f" is {encoder_sha256[:16]}…"
        )
    is_cosigned = bundle_verification.claims_cosignature(
        statistics, witness.name, witness.public_key
    )
    by = (witness.name, witness.public_key) if is_cosigned else (None, None)
    plant = _verify_bundle(site, statistics, *by)
    check_witness_quorum(site, statistics, witness)
    release = _release_row(site, bundle_data, statistics, plant, current_time)
    stored_release = store.find_release(release.release_id)
    if not is_cosigned and (stored_release is None or stored_release.data != bundle_data):
        try:
            witness.cosign_file_checkpoint(site, bundle_verification.witness_requests(statistics))
        except WitnessRefused as refusal:
            if refusal.status in CONTRADICTION_STATUSES:
                store.store_refused_file(site.ledger_origin, bundle_data, current_time)
            raise
    return store.add_release(release)


def load_recipient(stored_release: StoredRelease) -> PackageRecipient:
    """Return the plant of a stored release or statement; raises as ``decode_stored_release``."""
    if stored_release.epsilon == protocol.STATEMENT_EPSILON:
        return recipient_without_statistics(stored_release)
    release = decode_stored_release(stored_release)
    return recipient_from_release(release.manifest, release)


def recipient_without_statistics(stored_release: StoredRelease) -> PackageRecipient:
    """Return the plant of a stored release or statement, without its statistics.

    Raises:
        DecodeError: The store is damaged.
    """
    return _claimed_recipient(_decode_bundle(stored_release.data))


def decode_stored_release(stored_release: StoredRelease) -> DecodedRelease:
    """Open a stored release, which was verified when it was received.

    Raises:
        DecodeError: The store is damaged.
        VerificationError: The store is damaged.
    """
    statistics = bundle.decode_statistics(stored_release.data)
    key = signing.public_from_hex(stored_release.signing_key)
    return DecodedRelease(*statistics_file.decode_release(statistics.release, key))


def check_release_usable(release: StoredRelease) -> None:
    """Refuse a release that is in quarantine or rejected.

    Raises:
        VerificationError: The release is in quarantine, or was rejected.
    """
    if not release.is_usable:
        reasons = "; ".join(release.reasons.splitlines()) or "no reason is on record"
        raise VerificationError(
            f"release {release.release_id} of {release.site}: {release.standing}: {reasons}."
            " 'wg-server releases --accept' lets it be used"
        )


def check_witness_quorum(
    site: StoredSite, received_bundle: ReceivedBundle, witness: LedgerWitness
) -> None:
    """Check that enough known witnesses, this server included, cosigned a release's ledger.

    Raises:
        VerificationError: Fewer did than ``witness_quorum`` in ``server.yaml`` asks for.
    """
    for text in received_bundle.proofs:
        note = inclusion_proof.decode(text, input_name="proof").note
        count = 1 + sum(_is_cosigned(note, policy) for policy in witness.others)
        if count < witness.quorum:
            raise VerificationError(
                f"release of {site.name}: its ledger is cosigned by {count} known witnesses,"
                f" expected {witness.quorum}"
            )


def _is_cosigned(note: Note, witness: AdditionalWitness) -> bool:
    key = signing.public_from_hex(witness.key)
    try:
        checkpoints.verified_cosignature_time(note, witness.name, key)
    except VerificationError:
        return False
    return True


def _decode_bundle(data: bytes) -> ReceivedBundle:
    """Decode a file as release or statement, according to the kind that its container states."""
    if container.stated_kind(data) == bundle.STATEMENT_BUNDLE_KIND:
        return bundle.decode_statement(data)
    return bundle.decode_statistics(data)


def _claimed_recipient(received_bundle: ReceivedBundle) -> PackageRecipient:
    """Return the plant that a received file claims to come from, without verification."""
    if isinstance(received_bundle, StatisticsBundle):
        return recipient_from_release(statistics_file.read_manifest(received_bundle.release))
    statement = entries.decode(received_bundle.entry, input_name="statement entry")
    if not isinstance(statement, PublicStatement):
        raise VerificationError(f"statement entry: is a {statement.head.kind} entry")
    return recipient_from_statement(statement)


def _verify_bundle(
    site: StoredSite,
    received_bundle: ReceivedBundle,
    witness_name: str | None,
    witness_key: PublicKey | None,
) -> PackageRecipient:
    place: bundle_verification.ExpectedSigners = {
        "ledger_origin": site.ledger_origin,
        "ledger_key": signing.public_from_hex(site.ledger_key),
        "witness_name": witness_name,
        "witness_key": witness_key,
    }
    if isinstance(received_bundle, StatisticsBundle):
        key = signing.public_from_hex(site.signing_key)
        release = DecodedRelease(*statistics_file.decode_release(received_bundle.release, key))
        plant = recipient_from_release(release.manifest, release)
    else:
        plant = recipient_from_statement(
            bundle_verification.verify_statement_bundle(received_bundle, **place)
        )
    if plant.site != site.name:
        raise VerificationError(f"release of {site.name}: it names site {plant.site!r}")
    if isinstance(received_bundle, StatisticsBundle):
        bundle_verification.verify_statistics_bundle(received_bundle, **place)
    return plant


def _epsilon_and_delta(plant: PackageRecipient) -> tuple[str, str]:
    """Return epsilon and delta of a release; both are ``0`` for a statement."""
    if plant.release is None:
        return protocol.STATEMENT_EPSILON, protocol.STATEMENT_EPSILON
    return plant.release.manifest.epsilon, plant.release.manifest.delta


def _release_row(
    site: StoredSite,
    data: bytes,
    received_bundle: ReceivedBundle,
    plant: PackageRecipient,
    current_time: float,
) -> StoredRelease:
    identity, reasons = plant.release_id, ""
    if isinstance(received_bundle, StatementBundle):
        identity = canonical.sha256_hex(received_bundle.entry)[:32]
    if plant.release is not None:
        reasons = "\n".join(plausibility.implausibility_reasons(plant.release.statistics))
    if reasons:
        log.error("release %s of %s: quarantined: %s", identity, site.name, reasons)
    epsilon, delta = _epsilon_and_delta(plant)
    return StoredRelease(
        release_id=identity,
        site=site.name,
        encoder=plant.encoder_sha256,
        epsilon=epsilon,
        delta=delta,
        received=current_time,
        signing_key=site.signing_key,
        data=data,
        standing="quarantined" if reasons else "plausible",
        reasons=reasons,
        statistics=plant.statistics_kind,
    )
