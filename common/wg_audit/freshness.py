"""Is this the newest copy? Checkpoints that came by another way, and the age of cosignatures.

A log that was rolled back, or an export of last year, holds by itself: every signature in it is
true. Only something from outside it can say that there is more. A checkpoint that the auditor got
elsewhere must be extended by the log; and a witness's newest cosignature says until when the log
had no other continuation that this witness had seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic
from wg_core.errors import VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import heads, merkle
from wg_core.ledger import history as histories
from wg_core.ledger import note as notes
from wg_core.ledger.anchors import KnownWitness
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.history import History
from wg_core.ledger.note import Note
from wg_core.wire.protocol import NOTE_LIMIT


@dataclass(frozen=True, slots=True)
class OutsideCheckpoint:
    """A checkpoint that was got by another way than the log: from where, and what it says."""

    source: str
    head: Checkpoint
    note: Note


@dataclass(frozen=True, slots=True)
class Extended:
    """A checkpoint from outside that the log extends: from where, and of which size."""

    source: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Age of this copy, as far as it is known.

    Attributes:
        checked: Unix time in seconds, by the auditor's clock.
        newest: Time of the newest cosignature, of as many known witnesses as must have cosigned;
            none if no witness is known by key.
        max_age: Largest age that the auditor accepts, seconds; none if no limit was given.
        extends: Checkpoints from outside that the log extends.
    """

    checked: int
    newest: int | None
    max_age: int | None
    extends: tuple[Extended, ...]

    @property
    def age(self) -> int | None:
        """Seconds since the newest cosignature."""
        return None if self.newest is None else self.checked - self.newest


def read_checkpoint(path: Path, source: str = "") -> OutsideCheckpoint:
    """Read a signed note, as ``wg-server export`` or a witness gives it.

    Args:
        source: What to call it; the file's name if nothing is given.

    Raises:
        ConfigError: The file cannot be read.
        DecodeError: It is no checkpoint.
    """
    return decode_checkpoint(atomic.read_bytes(path, limit=NOTE_LIMIT), source or path.name)


def decode_checkpoint(data: bytes, source: str) -> OutsideCheckpoint:
    """A checkpoint from bytes, or ``DecodeError``."""
    head, note = checkpoints.decode(data, subject=source)
    return OutsideCheckpoint(source, head, note)


def judge(
    history: History,
    outside: Sequence[OutsideCheckpoint],
    *,
    current_time: int,
    max_age: int | None,
) -> Freshness:
    """Hold a log against checkpoints from outside, and its newest cosignatures against a clock.

    Args:
        history: The verified log.
        current_time: Unix time, seconds.
        max_age: Oldest newest cosignature that is accepted, seconds.

    Raises:
        VerificationError: The log is older than a checkpoint, or another one; or it was cosigned
            too long ago, or in the future.
    """
    clock_tolerance_seconds = 300
    anchors = history.anchors
    newest_heads = {witness: history.newest_of(witness) for witness in anchors.witnesses}
    for outside_checkpoint in outside:
        for witness, time in _check_extends(history, outside_checkpoint):
            newest_heads[witness] = max(newest_heads[witness], (outside_checkpoint.head.size, time))
    for witness, (_, time) in newest_heads.items():
        if time > current_time + clock_tolerance_seconds:
            raise VerificationError(
                f"age: {witness.name} cosigned {time - current_time} s after this machine's clock:"
                " its clock or this one is wrong"
            )
    # Who lags behind the others cannot know what came after.
    size = anchors.covered_size([size for size, _ in newest_heads.values()])
    newest = anchors.covered_size([time if at >= size else 0 for at, time in newest_heads.values()])
    fresh = Freshness(
        checked=current_time,
        newest=newest or None,
        max_age=max_age,
        extends=tuple(Extended(checkpoint.source, checkpoint.head.size) for checkpoint in outside),
    )
    if max_age is not None:
        if fresh.age is None:
            raise VerificationError("age: no key of a witness is known, so no time can be believed")
        if fresh.age > max_age:
            raise VerificationError(
                f"age: the newest cosignature by {anchors.quorum_size} of {len(anchors.witnesses)} "
                f"known witnesses is {fresh.age} s old, at most {max_age} s are accepted"
            )
    return fresh


def _check_extends(
    history: History, outside_checkpoint: OutsideCheckpoint
) -> list[tuple[KnownWitness, int]]:
    """Cosignatures of known witnesses on a checkpoint that the log extends."""
    state, head, source = history.state, outside_checkpoint.head, outside_checkpoint.source
    if head.size > state.size:
        raise VerificationError(
            f"{source}: covers {head.size} entries, the log given has {state.size}: this copy is "
            "older than the checkpoint"
        )
    roots = history.counted_keys()
    cosigned_heads = [
        (roots[key], time) for key, time in histories.cosignatures(outside_checkpoint.note, roots)
    ]
    signed = heads.valid_lines(
        outside_checkpoint.note, state.origin, notes.LOG, state.keys_at(head.size)
    )
    if not signed and not cosigned_heads:
        raise VerificationError(
            f"{source}: signed neither by the log's key nor by a witness that is known by key"
        )
    if not head.size or head.root != merkle.root(state.leaves[: head.size]):
        raise VerificationError(
            f"{source}: has another root than the first {head.size} entries of the log given: "
            "two stories were told"
        )
    return cosigned_heads
