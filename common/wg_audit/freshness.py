"""Freshness of a copy of a log: checkpoints from other sources, and the age of cosignatures.

A rolled-back log or an old export is valid by itself: all its signatures verify. Only evidence from
another source shows that the log has more entries. So the log must extend every checkpoint that the
auditor got from another source. The time of a witness's newest cosignature shows until when the
witness had seen no other continuation of the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic
from wg_core.errors import VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import checkpoint_signatures, merkle
from wg_core.ledger import log_verification as histories
from wg_core.ledger import signed_note as notes
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.log_verification import VerifiedLog
from wg_core.ledger.signed_note import Note
from wg_core.ledger.trust_anchors import TrustedWitness
from wg_core.wire.protocol import NOTE_CHARACTERS_LIMIT


@dataclass(frozen=True, slots=True)
class OutsideCheckpoint:
    """Checkpoint that the auditor got from another source than the log.

    Attributes:
        source_name: Name of the source, for messages.
        head: Decoded checkpoint: origin, number of entries, and Merkle root.
        note: Signed note that contains the checkpoint.
    """

    source_name: str
    head: Checkpoint
    note: Note


@dataclass(frozen=True, slots=True)
class CheckpointInLog:
    """Outside checkpoint that the log extends: its source, and the number of entries it covers."""

    source: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Age of the newest cosignature on a log, and the outside checkpoints that the log extends.

    Attributes:
        checked: Unix time of the verification in seconds, by the auditor's clock.
        newest: Unix time in seconds up to which a quorum of known witnesses had cosigned; None if
            no key of a witness is known.
        max_age: Largest age that the auditor accepts in seconds; None for no limit.
        extends: Checkpoints from other sources that the log extends.
    """

    checked: int
    newest: int | None
    max_age: int | None
    extends: tuple[CheckpointInLog, ...]

    @property
    def age_seconds(self) -> int | None:
        """Seconds from the newest cosignature to the verification; None if no witness is known."""
        return None if self.newest is None else self.checked - self.newest


def read_checkpoint(path: Path, source_name: str = "") -> OutsideCheckpoint:
    """Read a file with a signed checkpoint, from ``wg-server export`` or a witness.

    Args:
        path: Path of the file.
        source_name: Name of the source in messages; by default the file's name.

    Raises:
        ConfigError: The file cannot be read.
        DecodeError: The file is not a checkpoint.
    """
    return decode_checkpoint(
        atomic.read_bytes(path, limit=NOTE_CHARACTERS_LIMIT), source_name or path.name
    )


def decode_checkpoint(data: bytes, source_name: str) -> OutsideCheckpoint:
    """Decode a signed checkpoint; ``DecodeError`` if the bytes are not a signed checkpoint."""
    head, note = checkpoints.decode(data, input_name=source_name)
    return OutsideCheckpoint(source_name, head, note)


def assess_freshness(
    history: VerifiedLog,
    outside_checkpoints: Sequence[OutsideCheckpoint],
    *,
    current_time: int,
    max_age_seconds: int | None,
) -> Freshness:
    """Check that a log extends outside checkpoints, and that its cosignatures are recent enough.

    Args:
        history: The verified log.
        outside_checkpoints: Checkpoints from other sources.
        current_time: Unix time in seconds.
        max_age_seconds: Largest accepted age of the newest cosignature in seconds; None for no
            limit.

    Raises:
        VerificationError: The log does not extend a checkpoint, or its newest cosignature is too
            old or in the future.
    """
    clock_tolerance_seconds = 300
    anchors = history.anchors
    newest_heads = {
        witness: history.newest_cosigned_size_and_time(witness) for witness in anchors.witnesses
    }
    for outside_checkpoint in outside_checkpoints:
        for witness, time in _check_and_list_cosignatures(history, outside_checkpoint):
            newest_heads[witness] = max(newest_heads[witness], (outside_checkpoint.head.size, time))
    for witness, (_, time) in newest_heads.items():
        if time > current_time + clock_tolerance_seconds:
            raise VerificationError(
                f"age: {witness.name} cosigned {time - current_time} s after this machine's clock:"
                " its clock or this one is wrong"
            )
    # A witness that lags behind the others does not attest later entries.
    size = anchors.witnessed_size([size for size, _ in newest_heads.values()])
    newest = anchors.witnessed_size(
        [time if at >= size else 0 for at, time in newest_heads.values()]
    )
    fresh = Freshness(
        checked=current_time,
        newest=newest or None,
        max_age=max_age_seconds,
        extends=tuple(
            CheckpointInLog(checkpoint.source_name, checkpoint.head.size)
            for checkpoint in outside_checkpoints
        ),
    )
    if max_age_seconds is not None:
        if fresh.age_seconds is None:
            raise VerificationError("age: no key of a witness is known, so no time can be believed")
        if fresh.age_seconds > max_age_seconds:
            raise VerificationError(
                f"age: the newest cosignature by {anchors.quorum_size} of {len(anchors.witnesses)} "
                f"known witnesses is {fresh.age_seconds} s old, at most {max_age_seconds} s are"
                " accepted"
            )
    return fresh


def _check_and_list_cosignatures(
    history: VerifiedLog, outside_checkpoint: OutsideCheckpoint
) -> list[tuple[TrustedWitness, int]]:
    """Check that the log extends a checkpoint; return (witness, Unix time) of its cosignatures."""
    state, head, source = history.state, outside_checkpoint.head, outside_checkpoint.source_name
    if head.size > state.size:
        raise VerificationError(
            f"{source}: covers {head.size} entries, the log given has {state.size}: this copy is "
            "older than the checkpoint"
        )
    roots = history.anchors_by_trusted_key()
    cosigned_heads = [
        (roots[key], time)
        for key, time in histories.trusted_cosignature_times(outside_checkpoint.note, roots)
    ]
    signed = checkpoint_signatures.verified_signature_lines(
        outside_checkpoint.note, state.origin, notes.LOG_ROLE, state.keys_at_size(head.size)
    )
    if not signed and not cosigned_heads:
        raise VerificationError(
            f"{source}: signed neither by the log's key nor by a witness that is known by key"
        )
    if not head.size or head.root != merkle.root(state.leaf_hashes[: head.size]):
        raise VerificationError(
            f"{source}: has another root than the first {head.size} entries of the given log: "
            "there are two histories"
        )
    return cosigned_heads
