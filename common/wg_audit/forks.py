"""Detection of forks: contradictory signed heads of one log, and the cost of other histories.

A copied home charges twice from one budget, and each copy's log is valid by itself. The server
cosigns one copy, and keeps the signed heads and files of the other, which it refuses. A file proves
that a charge is in the tree of a signed head, so only the holder of the log's key can have made it.

*Not guaranteed:* that charges of other histories are found if the server received no file of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wg_audit import freshness
from wg_audit.freshness import OutsideCheckpoint
from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import checkpoint_signatures, entries, merkle, proof
from wg_core.ledger import note as notes
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.history import VerifiedLog
from wg_core.ledger.note import Note
from wg_core.wire import bundle, container, protocol


@dataclass(frozen=True, slots=True)
class CheckpointPair:
    """Two signed heads of one log, contradictory according to a server."""

    earlier: OutsideCheckpoint
    later: OutsideCheckpoint


@dataclass(slots=True)
class Fork:
    """Contradictory histories of one log.

    Attributes:
        origin: Origin of the log.
        checkpoints: (size, root in hex) of signed heads in contradiction.
        charges: CHARGE entries that are missing from the given log, by leaf hash.
    """

    origin: str
    checkpoints: set[tuple[int, str]] = field(default_factory=set)
    charges: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForkFindings:
    """Forks found in the files and heads that a server refused.

    Attributes:
        by_origin: Forks by the origin of their log.
        late_files: Refused files that are on a given log, and were only late; or whose log is not
            given.
    """

    by_origin: dict[str, Fork]
    late_files: list[Path]


def find_forks(
    logs: Mapping[str, VerifiedLog], pairs: Iterable[CheckpointPair], refused_files: Iterable[Path]
) -> ForkFindings:
    """Find forks: compare heads and files that a server refused with the given logs.

    Args:
        logs: Verified logs by origin. For other logs, the server's claims are accepted.
        pairs: Heads that contradict each other.
        refused_files: Covered files (``.wgs``) that the server refused.

    Raises:
        ConfigError: A file cannot be read.
        DecodeError: A file is not a covered file.
        VerificationError: A head is not signed by its log, or lacks an entry of its file.
    """
    findings = ForkFindings({}, [])
    for pair in pairs:
        for outside in (pair.earlier, pair.later):
            _check_signed(outside.head, outside.note, logs, outside.source)
        if not (_extends(logs, pair.earlier.head) and _extends(logs, pair.later.head)):
            fork = findings.by_origin.setdefault(
                pair.later.head.origin, Fork(pair.later.head.origin)
            )
            fork.checkpoints |= {
                (x.size, x.root.hex()) for x in (pair.earlier.head, pair.later.head)
            }
    for path in refused_files:
        try:
            _judge_file(findings, path, logs)
        except DecodeError as error:
            raise DecodeError(f"{path}: {error}") from error
        except VerificationError as error:
            raise VerificationError(f"{path}: {error}") from error
    return findings


def _judge_file(findings: ForkFindings, path: Path, logs: Mapping[str, VerifiedLog]) -> None:
    """Record a refused file as evidence of another history, or as only late."""
    data = atomic.read_bytes(path, limit=protocol.STATISTICS_LIMIT)
    if container.stated_kind(data) == bundle.STATEMENT_KIND:
        statement = bundle.decode_statement(data)
        places = [(statement.entry, statement.proof)]
    else:
        file = bundle.decode_statistics(data)
        places = [
            (file.charge_entry, file.charge_proof),
            (file.release_entry, file.release_proof),
        ]
    on_log = True
    for entry, proof_text in places:
        place = proof.decode(proof_text)
        head = place.checkpoint
        _check_signed(head, place.note, logs, "proof")
        place.verify(entry)
        log, leaf = logs.get(head.origin), merkle.leaf_hash(entry)
        if log is None or log.state.leaves[place.index : place.index + 1] == [leaf]:
            continue  # without its log, a file is no evidence of another history
        on_log = False
        fork = findings.by_origin.setdefault(head.origin, Fork(head.origin))
        fork.checkpoints.add((head.size, head.root.hex()))
        if entries.decode(entry).head.kind == entries.CHARGE:
            fork.charges[leaf] = entry
    if on_log:
        findings.late_files.append(path)


def _extends(logs: Mapping[str, VerifiedLog], head: Checkpoint) -> bool:
    """Return True if a head's log is given and extends the head."""
    log = logs.get(head.origin)
    return (
        log is not None
        and head.size <= log.state.size
        and head.root == merkle.root(log.state.leaves[: head.size])
    )


def _check_signed(
    head: Checkpoint, note: Note, logs: Mapping[str, VerifiedLog], source: str
) -> None:
    """Check that a signed head has a signature by its log's key, if the log is given."""
    log = logs.get(head.origin)
    if log is None:
        return
    keys = [period.public_key for period in log.state.keys]
    if not checkpoint_signatures.verified_signature_lines(note, head.origin, notes.LOG_ROLE, keys):
        raise VerificationError(
            f"{source}: no key of log {head.origin} signed the head of {head.size} entries"
        )


def read_pair(earlier_note: Path, later_note: Path) -> CheckpointPair:
    """Read two contradictory checkpoints of a log, as ``wg-server export`` writes them.

    Raises:
        ConfigError: A file cannot be read.
        DecodeError: A file is not a checkpoint, or the files belong to different logs.
    """
    former, latter = (freshness.read_checkpoint(path) for path in (earlier_note, later_note))
    if former.head.origin != latter.head.origin:
        raise DecodeError(
            f"{later_note}: of log {latter.head.origin}, expected {former.head.origin}"
        )
    return CheckpointPair(former, latter)
