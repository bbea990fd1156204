"""Succession of a site's ledgers, and whether all their spend is accounted for.

The ledger of a site carries its budget. A home that is created again has a new ledger: unless its
first entry names the last checkpoint of the previous log, the spend of that log is not accounted
for. The server therefore keeps every log that a site enrolled with, and classifies the log in use:

========================== =====================================================================
first                      no other log of the site released anything
names its predecessor      the log names every other log of the site, directly or through others,
                           at the last checkpoint that was cosigned here or at a later one
budget unknown             some other log of the site is not named in this way
========================== =====================================================================

A site that replaces a log shows the old log: the server reads it, refuses a new log whose first
entry inherits less spend than the old log has, and stores the old log for auditors.
"""

import base64
import binascii
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from wg_common.auditor_record import (
    BUDGET_UNKNOWN,
    FIRST_LOG,
    LOG_SUFFIX,
    PREDECESSOR_NAMED,
    Succession,
)
from wg_core.errors import DecodeError, RefusedError, VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import log_sources, log_succession, merkle
from wg_core.ledger import log_verification as histories
from wg_core.ledger.entries import Predecessor
from wg_core.ledger.log_state import LedgerState
from wg_core.ledger.signed_note import Note
from wg_core.wire import protocol, signing
from wg_core.wire.protocol import EnrolmentRequest
from wg_server.store.stored_site import StoredSite


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolledLog:
    """Log that a site enrolled with.

    Attributes:
        origin: Origin of its checkpoints.
        site: Name of the site.
        key: Last known signing key, hex.
        genesis: Leaf hash of its first entry, hex.
        predecessor: Origin of the log that its first entry names, or empty.
        predecessor_checkpoint: Checkpoint that its first entry names, or empty.
        first_seen: Time at which the site enrolled with it, Unix time.
        checkpoint: Newest checkpoint that the server cosigned, or None.
    """

    origin: str
    site: str
    key: str
    genesis: str
    predecessor: str
    predecessor_checkpoint: str
    first_seen: float
    checkpoint: bytes | None


@dataclass(frozen=True, slots=True)
class ReplacedLog:
    """Ledger that a site replaced and showed; the new ledger inherits its privacy spend.

    Attributes:
        origin: Origin of the log.
        leaves: Leaf hashes of its entries.
        export_data: Export of the log.
    """

    origin: str
    leaves: Sequence[bytes]
    export_data: bytes


@dataclass(frozen=True, slots=True)
class LedgerBeginning:
    """Beginning of a ledger, as its site states it at enrolment.

    Attributes:
        genesis_leaf_hash: Leaf hash of the first entry, hex.
        predecessor: Reference to the log that it replaces, or None.
        replaced_log: Replaced log, or None if the site did not show it.
        decide_checkpoint: Maps the server's stored checkpoint of this log to the new checkpoint,
            its size and the cosignature line; raises if the log cannot have begun like this.
    """

    genesis_leaf_hash: str
    predecessor: Predecessor | None
    replaced_log: ReplacedLog | None
    decide_checkpoint: Callable[[bytes | None], tuple[bytes, int, bytes]]


def read_first_state_and_checkpoint(request: EnrolmentRequest) -> tuple[LedgerState, Note]:
    """Check the first entry and checkpoint of the ledger that a site enrols with.

    Returns:
        The ledger state after that entry, and the signed checkpoint of size 1.

    Raises:
        DecodeError: Entry or checkpoint is invalid, or belongs to another site, log or key.
    """
    subject = "enrolment request"
    if not 0 < len(request.ledger_origin) <= protocol.ORIGIN_CHARACTERS_LIMIT:
        raise DecodeError(
            f"{subject}: ledger_origin: expected 1 to {protocol.ORIGIN_CHARACTERS_LIMIT} characters"
        )
    data = request.genesis.encode()
    state = LedgerState()
    try:
        state.apply_entry(data)
        head, note = checkpoints.decode(
            request.checkpoint.encode(), input_name=f"{subject}: checkpoint"
        )
        key = signing.public_from_hex(request.ledger_key)
        checkpoints.verify(note, request.ledger_origin, key)
    except (VerificationError, ValueError) as error:
        raise DecodeError(f"{subject}: ledger: {error}") from error
    for field, actual, want in (
        ("origin", state.origin, request.ledger_origin),
        ("site", state.site, request.site),
        ("size of the checkpoint", head.size, 1),
        ("root of the checkpoint", head.root.hex(), merkle.leaf_hash(data).hex()),
    ):
        if actual != want:
            raise DecodeError(f"{subject}: ledger: {field} is {actual!r}, expected {want!r}")
    return state, note


