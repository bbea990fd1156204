"""Cosignatures of the plant's ledger: from how many witnesses, and how they come and go in files.

A release is sent when as many witnesses as ``client.yaml`` wants have cosigned the ledger that
covers it. The server is one of them, and must be; others are asked over HTTPS
(c2sp.org/tlog-witness). What a witness sees is a root, a size and a time: none depends on a record.

A plant without a network hands its checkpoint out inside a statistics file, and learns that the
server cosigned it when a weights package comes back. Until then any checkpoint that left may be the
last that the server saw, so a file leads there from each of them (``Log.inclusion_proof``). There
is room for ``witness.HANDED_OUT_LIMIT``; what would need more is refused before anything is
charged.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError, PeerError, RefusedError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import note as notes
from wg_core.ledger import proof
from wg_core.ledger.cosigned import RolledBack
from wg_core.ledger.store import Ledger
from wg_core.ledger.witness import CONTRADICTIONS, HANDED_OUT_LIMIT, WitnessRefused
from wg_core.site import config as configuration
from wg_core.site import locks
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.wire import protocol, signing, statistics_file

if TYPE_CHECKING:  # httpx: only where a witness beside the server is asked
    from wg_core.connection.http_witness import Ask

log = logging.getLogger(__name__)


class NoRoom(RefusedError):
    """Too many checkpoints left without a cosignature coming back."""

    code = "witness"


class TooFewWitnesses(PeerError):
    """Not as many witnesses cosigned as the plant wants; it may pass."""

    code = "witness"


def enrol(ledger: Ledger, config: ClientConfig) -> None:
    """Put the witnesses of ``client.yaml`` on the ledger, before anything is charged."""
    for cosigner in config.witnesses:
        ledger.enrol_witness(cosigner.name, cosigner.public_key)


def collect(ledger: Ledger, config: ClientConfig, server: Ask | None) -> None:
    """Get the newest checkpoint cosigned by as many witnesses as the plant wants.

    The server is asked first, and again where it was asked before: that waits for the end of the
    time slot, so that when the others are asked says nothing of the work before.

    Args:
        config: ``client.yaml``.
        server: Asks the server. None over the air gap: nobody can use the file before the server
            has cosigned it, so it counts as one that will.

    Raises:
        TooFewWitnesses: Too few answered, or their answers do not hold. What is released is kept.
        WitnessRefused: The server refuses.
        PeerError: The server cannot be reached.
    """
    if server is not None:
        ledger.countersign(config.server.witness_name, server)
    cosignatures, problems = 1, []
    if config.witnesses:
        from wg_core.connection import http_witness
    for cosigner in config.witnesses:
        try:
            if not ledger.newest_cosigned_by(cosigner.name):
                ledger.countersign(cosigner.name, http_witness.ask(cosigner))
        except (PeerError, VerificationError, DecodeError, ConfigError) as error:
            log.warning("witness %s: %s", cosigner.name, error)
            problems.append(f"{cosigner.name}: {error}")
        else:
            cosignatures += 1
    if cosignatures < config.witnesses_needed:
        raise TooFewWitnesses(
            f"{cosignatures} of {config.witnesses_needed} witnesses, {config.server.name} counted;"
            " the release is kept, and is sent when it is asked for again. " + "; ".join(problems)
        )


def check_others(home: ClientHome, config: ClientConfig) -> None:
    """Let the witnesses beside the server cosign the ledger as it is, as far as they answer.

    Raises:
        RolledBack: One has seen more of it than this ledger holds.
        WitnessRefused: One has seen another history of it.
    """
    if not config.witnesses:
        return
    from wg_core.connection import http_witness

    with locks.release(home), Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        enrol(ledger, config)
        for cosigner in config.witnesses:
            try:
                if not ledger.newest_cosigned_by(cosigner.name):
                    ledger.countersign(cosigner.name, http_witness.ask(cosigner))
            except RolledBack:
                raise
            except (PeerError, VerificationError, DecodeError, ConfigError) as error:
                if isinstance(error, WitnessRefused) and error.status in CONTRADICTIONS:
                    raise
                log.warning("witness %s: %s", cosigner.name, error)


def check_room(ledger: Ledger, config: ClientConfig) -> None:
    """Refuse one more file while as many as a file can lead from wait for a cosignature.

    Raises:
        NoRoom: They do; the message says what to do.
    """
    sizes = ledger.unanswered_sizes(config.server.witness_name)
    if len(sizes) >= HANDED_OUT_LIMIT:
        raise NoRoom(
            f"{len(sizes)} files left since {config.server.name} last cosigned the ledger, and no"
            " more can be covered; nothing was charged. Apply a weights package that the server"
            " made from one of them"
        )


def hand_out(ledger: Ledger, config: ClientConfig) -> None:
    """Let the ledger's newest checkpoint leave in a file; again is free.

    Raises:
        NoRoom: As for ``check_room``.
    """
    if ledger.size not in ledger.unanswered_sizes(config.server.witness_name):
        check_room(ledger, config)
        ledger.hand_out()


def leads_to(file: Path, size: int) -> bool:
    """Return whether a stored statistics file belongs to the ledger's checkpoint of this size."""
    if not file.is_file():
        return False
    statistics = statistics_file.decode_covered(
        atomic.read_bytes(file, limit=protocol.STATISTICS_LIMIT)
    )
    return proof.decode(statistics.release_proof).checkpoint.size == size


