"""Rotation of the ledger key: the old key signs the new key, and the server learns it. Resumable.

The order is fixed, and ``keys/ledger.next.pem`` exists from the second step to the last, so an
interrupted command is finished by running it again:

1. the server cosigns the ledger, which shows that it is reachable and knows the current key;
2. the new key is saved beside the old one;
3. the ledger gets its ROTATION entry, signed by both keys;
4. the new key replaces the old one;
5. the server receives the new key, checks both signatures, and cosigns under the new key;
6. release files with proofs under the old key are set aside; they are made again on demand, from
   the same released bytes.

A home that shares another home's ledger changes no key: it only informs its own server of the
rotation at that home (steps 5 and 6).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from wg_core import atomic
from wg_core.connection import server_link
from wg_core.errors import PeerError, VerificationError
from wg_core.ledger import shared_budget
from wg_core.ledger import witness as witnesses
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.shared_budget import SharedBudget
from wg_core.site import budget_sharing, locks
from wg_core.site import config as configuration
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, signing
from wg_core.wire.protocol import KeyRotation

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyRotationResult:
    """Result of a rotation: index of its ledger entry, and the new public key, hex."""

    entry_index: int
    public_key: str


def rotate_ledger_key(
    home: ClientHome, *, on_step: Callable[[str], None] = lambda step: None
) -> KeyRotationResult:
    """Rotate the ledger's signing key, or finish an interrupted rotation.

    ``on_step`` is called with the name of each step, for tests.

    Raises:
        PeerError: The server cannot be reached or refuses; run it again later.
        VerificationError: The ledger, or an answer of the server, is not valid.
    """
    config = configuration.load(home)
    name = config.server.witness_name
    budget = shared_budget.read_shared_budget(home.root)
    if budget is not None:
        return _announce_shared_ledger_key(home, config, budget)
    coming = home.next_ledger_key
    with (
        locks.lock_ledger(home),
        server_link.ServerLink.open(home, config.server.fleet_url) as connection,
    ):
        if not coming.exists():
            with Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
                ledger.request_cosignature(name, connection.cosign)
            signing.save(coming, signing.generate_hybrid_key())
            on_step("saved")
        new = signing.load(coming)
        with Ledger.open(home.ledger) as ledger:
            is_rotated = ledger.public_key == signing.public_bytes(new)
        if not is_rotated:
            with Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
                ledger.rotate_key(new)
            on_step("rotated")
        atomic.copy_file(coming, home.ledger_key, mode=atomic.PRIVATE_FILE_MODE)
        on_step("installed")
        with Ledger.open(home.ledger, new) as ledger:
            entry = _announce_ledger_key(ledger, connection, name)
        on_step("told")
        home.archive_outbox(f"before-entry-{entry}")
        coming.unlink()
    log.info("ledger entry %d: another key signs from here", entry)
    return KeyRotationResult(entry, signing.public_bytes(new).hex())


def _announce_shared_ledger_key(
    home: ClientHome, config: ClientConfig, budget: SharedBudget
) -> KeyRotationResult:
    """Announce the new key of a ledger shared with another home to this home's server."""
    with (
        locks.lock_ledger(home),
        server_link.ServerLink.open(home, config.server.fleet_url) as connection,
        Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger,
    ):
        if ledger.origin != budget.origin:
            budget_sharing.check_known_ledger(home, ledger)
        if ledger.public_key.hex() == budget.ledger_key:
            budget_sharing.check_holds_ledger(
                home, "a change of the ledger's key", next_command="keys --renew ledger"
            )
        entry = _announce_ledger_key(ledger, connection, config.server.witness_name)
        budget_sharing.record_known_ledger(home, ledger)
        home.archive_outbox(f"before-entry-{entry}")
        return KeyRotationResult(entry, ledger.public_key.hex())


def _announce_ledger_key(
    ledger: Ledger, connection: server_link.ServerLink, witness_name: str
) -> int:
    """Send the server the ledger's new key, and store its cosignature; return the entry's index."""
    seq = ledger.newest_rotation_seq
    if seq is None:
        raise VerificationError(f"{ledger.path}: holds no rotation")
    size: int | None = None
    for _ in range(2):
        proof = ledger.newest_checkpoint_proof(seq, witness=witness_name, old_size=size)
        notice = KeyRotation(entry=ledger.entry_bytes(seq).decode(), proof=proof.decode())
        try:
            line = connection.announce_key_rotation(canonical.encode(notice))
        except witnesses.WitnessRefused as refused:
            if refused.last_seen_size is None:
                raise
            size = (
                refused.last_seen_size
            )  # the server has cosigned more entries than this home recorded
            continue
        ledger.add_cosignature(ledger.newest_checkpoint() + line, witness_name)
        return seq
    raise PeerError("rotation: the server changes its mind about what it cosigned last")
