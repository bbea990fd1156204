"""Statistics file in, weights package out: for one site without a network."""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from wg_common import weights_package
from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.wire import protocol
from wg_server.campaigns import intake, packaging
from wg_server.campaigns.packaging import MakePackage
from wg_server.campaigns.pools import StoredPools
from wg_server.fleet.witness import Witness
from wg_server.generator import versions
from wg_server.site.home import ServerHome
from wg_server.store.releases import StoredRelease
from wg_server.store.sites import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Package that was made: its recipient, its release, and its size."""

    site: str
    request_id: str
    release_id: str
    bytes: int


def generate_from_file(
    home: ServerHome, source: Path, out: Path, *, make_package: MakePackage = packaging.make_package
) -> Made:
    """Verify and keep the release in ``source``, and write a package for its site to ``out``.

    Raises:
        ConfigError: A file is missing, the site is not enrolled, or no generator is installed that
            makes this architecture.
        DecodeError: ``source`` is not a statistics file.
        VerificationError: It does not hold, or is in quarantine; or the generator is damaged.
        WitnessRefused: The site's ledger contradicts what was seen of it before.
    """
    version = versions.ready(home)  # before the release is taken in
    data = atomic.read_bytes(source, limit=protocol.STATISTICS_LIMIT)
    with Store.open(home) as store:
        witness = Witness.of(home, store)
        stored_release = _accept(home, store, source, data, witness)
        intake.check_used(stored_release)
        checkpoint = witness.attest(store.site(stored_release.site))
        request_id = secrets.token_hex(16)
        plant, pools = intake.open_recipient(stored_release), StoredPools(home, store)
        package = make_package(home, pools, plant, request_id, version.id)
    # Without the checkpoint the plant could not know that it was cosigned.
    package = weights_package.with_checkpoint(package, checkpoint)
    atomic.write_bytes(out, package)
    return Made(
        site=stored_release.site,
        request_id=request_id,
        release_id=stored_release.release_id,
        bytes=len(package),
    )


def _accept(
    home: ServerHome, store: Store, source: Path, data: bytes, witness: Witness
) -> StoredRelease:
    """Take a file in; an error names it, and says how to make it anew.

    Raises:
        ConfigError, DecodeError, VerificationError: As of ``intake.accept_file``.
    """
    try:
        return intake.accept_file(
            store, data, encoder=home.encoder_id(), witness=witness, current_time=time.time()
        )
    except VerificationError as error:
        raise VerificationError(
            f"{source}: {error}. If the plant's ledger key has changed since the file was made, or"
            " the file was damaged on its way: 'wg-client statistics' writes it anew, at no cost"
        ) from error
    except DecodeError as error:
        raise DecodeError(f"{source}: {error}") from error
