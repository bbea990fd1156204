"""Was there a log before this one, and is its spend on this one's account?

A new log starts with an empty budget unless its first entry names the log before it and inherits
what that had spent. Nothing in a log can show that there was no other: that takes somebody who saw
the site's earlier logs, as the server that enrolled it. A log that leaves out one of these has a
budget that nobody knows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from wg_common.audit.freshness import OutsideCheckpoint
from wg_common.auditor_record import BUDGET_UNKNOWN, FIRST, NAMES_PREDECESSOR, LogRecord
from wg_common.errors import VerificationError
from wg_common.ledger import checkpoint as checkpoints
from wg_common.ledger import merkle
from wg_common.ledger.checkpoint import Checkpoint
from wg_common.ledger.entries import Predecessor
from wg_common.ledger.history import History
from wg_common.ledger.recovery import verify_succession

NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Succession:
    """What is known of logs before this one.

    Attributes:
        status: ``first``, ``names its predecessor``, ``budget unknown`` or ``not checked``.
        predecessor: Origin of the log that the first entry names; empty if none.
        reason: Why that was given up, in the site's words.
        inherited: Whether the inherited spend was held against the log before.
        unnamed: Origins of logs of this site whose spend is on no account here.
    """

    status: str
    predecessor: str = ""
    reason: str = ""
    inherited: bool = False
    unnamed: tuple[str, ...] = ()

    @property
    def budget_known(self) -> bool:
        """Whether no log of the site is known that this one leaves out."""
        return not self.unnamed


def judge(
    history: History,
    *,
    logs: Sequence[LogRecord] | None,
    others: Sequence[OutsideCheckpoint],
    previous: History | None,
) -> Succession:
    """Hold the first entry of a log against what is known of the site's earlier logs.

    Args:
        history: The verified log.
        logs: What the server saw of the site, oldest first, up to this log; none if not known.
        others: Checkpoints of other logs of the site.
        previous: The log before, verified, if it was given.

    Raises:
        VerificationError: The log before is not inherited as it was.
    """
    genesis = history.state.genesis
    named = genesis.predecessor if genesis else None
    if previous is not None:
        verify_succession(history, previous)
    unnamed = [found.head.origin for found in others if _leaves_out(named, found.head.origin)]
    for found in others:
        if named is not None and found.head.origin == named.origin:
            _check_covers(named, found.head, found.source, previous)
    if logs:
        *earlier, own = logs
        if earlier:
            last = earlier[-1]
            if named is not None and named.origin == last.origin:
                _check_record(named, last, previous)
            if not _continues(named, own, earlier):
                unnamed.append(last.origin)
        unnamed += [
            before.origin
            for before, after in itertools.pairwise(earlier)
            if after.succession == BUDGET_UNKNOWN
        ]
    if unnamed:
        status = BUDGET_UNKNOWN
    elif named is not None:
        status = NAMES_PREDECESSOR
    else:
        status = NOT_CHECKED if logs is None else FIRST
    return Succession(
        status=status,
        predecessor=named.origin if named else "",
        reason=named.reason if named else "",
        inherited=previous is not None,
        unnamed=tuple(dict.fromkeys(unnamed)),
    )


def _continues(named: Predecessor | None, own: LogRecord, earlier: Sequence[LogRecord]) -> bool:
    """Whether the log names the one before, itself or, by the server's word, through others.

    The server leaves out logs on which nothing was released, but followed what they name.
    """
    if named is None or own.succession != NAMES_PREDECESSOR:
        return False
    return named.origin == earlier[-1].origin or all(x.origin != named.origin for x in earlier)


def _leaves_out(named: Predecessor | None, origin: str) -> bool:
    return named is None or named.origin != origin


def _check_record(named: Predecessor, last: LogRecord, previous: History | None) -> None:
    known = {bytes.fromhex(named.key)}
    if previous is not None:
        known |= {period.public_key for period in previous.state.keys}
    if last.key and bytes.fromhex(last.key) not in known:
        raise VerificationError(
            f"entry 0: names log {named.origin} with key {named.key}, the server knows it with "
            f"{last.key}"
        )
    if last.checkpoint:
        head = checkpoints.decode(last.checkpoint.encode(), what="server record")[0]
        _check_covers(named, head, "the server's record", previous)


def _check_covers(
    named: Predecessor, seen: Checkpoint, source: str, previous: History | None
) -> None:
    """The first entry inherits at least what others had seen of the log before."""
    head = checkpoints.decode(named.checkpoint.encode(), what="predecessor's checkpoint")[0]
    if head.size < seen.size:
        raise VerificationError(
            f"entry 0: inherits log {named.origin} as of {head.size} entries, {source} covers "
            f"{seen.size}: what was spent in between is left out"
        )
    root = head.root if head.size == seen.size else None
    if previous is not None and previous.state.origin == named.origin:
        root = merkle.root(previous.state.leaves[: seen.size])
    if root is not None and root != seen.root:
        raise VerificationError(
            f"entry 0: names another log {named.origin} than {source}: two stories were told"
        )
