"""Detection of forks: contradictory signed checkpoints, also called heads, or copies of one log.

If a plant's home is copied, both copies charge the same budget, and each copy's log is valid by
itself. The server cosigns one copy; it refuses the other, but keeps its checkpoints and files. A
file contains a proof that its charge is in the tree of a signed checkpoint, so only the holder of
the log's key can have made the file. The auditor may also have the other copy's log.

*Not guaranteed:* that charges of the other history are found, if the server received no file for
them and that copy of the log was not given.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wg_audit import freshness
from wg_audit.freshness import OutsideCheckpoint
from wg_common.language import text
from wg_core import atomic
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger import checkpoint_signatures, entries, inclusion_proof, merkle
from wg_core.ledger import signed_note as notes
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.entries import Charge
from wg_core.ledger.log_verification import VerifiedLog
from wg_core.ledger.signed_note import Note
from wg_core.wire import bundle, container, protocol


@dataclass(frozen=True, slots=True)
class CheckpointPair:
    """Two signed checkpoints of one log that, as a server claims, contradict each other."""

    earlier: OutsideCheckpoint
    later: OutsideCheckpoint


@dataclass(slots=True)
class Fork:
    """Fork: contradictory histories of one log.

    Attributes:
        origin: Origin of the log.
        checkpoints: (number of entries, Merkle root in hex) of each contradictory checkpoint.
        missing_charges_by_leaf_hash: CHARGE entries that are missing from the given log, canonical
            bytes by leaf hash.
        copy_mu_squared: Largest sum of mu^2 among the other copies of the log, in units of 2^-40.
    """

    origin: str
    checkpoints: set[tuple[int, str]] = field(default_factory=set)
    missing_charges_by_leaf_hash: dict[bytes, bytes] = field(default_factory=dict)
    copy_mu_squared: int = 0


@dataclass(frozen=True, slots=True)
class ForkFindings:
    """Forks found in the checkpoints and files that a server refused, and among copies of logs.

    Attributes:
        forks_by_origin: Forks by the origin of their log.
        late_files: Refused files that are no evidence of a fork: their entries are on the given
            log, so that they only arrived late, or their log was not given.
        shorter_copies: (origin, number of entries) of each copy that is a prefix of another one.
    """

    forks_by_origin: dict[str, Fork]
    late_files: list[Path]
    shorter_copies: list[tuple[str, int]] = field(default_factory=list)

    def describe_shorter_copies(self) -> Iterator[str]:
        """Yield a sentence on each copy that is a prefix of another one."""
        for origin, size in self.shorter_copies:
            yield text(
                "an older copy of log {log} was given, too: its {size} entries are the first of"
                " the newer one, which counts",
                log=origin,
                size=size,
            )

    def fork_of_log(self, origin: str) -> Fork:
        """Return the fork of the log with this origin; an empty one is added if there is none."""
        return self.forks_by_origin.setdefault(origin, Fork(origin))

    def compare_copy(
        self,
        log: VerifiedLog,
        copy: VerifiedLog,
        charge_at: Callable[[int], Charge],
        copy_mu_squared: int,
    ) -> None:
        """Compare a further copy of a log with the audited one, and record a fork or a prefix.

        Args:
            log: Audited copy.
            copy: Further copy with the same origin.
            charge_at: Function from an index to the CHARGE entry of ``copy``.
            copy_mu_squared: Sum of mu^2 of the budgets of ``copy``, in units of 2^-40.

        Raises:
            VerificationError: The further copy extends the audited one, or began with another key.
        """
        origin, state, copy_state = log.state.origin, log.state, copy.state
        if state.key_periods[0] != copy_state.key_periods[0]:
            raise VerificationError(f"log {origin}: two logs of this name have different keys")
        if state.leaf_hashes[: copy_state.size] == copy_state.leaf_hashes:
            if copy_state.size < state.size:
                self.shorter_copies.append((origin, copy_state.size))
            return
        if copy_state.leaf_hashes[: state.size] == state.leaf_hashes:
            raise VerificationError(
                f"log {origin}: a copy has {copy_state.size} entries, the log given has"
                f" {state.size}: verify the longer one"
            )
        fork = self.fork_of_log(origin)
        fork.checkpoints |= {(x.state.size, x.root.hex()) for x in (log, copy)}
        fork.copy_mu_squared = max(fork.copy_mu_squared, copy_mu_squared)
        for seq in copy_state.charges:
            if state.leaf_hashes[seq : seq + 1] != [copy_state.leaf_hashes[seq]]:
                fork.missing_charges_by_leaf_hash[copy_state.leaf_hashes[seq]] = entries.encode(
                    charge_at(seq)
                )


def find_forks(
    logs: Mapping[str, VerifiedLog],
    checkpoint_pairs: Iterable[CheckpointPair],
    refused_files: Iterable[Path],
) -> ForkFindings:
    """Find forks by comparing a server's refused checkpoints and files with the given logs.

    Args:
        logs: Verified logs by origin. For a log that is not here, the server's claim is accepted.
        checkpoint_pairs: Pairs of checkpoints that, as the server claims, contradict each other.
        refused_files: Release files with inclusion proofs (``.wgs``) that the server refused.

    Raises:
        ConfigError: A file cannot be read.
        DecodeError: A file is not a release file with proofs.
        VerificationError: A checkpoint is not signed by its log, or a proof in a file is wrong.
    """
    findings = ForkFindings({}, [])
    for pair in checkpoint_pairs:
        for outside in (pair.earlier, pair.later):
            _check_log_signature(outside.head, outside.note, logs, outside.source_name)
        log = logs.get(pair.later.head.origin)
        if not (
            log_extends_head(log, pair.earlier.head) and log_extends_head(log, pair.later.head)
        ):
            findings.fork_of_log(pair.later.head.origin).checkpoints |= {
                (x.size, x.root.hex()) for x in (pair.earlier.head, pair.later.head)
            }
    for path in refused_files:
        try:
            _classify_refused_file(findings, path, logs)
        except DecodeError as error:
            raise DecodeError(f"{path}: {error}") from error
        except VerificationError as error:
            raise VerificationError(f"{path}: {error}") from error
    return findings


def _classify_refused_file(
    findings: ForkFindings, path: Path, logs: Mapping[str, VerifiedLog]
) -> None:
    """Record a refused file in ``findings``, as evidence of a fork or as a late file."""
    data = atomic.read_bytes(path, limit=protocol.STATISTICS_BYTES_LIMIT)
    if container.stated_kind(data) == bundle.STATEMENT_BUNDLE_KIND:
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
        place = inclusion_proof.decode(proof_text)
        head = place.checkpoint
        _check_log_signature(head, place.note, logs, "proof")
        place.verify(entry)
        log, leaf = logs.get(head.origin), merkle.leaf_hash(entry)
        if log is None or log.state.leaf_hashes[place.index : place.index + 1] == [leaf]:
            continue  # the entry is on the given log, or no log is given to compare it with
        on_log = False
        fork = findings.fork_of_log(head.origin)
        fork.checkpoints.add((head.size, head.root.hex()))
        if entries.decode(entry).head.kind == entries.CHARGE_KIND:
            fork.missing_charges_by_leaf_hash[leaf] = entry
    if on_log:
        findings.late_files.append(path)


def log_extends_head(log: VerifiedLog | None, head: Checkpoint) -> bool:
    """Return True if a log is given, and begins with the entries that a checkpoint covers."""
    return (
        log is not None
        and log.state.origin == head.origin
        and head.size <= log.state.size
        and head.root == merkle.root(log.state.leaf_hashes[: head.size])
    )


def _check_log_signature(
    head: Checkpoint, note: Note, logs: Mapping[str, VerifiedLog], source_name: str
) -> None:
    """Check that one of its log's keys signed a checkpoint, if ``logs`` has that log."""
    log = logs.get(head.origin)
    if log is None:
        return
    keys = [period.public_key for period in log.state.key_periods]
    if not checkpoint_signatures.verified_signature_lines(note, head.origin, notes.LOG_ROLE, keys):
        raise VerificationError(
            f"{source_name}: no key of log {head.origin} signed the head of {head.size} entries"
        )


def read_checkpoint_pair(earlier_note: Path, later_note: Path) -> CheckpointPair:
    """Read a pair of contradictory checkpoints of a log, as written by ``wg-server export``.

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