def read_replaced_log(request: EnrolmentRequest, ledger: LedgerState) -> ReplacedLog | None:
    """Read the replaced log that a site shows at enrolment; None if the request has no such log.

    Args:
        ledger: State of the new log after its first entry.

    Raises:
        DecodeError: The data is not an export of a ledger.
        RefusedError: The exported log is invalid, or the new log does not inherit its spend.
    """
    if not request.replaced:
        return None
    subject = "enrolment request: replaced"
    try:
        data = base64.b64decode(request.replaced, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"{subject}: not base64") from error
    with tempfile.TemporaryDirectory(prefix="wg-replaced-") as folder:
        path = Path(folder) / f"replaced{LOG_SUFFIX}"
        path.write_bytes(data)
        try:
            with closing(log_sources.open_source(path)) as source:
                history = histories.verify_log(source)
            log_succession.verify_succession(ledger, history)
        except DecodeError as error:
            raise DecodeError(f"{subject}: {error}") from error
        except VerificationError as error:
            raise RefusedError(f"enrolment: the ledger that is replaced: {error}") from error
    return ReplacedLog(history.state.origin, history.state.leaf_hashes, data)


def classify_succession(origin: str, logs: Sequence[EnrolledLog]) -> Succession:
    """Classify the ledger that a site uses, given all ledgers of the site.

    Args:
        origin: Origin of the log in use.
        logs: All logs of the site, the log in use included.
    """
    by_origin = {log.origin: log for log in logs if log.origin == origin or can_hold_release(log)}
    named_origins = {origin}
    log = by_origin[origin]
    while (
        before := by_origin.get(log.predecessor)
    ) is not None and before.origin not in named_origins:
        if not _continues_log(log, before):
            break
        named_origins.add(before.origin)
        log = before
    if log.predecessor and log.predecessor not in named_origins:
        return BUDGET_UNKNOWN  # the named log is unknown here, or is not named at its end
    if set(by_origin) - named_origins:
        return BUDGET_UNKNOWN
    return FIRST_LOG if len(named_origins) == 1 else PREDECESSOR_NAMED


def classify_successions_by_site(
    sites: Sequence[StoredSite], logs: Mapping[str, Sequence[EnrolledLog]]
) -> dict[str, Succession]:
    """Classify the ledger that each enrolled site uses, by the site's name."""
    return {
        site.name: classify_succession(site.ledger_origin, logs[site.name])
        for site in sites
        if site.name in logs
    }


def can_hold_release(log: EnrolledLog) -> bool:
    """Return whether a ledger can hold a release, which needs a cosignature after entry 0."""
    return log.checkpoint is not None and checkpoint_size(log.checkpoint) > 1


def checkpoint_size(checkpoint: bytes) -> int:
    """Return the number of entries that a checkpoint covers."""
    return checkpoints.decode(checkpoint)[0].size


def _continues_log(log: EnrolledLog, previous_log: EnrolledLog) -> bool:
    """Return whether ``log`` names ``previous_log``, at its end or later, as predecessor."""
    try:
        named_head, note = checkpoints.decode(log.predecessor_checkpoint.encode())
        if named_head.origin != previous_log.origin:
            return False
        last = checkpoints.decode(previous_log.checkpoint or b"")[0]
        if named_head.size == last.size:
            return named_head.root == last.root
        if named_head.size < last.size:
            return False
        checkpoints.verify(note, previous_log.origin, signing.public_from_hex(previous_log.key))
    except (DecodeError, VerificationError, ValueError):
        return False
    return True