def keep(home: ClientHome, signed: bytes) -> int | None:
    """Keep the server's cosignature of one of this ledger's checkpoints.

    Returns:
        The checkpoint's size; none if it is of another ledger, as in a package that was made
        before this plant gave its old ledger up.

    Raises:
        DecodeError: It is no checkpoint.
        VerificationError: The cosignature does not hold.
        RolledBack: The server has seen more of this ledger than it holds.
    """
    config = configuration.load(home)
    head, note = checkpoints.decode(signed, subject="cosigned checkpoint")
    with Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        if head.origin != ledger.origin:
            log.warning("cosigned checkpoint of another ledger, %s: not kept", head.origin)
            return None
        if head.size > ledger.size:
            checkpoints.verify(note, head.origin, signing.public_from_bytes(ledger.public_key))
            raise RolledBack(
                f"{ledger.path}: {config.server.name} has seen {head.size} entries, the ledger has"
                f" {ledger.size}: it was rolled back or replaced by an older copy. Restore the"
                " newest copy"
            )
        ledger.add_cosignature(signed, config.server.witness_name)
    return head.size


def keep_recent(home: ClientHome, signed: bytes, *, seconds: float) -> int:
    """Keep the cosigned note in which the server states how much of this ledger it has seen.

    Returns:
        Number of entries of the ledger.

    Raises:
        DecodeError, RolledBack: As of ``keep``.
        VerificationError: It is of another ledger, does not hold, or is older than ``seconds``.
    """
    if keep(home, signed) is None:
        raise VerificationError("checkpoint: of another ledger than this home's")
    server = configuration.load(home).server
    _, note = checkpoints.decode(signed, subject="cosigned checkpoint")
    key = signing.public_from_hex(server.witness_key)
    age = time.time() - checkpoints.verify_cosignature(note, server.witness_name, key)
    if age > seconds:
        raise VerificationError(
            f"checkpoint: {server.name} made it {age / 3600:.0f} h ago, and may have seen more"
            f" since; at most {seconds / 3600:.0f} h are good: ask its operator for a new one"
        )
    with Ledger.open(home.ledger) as ledger:
        return ledger.size


def check_newest(home: ClientHome, config: ClientConfig, ask: Ask) -> int:
    """Let the server cosign the ledger as it is: a copy that is older than it saw is found out.

    Nothing is charged before that, so an older copy cannot become a second story of one ledger.

    Returns:
        Number of entries of the ledger.

    Raises:
        RolledBack: The server has seen more of it than this ledger holds.
        PeerError: The server cannot be reached, or refuses.
        VerificationError: The answer does not hold.
    """
    with locks.release(home), Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        ledger.countersign(config.server.witness_name, ask)
        return ledger.size


def status(
    home: ClientHome, config: ClientConfig
) -> tuple[str, tuple[str, ...], int, list[tuple[str, tuple[str, ...], int]]]:
    """Origin and verifier keys of the ledger, its size, and how far each witness cosigned it.

    Returns:
        Of each witness its name, its verifier keys, and a number of entries.
    """
    rows = []
    server = config.pin
    witnesses = [] if server is None else [(server.witness_name, bytes.fromhex(server.witness_key))]
    witnesses += [(cosigner.name, cosigner.public_key) for cosigner in config.witnesses]
    with Ledger.open(home.ledger) as ledger:
        for name, raw in witnesses:
            vkeys = notes.vkeys(name, notes.COSIGNER, signing.public_from_bytes(raw))
            rows.append((name, vkeys, ledger.cosigned_size(name, raw)))
        key = signing.public_from_bytes(ledger.public_key)
        return ledger.origin, notes.vkeys(ledger.origin, notes.LOG, key), ledger.size, rows
