"""Export for auditors: the server's keys, the newest checkpoints, and every received file.

An auditor of a plant's ledger needs facts that the plant cannot choose: the length of the ledger (a
cosigned checkpoint), the files that arrived here, and the site's earlier ledgers. The server
vouches for all of these; checkpoints and files also bear the plant's signatures.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wg_common import auditor_record
from wg_common.auditor_record import LogRecord, ServerRecord, SiteRecord
from wg_core import atomic
from wg_core.errors import ConfigError
from wg_core.ledger import signed_note as notes
from wg_core.wire import canonical, signing
from wg_server.campaigns.membership import site_membership_proofs
from wg_server.fleet import trust
from wg_server.fleet.witness import LedgerWitness, witness_key_name
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store import ledger_succession
from wg_server.store.ledger_succession import EnrolledLog
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLedgerKey:
    """Public key of a site's ledger, in hex and as verifier keys (c2sp.org/signed-note)."""

    site: str
    state: str
    ledger_origin: str
    ledger_key: str
    ledger_vkeys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKeys:
    """Public keys of the server and of its sites' ledgers, in hex, for auditors.

    Attributes:
        server: Name of the server.
        ca_sha256: SHA-256 of the certificate authority's certificate (DER).
        signing_key: Public key that verifies weights packages.
        witness_name: Key name of the server as a witness.
        witness_key: Public key that verifies cosignatures.
        witness_vkeys: The witness key as verifier keys (c2sp.org/signed-note).
        encoder: SHA-256 of the public encoder package; empty before ``zoo build``.
        sites: Ledger keys of every site that enrolled.
    """

    server: str
    ca_sha256: str
    signing_key: str
    witness_name: str
    witness_key: str
    witness_vkeys: tuple[str, ...]
    encoder: str
    sites: tuple[SiteLedgerKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteExport:
    """Files that were written for auditors about one site.

    Attributes:
        site: Name of the site.
        files: Number of statistics files received from the site.
        logs: Number of ledgers that the site used, one after another.
        succession: Classification of the ledger in use, see ``store.ledger_succession``.
        checkpoint_size: Number of cosigned entries of the ledger in use; zero if none was cosigned.
        forks: Number of pairs of contradicting checkpoints of its ledgers.
        refused_files: Number of files whose ledger did not extend the cosigned checkpoint.
    """

    site: str
    files: int
    logs: int
    succession: str
    checkpoint_size: int
    forks: int
    refused_files: int


def server_keys(home: ServerHome) -> ServerKeys:
    """Return the public keys of a server's home.

    Raises:
        ConfigError: The home is not initialised.
    """
    config = home.read_config()
    name = witness_key_name(config)
    witness = signing.load(home.witness_key).public_key()
    with ServerStore.open(home) as store:
        sites = [site for site in store.sites() if site.ledger_origin]
    return ServerKeys(
        server=config.name,
        ca_sha256=pki.certificate_sha256(pki.load_certificate(home.ca_cert)),
        signing_key=signing.public_bytes(signing.load(home.signing_key)).hex(),
        witness_name=name,
        witness_key=witness.raw.hex(),
        witness_vkeys=notes.encode_verifier_keys(name, notes.COSIGNER_ROLE, witness),
        encoder=home.encoder_sha256() if home.encoder_file.is_file() else "",
        sites=tuple(
            SiteLedgerKey(
                site=site.name,
                state=site.state,
                ledger_origin=site.ledger_origin,
                ledger_key=site.ledger_key,
                ledger_vkeys=notes.encode_verifier_keys(
                    site.ledger_origin, notes.LOG_ROLE, signing.public_from_hex(site.ledger_key)
                ),
            )
            for site in sites
        ),
    )


def export_for_auditors(
    home: ServerHome, export_folder: Path, site_names: Sequence[str]
) -> list[SiteExport]:
    """Write a folder for auditors, and return one summary per site, sorted by name.

    Args:
        export_folder: Folder to write, empty or missing; see ``wg_common.auditor_record`` for its
            files.
        site_names: Sites to export; nothing about other sites is written.

    Raises:
        ConfigError: The folder is not empty, or a site is unknown or never enrolled.
    """
    if export_folder.exists() and (not export_folder.is_dir() or any(export_folder.iterdir())):
        raise ConfigError(f"{export_folder}: expected an empty folder, or none")
    config = home.read_config()
    exports, records = [], []
    with ServerStore.open(home) as store:
        witness = LedgerWitness.open(home, store)
        sites = [store.require_site(name) for name in sorted(set(site_names))]
        logs = store.logs_of_sites(site.name for site in sites)
        for site in sites:
            if site.name not in logs:
                raise ConfigError(f"site {site.name}: {site.state}, it never enrolled")
            folder = export_folder / site.name
            size = 0
            if store.last_cosigned_checkpoint(site.ledger_origin) is not None:
                checkpoint = witness.renew_cosignature(site)
                atomic.write_bytes(folder / auditor_record.CHECKPOINT_FILE, checkpoint)
                size = ledger_succession.checkpoint_size(checkpoint)
            record = _site_record(site, logs[site.name])
            records.append(record)
            origins = [log.origin for log in record.logs]
            forks, refused_files = _write_forks_and_refused_files(
                store, origins, folder / auditor_record.FORK_FOLDER
            )
            exports.append(
                SiteExport(
                    site=site.name,
                    files=_write_site_files(home, store, site, folder),
                    logs=len(record.logs),
                    succession=record.logs[-1].succession,
                    checkpoint_size=size,
                    forks=forks,
                    refused_files=refused_files,
                )
            )
    server_record = ServerRecord(
        server=config.name,
        made=int(time.time()),
        witness_name=witness.name,
        witness_key=signing.public_bytes(witness.public_key).hex(),
        sites=tuple(records),
        handovers=trust.read_handovers(home),
    )
    atomic.write_bytes(
        export_folder / auditor_record.SITES_FILE,
        auditor_record.encode_server_record(server_record),
    )
    return exports


def _site_record(site: StoredSite, logs: Sequence[EnrolledLog]) -> SiteRecord:
    """Return a site's record: all its ledgers that can hold a release, the one in use last."""
    in_use = [ledger for ledger in logs if ledger.origin == site.ledger_origin]
    earlier = [
        ledger
        for ledger in logs
        if ledger not in in_use and ledger_succession.can_hold_release(ledger)
    ]
    rows = [
        (ledger, ledger_succession.classify_succession(ledger.origin, [*earlier[: index + 1]]))
        for index, ledger in enumerate(earlier)
    ]
    rows += [
        (ledger, ledger_succession.classify_succession(ledger.origin, logs)) for ledger in in_use
    ]
    return SiteRecord(
        site=site.name,
        state=site.state,
        logs=tuple(
            LogRecord(
                origin=ledger.origin,
                key=ledger.key,
                checkpoint=(ledger.checkpoint or b"").decode(),
                first_seen=int(ledger.first_seen),
                succession=verdict,
            )
            for ledger, verdict in rows
        ),
    )


def _write_site_files(home: ServerHome, store: ServerStore, site: StoredSite, folder: Path) -> int:
    """Write a site's statistics files, logs and proofs; return the number of statistics files."""
    count = 0
    for member in site_membership_proofs(home, store, site.name):
        name = f"{member.package_id}{auditor_record.MEMBERSHIP_SUFFIX}"
        atomic.write_bytes(folder / name, canonical.encode(member))
    for release in store.releases_of_site(site.name):
        name = canonical.sha256_hex(release.data)[:32]
        atomic.write_bytes(folder / f"{name}.wgs", release.data)
        count += 1
    for origin, data in store.replaced_log_exports(site.name).items():
        name = canonical.sha256_hex(origin.encode())[:32]
        atomic.write_bytes(folder / f"{name}{auditor_record.LOG_SUFFIX}", data)
    return count


def _write_forks_and_refused_files(
    store: ServerStore, ledger_origins: Sequence[str], folder: Path
) -> tuple[int, int]:
    """Write pairs of contradicting checkpoints, and refused files; return how many of each."""
    pairs = [(row[2], row[3]) for row in store.list_fork_evidence() if row[0] in ledger_origins]
    for number, (earlier, later) in enumerate(pairs):
        atomic.write_bytes(folder / f"{number}{auditor_record.EARLIER_CHECKPOINT_SUFFIX}", earlier)
        atomic.write_bytes(folder / f"{number}{auditor_record.LATER_CHECKPOINT_SUFFIX}", later)
    refused_files = 0
    for origin in ledger_origins:
        for data in store.refused_files(origin):
            atomic.write_bytes(folder / f"{canonical.sha256_hex(data)[:32]}.wgs", data)
            refused_files += 1
    return len(pairs), refused_files
