"""Two histories of one log: heads that it signed and that do not fit, and what the others cost.

A home that was copied charges twice from one budget: each copy's log holds by itself. The server
cosigns one of them, and keeps what it refuses: signed heads, and files. A file shows a charge in
the tree of a signed head, so that nobody else than the log's key can have invented it.

Not places by this: charges of other histories of which no file came.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wg_audit import freshness
from wg_audit.freshness import OutsideCheckpoint
from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import entries, heads, merkle, proof
from wg_core.ledger import note as notes
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.history import History
from wg_core.ledger.note import Note
from wg_core.wire import container, protocol
from wg_core.wire import covered as covered_files


@dataclass(frozen=True, slots=True)
class Pair:
    """Two heads of one log of which a server says that the later does not extend the earlier."""

    earlier: OutsideCheckpoint
    later: OutsideCheckpoint


@dataclass(slots=True)
class Fork:
    """Other histories of one log than the one given.

    Attributes:
        origin: Origin of the log.
        heads: (size, root in hex) of signed heads that do not fit.
        charges: CHARGE entries that are on no log given, by their leaf hash.
    """

    origin: str
    heads: set[tuple[int, str]] = field(default_factory=set)
    charges: dict[bytes, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Forks:
    """Findings from refused files and heads.

    Attributes:
        by_origin: Logs of which two histories were told.
        late_files: Refused files that are on a log given, and only came late; or of no log given.
    """

    by_origin: dict[str, Fork]
    late_files: list[Path]


def judge(
    logs: Mapping[str, History], pairs: Iterable[Pair], refused_files: Iterable[Path]
) -> Forks:
    """Hold heads and files that a server refused against the logs that were given.

    Args:
        logs: Verified logs, by origin. Of others the server's word is taken.
        pairs: Heads that contradict each other.
        refused_files: Covered files (``.wgs``).

    Raises:
        ConfigError: A file cannot be read.
        DecodeError: A file is no covered file.
        VerificationError: A head is not signed by its log, or does not have an entry of its file.
    """
    findings = Forks({}, [])
    for pair in pairs:
        for outside in (pair.earlier, pair.later):
            _check_signed(outside.head, outside.note, logs, outside.source)
        if not (_extends(logs, pair.earlier.head) and _extends(logs, pair.later.head)):
            fork = findings.by_origin.setdefault(
                pair.later.head.origin, Fork(pair.later.head.origin)
            )
            fork.heads |= {(x.size, x.root.hex()) for x in (pair.earlier.head, pair.later.head)}
    for path in refused_files:
        try:
            _judge_file(findings, path, logs)
        except DecodeError as error:
            raise DecodeError(f"{path}: {error}") from error
        except VerificationError as error:
            raise VerificationError(f"{path}: {error}") from error
    return findings


def _judge_file(findings: Forks, path: Path, logs: Mapping[str, History]) -> None:
    """Keep what a refused file shows of another history, or that it only came late."""
    data = atomic.read_bytes(path, limit=protocol.STATISTICS_LIMIT)
    if container.kind_of(data) == covered_files.STATEMENT_KIND:
        statement = covered_files.decode_statement(data)
        places = [(statement.entry, statement.proof)]
    else:
        file = covered_files.decode(data)
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
            continue  # of a log that was not given it is one more file, and no evidence
        on_log = False
        fork = findings.by_origin.setdefault(head.origin, Fork(head.origin))
        fork.heads.add((head.size, head.root.hex()))
        if entries.decode(entry).head.kind == entries.CHARGE:
            fork.charges[leaf] = entry
    if on_log:
        findings.late_files.append(path)


def _extends(logs: Mapping[str, History], head: Checkpoint) -> bool:
    """Tell a head that the log given extends; of a log that was not given nothing is known."""
    log = logs.get(head.origin)
    return (
        log is not None
        and head.size <= log.state.size
        and head.root == merkle.root(log.state.leaves[: head.size])
    )


def _check_signed(head: Checkpoint, note: Note, logs: Mapping[str, History], source: str) -> None:
    """Refuse a head that no key of its log signed, where that log was given."""
    log = logs.get(head.origin)
    if log is None:
        return
    keys = [period.public_key for period in log.state.keys]
    if not heads.valid_lines(note, head.origin, notes.LOG, keys):
        raise VerificationError(
            f"{source}: no key of log {head.origin} signed the head of {head.size} entries"
        )


def read_pair(earlier: Path, later: Path) -> Pair:
    """Read two heads, as ``wg-server export`` writes them.

    Raises:
        ConfigError: A file cannot be read.
        DecodeError: One is no checkpoint, or they are of two logs.
    """
    former, latter = (freshness.read_checkpoint(path) for path in (earlier, later))
    if former.head.origin != latter.head.origin:
        raise DecodeError(f"{later}: of log {latter.head.origin}, expected {former.head.origin}")
    return Pair(former, latter)
