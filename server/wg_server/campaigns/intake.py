"""Taking a release in: signature, ledger coverage, whether it is what was asked for, and plausible.

The same function behind both paths. Over the network the checkpoint was cosigned before the
release was sent. A file from a site without a network carries the consistency proof instead, and
the checkpoint is cosigned here, by the same memory.

A release that cannot be what it says (``plausibility``) was made and charged all the same: it is
kept, in quarantine, where it enters nobody's weights until the operator says so.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wg_core import numbers
from wg_core.errors import ConfigError, VerificationError, WgError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import proof, verify
from wg_core.ledger.note import Note
from wg_core.wire import signing, statistics_file
from wg_core.wire.covered import CoveredStatistics
from wg_core.wire.signing import PublicKey
from wg_server.campaigns import plausibility
from wg_server.campaigns.release import Release
from wg_server.fleet.witness import Witness
from wg_server.site.home import WitnessPolicy
from wg_server.store.releases import StoredRelease
from wg_server.store.site import Site
from wg_server.store.sites import Store

log = logging.getLogger(__name__)

QUARANTINED = "quarantined"
"""Why a site's part of a campaign ended: its release is kept, and not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a release must be under: an encoder and a privacy guarantee."""

    encoder: str
    epsilon: str
    delta: str


def accept(site: Site, data: bytes, terms: Asked, *, witness: Witness, now: float) -> StoredRelease:
    """Verify a covered release of a site against what it was asked.

    Raises:
        DecodeError: The bytes are not a covered release.
        VerificationError: It is not signed, not covered by a witnessed ledger, or not what was
            asked for.
    """
    covered = statistics_file.decode_covered(data)
    release = _open(site, covered, witness.name, witness.public_key)
    check_witnesses(site, covered, witness)
    for field, got, want in (
        ("encoder", release.manifest.schema.encoder, terms.encoder),
        ("epsilon", numbers.exact(release.manifest.epsilon), numbers.exact(terms.epsilon)),
        ("delta", numbers.exact(release.manifest.delta), numbers.exact(terms.delta)),
    ):
        if got != want:
            raise VerificationError(f"release of {site.name}: {field} is {got}, asked was {want}")
    return _stored(site, data, release, now)


def accept_file(
    store: Store, data: bytes, *, encoder: str, witness: Witness, now: float
) -> StoredRelease:
    """Verify a release that came as a file, witness its ledger if nobody did, and keep it.

    Whether it is ``used`` is for the caller to look at.

    Raises:
        ConfigError: The site is not enrolled.
        DecodeError: The bytes are not a covered release.
        VerificationError: It does not hold, or is of another encoder.
        WitnessRefused: The site's ledger contradicts what was seen of it before.
    """
    covered = statistics_file.decode_covered(data)
    manifest = statistics_file.FILE.read_manifest(covered.release)
    site = store.site(manifest.site)
    if site.state != "enrolled":
        raise ConfigError(f"site {site.name}: {site.state}, expected enrolled")
    if manifest.schema.encoder != encoder:
        raise VerificationError(
            f"release of {site.name}: encoder {manifest.schema.encoder[:16]}…, this server's is"
            f" {encoder[:16]}…"
        )
    if verify.is_cosigned(covered, witness.name, witness.public_key):
        release = _open(site, covered, witness.name, witness.public_key)
        check_witnesses(site, covered, witness)
    else:
        release = _open(site, covered, None, None)
        check_witnesses(site, covered, witness)
        stored = store.find_release(manifest.release_id)
        if stored is None or stored.data != data:
            witness.countersign_file(site, verify.witness_requests(covered))
    return store.add_release(_stored(site, data, release, now))


def open_release(stored: StoredRelease) -> Release:
    """Open a release that was verified when it came.

    Raises:
        DecodeError: The store is damaged.
        VerificationError: The store is damaged.
    """
    covered = statistics_file.decode_covered(stored.data)
    key = signing.public_from_hex(stored.signing_key)
    return Release(*statistics_file.decode_release(covered.release, key))


def check_used(release: StoredRelease) -> None:
    """Refuse a release that is not to be used.

    Raises:
        VerificationError: It is in quarantine, or was rejected.
    """
    if not release.used:
        reasons = "; ".join(release.reasons.splitlines()) or "no reason is on record"
        raise VerificationError(
            f"release {release.release_id} of {release.site}: {release.standing}: {reasons}."
            " 'wg-server releases --accept' lets it be used"
        )


def releases_of_others(store: Store, *, encoder: str, apart_from: str) -> Sequence[Release]:
    """Other sites' newest releases that are used, opened; as ``newest_releases``."""
    releases = newest_releases(store, encoder=encoder, opened={}, apart_from=apart_from)
    return tuple(releases.values())


def newest_releases(
    store: Store, *, encoder: str, opened: Mapping[str, Release], apart_from: str = ""
) -> dict[str, Release]:
    """Every site's newest release that is used, by its id.

    One that cannot be opened any more is left out, and named in the log.

    Args:
        opened: Releases that were opened before, by id; these are not opened again.
        apart_from: A site whose releases are left out.
    """
    releases = {}
    for release_id in store.newest_ids(encoder=encoder, apart_from=apart_from):
        try:
            releases[release_id] = opened.get(release_id) or open_release(store.release(release_id))
        except WgError as error:
            log.error("release %s is left out: %s", release_id, error)
    return releases


def check_witnesses(site: Site, covered: CoveredStatistics, witness: Witness) -> None:
    """Whether as many witnesses cosigned as ``server.yaml`` wants, this server counted as one.

    Raises:
        VerificationError: They did not.
    """
    for text in (covered.charge_proof, covered.release_proof):
        note = proof.decode(text, subject="proof").note
        count = 1 + sum(_cosigned(note, policy) for policy in witness.others)
        if count < witness.quorum:
            raise VerificationError(
                f"release of {site.name}: its ledger is cosigned by {count} known witnesses,"
                f" expected {witness.quorum}"
            )


def _cosigned(note: Note, witness: WitnessPolicy) -> bool:
    key = signing.public_from_hex(witness.key)
    try:
        checkpoints.verify_cosignature(note, witness.name, key)
    except VerificationError:
        return False
    return True


def _open(
    site: Site,
    covered: CoveredStatistics,
    witness_name: str | None,
    witness_key: PublicKey | None,
) -> Release:
    key = signing.public_from_hex(site.signing_key)
    release = Release(*statistics_file.decode_release(covered.release, key))
    if release.manifest.site != site.name:
        raise VerificationError(f"release of {site.name}: it names site {release.manifest.site!r}")
    verify.verify_covered(
        covered,
        ledger_origin=site.ledger_origin,
        ledger_key=signing.public_from_hex(site.ledger_key),
        witness_name=witness_name,
        witness_key=witness_key,
    )
    return release


def _reasons(release: Release) -> str:
    return "\n".join(plausibility.reasons(release.statistics))


def _stored(site: Site, data: bytes, release: Release, now: float) -> StoredRelease:
    reasons = _reasons(release)
    if reasons:
        log.error(
            "release %s of %s: quarantined: %s", release.manifest.release_id, site.name, reasons
        )
    return StoredRelease(
        release_id=release.manifest.release_id,
        site=site.name,
        encoder=release.manifest.schema.encoder,
        epsilon=release.manifest.epsilon,
        delta=release.manifest.delta,
        received=now,
        signing_key=site.signing_key,
        data=data,
        standing="quarantined" if reasons else "plausible",
        reasons=reasons,
    )
