"""Cosignatures of the plant's ledger that come and go in files, and how many may be under way.

A plant without a network hands its checkpoint out inside a statistics file, and learns that the
server cosigned it when a weights package, or the note of ``wg-server witness``, comes back. Until
then any checkpoint that left may be the last that the server saw, so a file leads there from each
of them (``Log.inclusion_proof``). There is room for ``witness.HANDED_OUT_LIMIT``; what would need
more is refused before anything is charged.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path

from wg_client import config as configuration
from wg_client.config import ClientConfig
from wg_client.home import ClientHome
from wg_common import atomic, protocol, signing, statistics_file, weights_package
from wg_common.errors import ConfigError, RefusedError, VerificationError
from wg_common.ledger import checkpoint as checkpoints
from wg_common.ledger import note as notes
from wg_common.ledger import proof
from wg_common.ledger.store import Ledger
from wg_common.ledger.witness import HANDED_OUT_LIMIT

log = logging.getLogger(__name__)


class NoRoom(RefusedError):
    """Too many checkpoints left without a cosignature coming back."""

    code = "witness"


def check_room(ledger: Ledger, config: ClientConfig) -> None:
    """Refuse one more file while as many as a file can lead from wait for a cosignature.

    Raises:
        NoRoom: They do; the message says what to do.
    """
    sizes = ledger.unanswered(config.server.witness_name)
    if len(sizes) >= HANDED_OUT_LIMIT:
        raise NoRoom(
            f"{len(sizes)} files left since {config.server.name} last cosigned the ledger, and no"
            " more can be covered; nothing was charged. Apply a weights package that the server"
            " made from one of them, or have its operator run 'wg-server witness --statistics FILE"
            " --out NOTE' with the newest and run 'wg-client cosigned NOTE' here"
        )


def hand_out(ledger: Ledger, config: ClientConfig) -> None:
    """Let the ledger's newest checkpoint leave in a file; again is free.

    Raises:
        NoRoom: As for ``check_room``.
    """
    if ledger.size not in ledger.unanswered(config.server.witness_name):
        check_room(ledger, config)
        ledger.hand_out()


def leads_to(file: Path, size: int) -> bool:
    """Whether a stored statistics file is for the ledger's checkpoint of this size."""
    if not file.is_file():
        return False
    covered = statistics_file.decode_covered(
        atomic.read_bytes(file, limit=protocol.STATISTICS_LIMIT)
    )
    return proof.decode(covered.release_proof).checkpoint.size == size


def keep_from_package(home: ClientHome, source: bytes | Path) -> int | None:
    """Keep the cosignature that a weights package may carry; see ``keep``.

    Args:
        home: The plant's home.
        source: The package, verified otherwise: its bytes, or its file.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            signed = weights_package.read_checkpoint(stream)
    except OSError as error:
        raise ConfigError(f"{source!s}: cannot be read: {error.strerror}") from error
    return keep(home, signed) if signed else None


def keep(home: ClientHome, signed: bytes) -> int | None:
    """Keep the server's cosignature of one of this ledger's checkpoints.

    Args:
        home: The plant's home.
        signed: The cosigned checkpoint, from a package or a note.

    Returns:
        The checkpoint's size; none if it is of another ledger, as in a package that was made
        before this plant gave its old ledger up.

    Raises:
        DecodeError: It is no checkpoint.
        VerificationError: The cosignature does not hold, or the server has seen more of this
            ledger than it holds.
    """
    config = configuration.load(home)
    head, note = checkpoints.decode(signed, what="cosigned checkpoint")
    with Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        if head.origin != ledger.origin:
            log.warning("cosigned checkpoint of another ledger, %s: not kept", head.origin)
            return None
        if head.size > ledger.size:
            notes.verify(note, head.origin, signing.public_from_bytes(ledger.public_key))
            raise VerificationError(
                f"{ledger.path}: {config.server.name} has seen {head.size} entries, the ledger has"
                f" {ledger.size}: it was rolled back or replaced by an older copy. Restore the"
                " newest copy"
            )
        ledger.add_cosignature(signed, config.server.witness_name)
    return head.size
