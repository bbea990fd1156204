"""Rotation of the package and witness keys by hand-over, so that no plant enrols again.

Each old key signs the new key that replaces it, and is then deleted. When plants connect, they
follow these hand-overs from the key that they pin to the current one, and record them on their
ledgers. Ledgers, budgets and releases stay unchanged.

*Not for stolen keys.* A thief of an old key can sign hand-overs, too. After a theft or a loss no
old key signs anything, and trust is established again by a join token for each plant.

The steps have a fixed order: running an interrupted command again completes it.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wg_core import atomic
from wg_core.errors import ConfigError
from wg_core.wire import canonical, handover, signing
from wg_server.fleet import trust
from wg_server.operation import staged_files
from wg_server.operation.backup import lock_keys
from wg_server.operation.serve import hold_serving_locks
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import OPEN_CAMPAIGN_STATES
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore

_KEPT_HANDOVERS_LIMIT = 2 * handover.HANDOVERS_LIMIT
"""Number of stored hand-overs; plants follow at most half of them per key."""


@dataclass(frozen=True, slots=True)
class RotatedKeys:
    """New public keys, hex: of the key that signs packages, and the key that cosigns ledgers."""

    signing_key: str
    witness_key: str


def rotate_keys(home: ServerHome, *, are_keys_stolen: bool = False) -> RotatedKeys:
    """Create new signing and witness keys; the old public keys go to ``keys/retired``.

    Args:
        are_keys_stolen: The old keys may be stolen, or one is lost: they sign no hand-over.

    Raises:
        ConfigError: A server runs, or a campaign is open: its packages have the old signature.
        StorageError: The disk cannot be written; run the command again.
    """
    with hold_serving_locks(home), lock_keys(home), ServerStore.open(home) as store:
        open_ones = [
            c.id
            for c in CampaignQueue(store.engine).newest_campaigns(with_tasks=False)
            if c.state in OPEN_CAMPAIGN_STATES
        ]
        if open_ones:
            raise ConfigError(
                f"campaign {open_ones[0]}: still open; let it end or cancel it before new keys"
            )
        folder = home.next_keys_folder
        staged_files.prepare_staging_folder(folder, partial(_make_key_files, home, are_keys_stolen))
        staged_files.install_staged_files(
            folder, (home.handovers_file.name, home.signing_key.name, home.witness_key.name)
        )
        staged_files.discard_staging_folder(folder)
    keys = (home.signing_key, home.witness_key)
    return RotatedKeys(*(signing.public_bytes(signing.load(path)).hex() for path in keys))


def _make_key_files(home: ServerHome, are_keys_stolen: bool, staging_folder: Path) -> None:
    """Write the new signing and witness keys, and hand-overs to them, into a folder."""
    handovers = [] if are_keys_stolen else list(trust.read_handovers(home))
    for use, name, path in trust.handed_over_keys(home):
        new = (
            signing.generate_hybrid_key() if use == handover.WITNESS_USE else signing.generate_key()
        )
        signing.save(staging_folder / path.name, new)
        if are_keys_stolen and not path.is_file():
            continue  # a lost key signs nothing
        old = signing.load(path)
        public = signing.public_bytes(old)
        retired_file = (
            path.parent / "retired" / f"{path.stem}-{canonical.sha256_hex(public)[:16]}.pub"
        )
        atomic.write_bytes(retired_file, f"{public.hex()}\n".encode())
        if not are_keys_stolen:
            handovers.append(handover.sign_handover(use, name, old, new))
    atomic.write_bytes(
        staging_folder / home.handovers_file.name,
        canonical.encode(handovers[-_KEPT_HANDOVERS_LIMIT:]),
    )
