"""Weights package from a statistics file, for one site without a network."""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from wg_common import weights_package
from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.wire import protocol
from wg_server.campaigns import expected_benefit, packaging, release_intake
from wg_server.campaigns.packaging import PackageMaker
from wg_server.campaigns.release_pools import StoredReleasePools
from wg_server.fleet.witness import LedgerWitness
from wg_server.generator import versions
from wg_server.site.home import ServerHome
from wg_server.store.releases import StoredRelease
from wg_server.store.server_store import ServerStore


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSummary:
    """Description of the package that was made from a statistics file.

    Attributes:
        site: Name of the recipient.
        request_id: Id of this delivery, drawn at random, which the package states.
        release_id: Id of the recipient's release.
        bytes: Size of the package, in bytes.
        is_statistic_unused: True if the package's networks do not use the released machine
            statistics.
    """

    site: str
    request_id: str
    release_id: str
    bytes: int
    is_statistic_unused: bool = False


def generate_from_file(
    home: ServerHome,
    release_file: Path,
    package_file: Path,
    *,
    make_package: PackageMaker = packaging.make_package,
) -> PackageSummary:
    """Verify and store a release; write its site's package to ``package_file``.

    Raises:
        ConfigError: A file is missing, the site is not enrolled, or no installed generator has
            weights for it.
        DecodeError: ``release_file`` is not a statistics file.
        VerificationError: The release is invalid or in quarantine, or the generator is damaged.
        WitnessRefused: The site's ledger contradicts an earlier checkpoint.
    """
    version = versions.usable_version(home)  # fails before the release is stored
    data = atomic.read_bytes(release_file, limit=protocol.STATISTICS_BYTES_LIMIT)
    with ServerStore.open(home) as store:
        witness = LedgerWitness.open(home, store)
        stored_release = _accept_release_file(home, store, release_file, data, witness)
        release_intake.check_release_usable(stored_release)
        checkpoint = witness.renew_cosignature(store.require_site(stored_release.site))
        request_id = secrets.token_hex(16)
        plant, pools = (
            release_intake.load_recipient(stored_release),
            StoredReleasePools(home, store),
        )
        package = make_package(home, pools, plant, request_id, version.id)
    # The checkpoint tells the plant that its ledger was cosigned.
    package = weights_package.add_checkpoint(package, checkpoint)
    atomic.write_bytes(package_file, package)
    return PackageSummary(
        site=stored_release.site,
        request_id=request_id,
        release_id=stored_release.release_id,
        bytes=len(package),
        is_statistic_unused=(
            plant.machine_statistics is not None
            and plant.data_sheet is not None
            and not expected_benefit.uses_statistic(version.card, plant.data_sheet.kind)
        ),
    )


def _accept_release_file(
    home: ServerHome, store: ServerStore, release_file: Path, data: bytes, witness: LedgerWitness
) -> StoredRelease:
    """Verify and store a statistics file; errors name the file and say how to write it again.

    Raises:
        ConfigError, DecodeError, VerificationError: See ``release_intake.accept_release_file``.
    """
    try:
        return release_intake.accept_release_file(
            store,
            data,
            encoder_sha256=home.encoder_sha256(),
            witness=witness,
            current_time=time.time(),
        )
    except VerificationError as error:
        raise VerificationError(
            f"{release_file}: {error}. If the plant's ledger key has changed since the file was"
            " made, or the file was damaged on its way: 'wg-client statistics' writes it anew, at"
            " no cost"
        ) from error
    except DecodeError as error:
        raise DecodeError(f"{release_file}: {error}") from error
