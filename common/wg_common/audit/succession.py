"""Was there a log before this one, and is its spend on this one's account?

A new log starts with an empty budget unless its first entry names the log before it and inherits
what that had spent. Nothing in a log can show that there was no other: that takes somebody who saw
the site's earlier logs, as the server that enrolled it. A log that leaves out one of these has a
budget that nobody knows.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from wg_common.audit.freshness import OutsideCheckpoint
from wg_common.errors import VerificationError
from wg_common.ledger import checkpoint as checkpoints
from wg_common.ledger import merkle
from wg_common.ledger.auditor_record import BUDGET_UNKNOWN, FIRST, NAMES_PREDECESSOR, LogRecord
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
        checked: Origins of logs before whose spend was held against these logs themselves.
        stated: Origin of the log before whose spend is the word of its successor alone; empty if
            the whole chain was given.
        unnamed: Origins of logs of this site whose spend is on no account here.
    """

    status: str
    predecessor: str = ""
    reason: str = ""
    checked: tuple[str, ...] = ()
    stated: str = ""
    unnamed: tuple[str, ...] = ()


def judge(
    history: History,
    *,
    logs: Sequence[LogRecord] | None,
    others: Sequence[OutsideCheckpoint],
    previous: Sequence[History],
) -> Succession:
    """Hold the first entry of a log against what is known of the site's earlier logs.

    Args:
        history: The verified log.
        logs: What the server saw of the site, oldest first, up to this log; none if not known.
        previous: The logs before, verified, as far as they were given; the newest first.

    Raises:
        VerificationError: The log before is not inherited as it was.
    """
    chain = _chain(history, previous)
    named = chain[0].named if chain else None
    unnamed = []
    for found in others:
        link = next((x for x in chain if x.named.origin == found.head.origin), None)
        if link is None:
            unnamed.append(found.head.origin)
        else:
            _check_covers(link, found.head, found.source)
    if logs:
        *earlier, own = logs
        for log in earlier:
            for link in chain:
                if link.named.origin == log.origin:
                    _check_record(link, log)
        if earlier and not _continues(named, own, earlier):
            unnamed.append(earlier[-1].origin)
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
        checked=tuple(link.named.origin for link in chain if link.log is not None),
        stated=chain[-1].named.origin if chain and chain[-1].log is None else "",
        unnamed=tuple(dict.fromkeys(unnamed)),
    )


def _continues(named: Predecessor | None, own: LogRecord, earlier: Sequence[LogRecord]) -> bool:
    """Whether the log names the one before, itself or, by the server's word, through others.

    The server leaves out logs on which nothing was released, but followed what they name.
    """
    if named is None or own.succession != NAMES_PREDECESSOR:
        return False
    return named.origin == earlier[-1].origin or all(x.origin != named.origin for x in earlier)


@dataclass(frozen=True, slots=True)
class _Link:
    """A predecessor that a first entry names, and that log itself, if it was given."""

    named: Predecessor
    log: History | None


def _chain(history: History, previous: Sequence[History]) -> list[_Link]:
    """Each log before, from the newest on, as its successor names it."""
    links = []
    current = history
    for old in (*previous, None):
        if old is not None:
            verify_succession(current, old)
        genesis = current.state.genesis
        if genesis is None or genesis.predecessor is None:
            break
        links.append(_Link(genesis.predecessor, old))
        if old is None:
            break
        current = old
    return links


def _check_record(link: _Link, seen: LogRecord) -> None:
    named = link.named
    known = {bytes.fromhex(named.key)}
    if link.log is not None:
        known |= {period.public_key for period in link.log.state.keys}
    if seen.key and bytes.fromhex(seen.key) not in known:
        raise VerificationError(
            f"entry 0: names log {named.origin} with key {named.key}, the server knows it with "
            f"{seen.key}"
        )
    if seen.checkpoint:
        head = checkpoints.decode(seen.checkpoint.encode(), what="server record")[0]
        _check_covers(link, head, "the server's record")


def _check_covers(link: _Link, seen: Checkpoint, source: str) -> None:
    """The first entry inherits at least what others had seen of the log before."""
    named = link.named
    head = checkpoints.decode(named.checkpoint.encode(), what="predecessor's checkpoint")[0]
    if head.size < seen.size:
        raise VerificationError(
            f"entry 0: inherits log {named.origin} as of {head.size} entries, {source} covers "
            f"{seen.size}: what was spent in between is left out"
        )
    root = head.root if head.size == seen.size else None
    if link.log is not None:
        root = merkle.root(link.log.state.leaves[: seen.size])
    if root is not None and root != seen.root:
        raise VerificationError(
            f"entry 0: names another log {named.origin} than {source}: two stories were told"
        )
