"""Collection of witness cosignatures on the plant's ledger, over the network or in files.

A release is sent once as many witnesses as ``client.yaml`` requires have cosigned the ledger that
covers it. The server must be one of them; others are asked over HTTPS (c2sp.org/tlog-witness). A
witness sees a root, a size and a time, none of which depends on a record.

A plant without a network hands out its checkpoint inside a statistics file, and learns that the
server cosigned it when a weights package comes back. Until then the server may have last seen any
of the checkpoints handed out, so a file holds a consistency proof from each of them
(``CosignedLog.inclusion_proof``), at most ``witness.UNCOSIGNED_CHECKPOINTS_LIMIT``; a file that
needs more is refused before anything is charged.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError, PeerError, RefusedError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import inclusion_proof
from wg_core.ledger import signed_note as notes
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.cosigned import LedgerRolledBack
from wg_core.ledger.witness import (
    CONTRADICTION_STATUSES,
    UNCOSIGNED_CHECKPOINTS_LIMIT,
    AskWitness,
    WitnessRefused,
)
from wg_core.site import config as configuration
from wg_core.site import locks
from wg_core.site.config import ClientConfig, WitnessConfig
from wg_core.site.home import ClientHome
from wg_core.wire import bundle, protocol, signing

log = logging.getLogger(__name__)


class TooManyUncosignedCheckpoints(RefusedError):
    """Error: too many checkpoints were sent in files since the last one came back cosigned."""

    code = "witness"


class TooFewWitnesses(PeerError):
    """Error: fewer witnesses cosigned than the plant requires; a later attempt may succeed."""

    code = "witness"


def enrol_witnesses(ledger: Ledger, config: ClientConfig) -> None:
    """Enrol the witnesses listed in ``client.yaml`` on the ledger, unless they are enrolled."""
    for cosigner in config.witnesses:
        ledger.enrol_witness(cosigner.name, cosigner.public_key)


def collect_cosignatures(ledger: Ledger, config: ClientConfig, server: AskWitness | None) -> None:
    """Get the newest checkpoint cosigned by as many witnesses as the plant requires.

    The server is asked first, even if it has cosigned this checkpoint: its answer comes at the end
    of the time slot, so the time at which the other witnesses are asked reveals nothing about the
    work on the release.

    Args:
        server: Function that asks the server. None over the air gap: the server is then counted as
            having cosigned, because nobody can use the file before it does.

    Raises:
        TooFewWitnesses: Too few witnesses gave a valid cosignature. The release is kept.
        WitnessRefused: The server refuses to cosign.
        PeerError: The server cannot be reached.
    """
    if server is not None:
        ledger.request_cosignature(config.server.witness_name, server)
    cosignatures, problems = 1, []
    for cosigner in config.witnesses:
        try:
            _ask_other_witness(ledger, cosigner)
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


def ask_other_witnesses(home: ClientHome, config: ClientConfig) -> None:
    """Ask the witnesses other than the server to cosign the ledger; failures are only logged.

    Raises:
        LedgerRolledBack: A witness has seen more entries than this ledger holds.
        WitnessRefused: A witness has seen another history of the ledger.
    """
    if not config.witnesses:
        return
    with locks.lock_ledger(home), Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        enrol_witnesses(ledger, config)
        for cosigner in config.witnesses:
            try:
                _ask_other_witness(ledger, cosigner)
            except LedgerRolledBack:
                raise
            except (PeerError, VerificationError, DecodeError, ConfigError) as error:
                if isinstance(error, WitnessRefused) and error.status in CONTRADICTION_STATUSES:
                    raise
                log.warning("witness %s: %s", cosigner.name, error)


def _ask_other_witness(ledger: Ledger, witness: WitnessConfig) -> None:
    from wg_core.connection import http_witness

    if not ledger.is_newest_cosigned(witness.name):
        ledger.request_cosignature(witness.name, http_witness.witness_client(witness))


def check_uncosigned_limit(ledger: Ledger, config: ClientConfig) -> None:
    """Refuse a further release file while too many checkpoints are still not cosigned.

    Raises:
        TooManyUncosignedCheckpoints: The limit is reached; the message says what to do.
    """
    sizes = ledger.uncosigned_checkpoint_sizes(config.server.witness_name)
    if len(sizes) >= UNCOSIGNED_CHECKPOINTS_LIMIT:
        raise TooManyUncosignedCheckpoints(
            f"{len(sizes)} files left since {config.server.name} last cosigned the ledger, and no"
            " more can be covered; nothing was charged. Apply a weights package that the server"
            " made from one of them"
        )


def mark_checkpoint_sent(ledger: Ledger, config: ClientConfig) -> None:
    """Record on the ledger, once, that its newest checkpoint is sent in a file.

    Raises:
        TooManyUncosignedCheckpoints: The same condition as for ``check_uncosigned_limit``.
    """
    if ledger.size not in ledger.uncosigned_checkpoint_sizes(config.server.witness_name):
        check_uncosigned_limit(ledger, config)
        ledger.mark_checkpoint_sent()


def has_proof_at_size(statistics_file: Path, ledger_size: int) -> bool:
    """Return whether a file exists, and its proof is from a ledger of ``ledger_size`` entries."""
    if not statistics_file.is_file():
        return False
    data = atomic.read_bytes(statistics_file, limit=protocol.STATISTICS_BYTES_LIMIT)
    release_proof = bundle.decode_statistics(data).release_proof
    return inclusion_proof.decode(release_proof).checkpoint.size == ledger_size


def store_cosignature(home: ClientHome, note_bytes: bytes) -> int | None:
    """Store the server's cosignature of one of this ledger's checkpoints.

    Returns:
        Size of the checkpoint; None if it belongs to another ledger, as in a package made before
        this plant gave up its old ledger.

    Raises:
        DecodeError: The bytes are not a checkpoint.
        VerificationError: The cosignature is not valid.
        LedgerRolledBack: The server has seen more entries than this ledger holds.
    """
    config = configuration.load(home)
    head, note = checkpoints.decode(note_bytes, input_name="cosigned checkpoint")
    with Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        if head.origin != ledger.origin:
            log.warning("cosigned checkpoint of another ledger, %s: not kept", head.origin)
            return None
        if head.size > ledger.size:
            checkpoints.verify(note, head.origin, signing.public_from_bytes(ledger.public_key))
            raise LedgerRolledBack(
                f"{ledger.path}: {config.server.name} has seen {head.size} entries, the ledger has"
                f" {ledger.size}: it was rolled back or replaced by an older copy. Restore the"
                " newest copy"
            )
        ledger.add_cosignature(note_bytes, config.server.witness_name)
    return head.size


def store_recent_cosignature(home: ClientHome, note_bytes: bytes, *, max_age_seconds: float) -> int:
    """Store the server's cosignature of this ledger's checkpoint, if it was made recently.

    A recent cosignature shows that the server had seen no newer entries a short time ago.

    Returns:
        Number of entries of the ledger.

    Raises:
        DecodeError, LedgerRolledBack: The same conditions as for ``store_cosignature``.
        VerificationError: The note is invalid, another ledger's, or older than ``max_age_seconds``.
    """
    if store_cosignature(home, note_bytes) is None:
        raise VerificationError("checkpoint: of another ledger than this home's")
    server = configuration.load(home).server
    _, note = checkpoints.decode(note_bytes, input_name="cosigned checkpoint")
    key = signing.public_from_hex(server.witness_key)
    age = time.time() - checkpoints.verified_cosignature_time(note, server.witness_name, key)
    if age > max_age_seconds:
        raise VerificationError(
            f"checkpoint: {server.name} made it {age / 3600:.0f} h ago, and may have seen more"
            f" since; at most {max_age_seconds / 3600:.0f} h are good: ask its operator for a new"
            " one"
        )
    with Ledger.open(home.ledger) as ledger:
        return ledger.size


def check_not_rolled_back(home: ClientHome, config: ClientConfig, ask_server: AskWitness) -> int:
    """Have the server cosign the whole ledger, which fails if the server has seen more of it.

    Called before a charge, so that an older copy cannot become a second history of one ledger.

    Returns:
        Number of entries of the ledger.

    Raises:
        LedgerRolledBack: The server has seen more entries than this ledger holds.
        PeerError: The server cannot be reached, or refuses.
        VerificationError: The cosignature is not valid.
    """
    with locks.lock_ledger(home), Ledger.open(home.ledger, signing.load(home.ledger_key)) as ledger:
        ledger.request_cosignature(config.server.witness_name, ask_server)
        return ledger.size


@dataclass(frozen=True, slots=True)
class SignedSize:
    """Size of the ledger that its own key, or a witness, has signed.

    Attributes:
        name: Origin of the ledger, or name of the witness.
        verifier_keys: Verifier keys of the signer (c2sp.org/signed-note).
        entry_count: Number of entries.
    """

    name: str
    verifier_keys: tuple[str, ...]
    entry_count: int


def signed_sizes(home: ClientHome, config: ClientConfig) -> tuple[SignedSize, list[SignedSize]]:
    """Return the sizes signed by the ledger and by each of its witnesses, for display."""
    server = config.pin
    witnesses = [] if server is None else [(server.witness_name, bytes.fromhex(server.witness_key))]
    witnesses += [(cosigner.name, cosigner.public_key) for cosigner in config.witnesses]
    cosigned = []
    with Ledger.open(home.ledger) as ledger:
        for name, raw in witnesses:
            key = signing.public_from_bytes(raw)
            vkeys = notes.encode_verifier_keys(name, notes.COSIGNER_ROLE, key)
            cosigned.append(SignedSize(name, vkeys, ledger.cosigned_size(name, raw)))
        key = signing.public_from_bytes(ledger.public_key)
        vkeys = notes.encode_verifier_keys(ledger.origin, notes.LOG_ROLE, key)
        return SignedSize(ledger.origin, vkeys, ledger.size), cosigned
