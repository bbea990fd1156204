"""Earlier logs of the site, and the check that the verified log inherits all of their spend.

A new log starts with an empty budget unless its first entry names the previous log and inherits its
spend. Whether it inherits all spend takes two kinds of evidence. One is the complete previous log:
its spend must equal the inherited spend, and its last checkpoint must come from the server or a
witness. The other is the server's list of all logs with which the site enrolled, because a log
itself cannot show that there was no other. A log that is known only by files, a checkpoint or its
name counts as not given, with the number of its unknown entries.
"""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wg_audit.freshness import OutsideCheckpoint
from wg_audit.received_files import FileComparison
from wg_common.auditor_record import BUDGET_UNKNOWN, FIRST_LOG, PREDECESSOR_NAMED, LogRecord
from wg_core.errors import VerificationError
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger import merkle
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.entries import Charge, InheritedSpend, Predecessor
from wg_core.ledger.log_succession import verify_succession
from wg_core.ledger.log_verification import VerifiedLog, trusted_cosignature_times
from wg_core.wire.signing import display_key

NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class LogNotGiven:
    """Known log of the site that was not given: origin, and number of its unknown entries."""

    origin: str
    entries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherLogsFindings:
    """Findings on the site's other logs, and on the inheritance of their spend.

    Attributes:
        status: ``budget unknown`` if a log is in ``unnamed``; otherwise ``names its predecessor``,
            or, if it names none, ``first`` by the server's list or ``not checked`` without one.
        predecessor: Origin of the previous log that the first entry names; empty if there is none.
        reason: Reason for the replacement of the previous log, in the site's words.
        checked: Origins of earlier logs whose complete spend is known to be inherited.
        open_ended: Origins of given earlier logs whose end no outside evidence confirms.
        not_given: Known earlier logs that were not given.
        unnamed: Origins of logs of this site whose spend is not inherited.
        listed: True if the server's list of the site's logs is available.
    """

    status: str
    predecessor: str = ""
    reason: str = ""
    checked: tuple[str, ...] = ()
    open_ended: tuple[str, ...] = ()
    not_given: tuple[LogNotGiven, ...] = ()
    unnamed: tuple[str, ...] = ()
    listed: bool = False

    @property
    def is_complete(self) -> bool:
        """True if every log of the site is known, and all of their spend is inherited."""
        return self.listed and not (self.open_ended or self.not_given or self.unnamed)


@dataclass(frozen=True, slots=True)
class _PredecessorLink:
    """Previous log: what the next log's first entry states about it, and its history if given."""

    predecessor: Predecessor
    history: VerifiedLog | None


def predecessor_heads(logs: Iterable[VerifiedLog]) -> list[Checkpoint]:
    """Return the last checkpoint of each predecessor that one of the logs' first entries names."""
    genesis_entries = [log.state.genesis for log in logs]
    return [
        _predecessor_checkpoint(_PredecessorLink(x.predecessor, None))
        for x in genesis_entries
        if x is not None and x.predecessor is not None
    ]


def compare_other_logs(
    history: VerifiedLog,
    *,
    other_logs: Mapping[str, VerifiedLog],
    log_records: Sequence[LogRecord] | None,
    outside_checkpoints: Sequence[OutsideCheckpoint],
    comparison: FileComparison,
) -> OtherLogsFindings:
    """Check that a log's first entry carries over the spend of the site's earlier logs.

    Args:
        history: The verified log.
        other_logs: Other verified logs of the site, by origin.
        log_records: One record for each of the site's logs, as the server saw them, from the first
            log to ``history``; None if no record of the server is given.
        outside_checkpoints: Checkpoints of other logs of the site.
        comparison: Result of comparing received files, also of logs that were not given.

    Raises:
        VerificationError: The inherited spend contradicts an earlier log, a checkpoint or a file.
    """
    chain = _predecessor_chain(history, other_logs)
    complete = not chain or list(chain.values())[-1].history is not None
    checkpoints = _collect_evidence(history, chain, log_records or (), outside_checkpoints)
    unnamed_origins = [
        origin for origin in (*other_logs, *checkpoints.unnamed_origins) if origin not in chain
    ]
    if log_records:
        unnamed_origins += _uninherited_origins(log_records, chain, is_chain_complete=complete)
    for origin, charges in comparison.charges_of_missing_logs.items():
        if chain and (origin in chain or not (complete or origin in unnamed_origins)):
            link = chain.get(origin) or list(chain.values())[-1]
            _check_inherited_spend(link.predecessor, charges.values())
    shown_origins = [origin for origin, link in chain.items() if link.history is not None]
    named_predecessor = next(iter(chain.values())).predecessor if chain else None
    return OtherLogsFindings(
        status=_succession_status(named_predecessor, unnamed_origins, log_records),
        predecessor=named_predecessor.origin if named_predecessor else "",
        reason=named_predecessor.reason if named_predecessor else "",
        checked=tuple(x for x in shown_origins if x in checkpoints.ended_origins),
        open_ended=tuple(x for x in shown_origins if x not in checkpoints.ended_origins),
        not_given=tuple(
            LogNotGiven(x, size - len(comparison.entry_indices_of_missing_logs.get(x, ())))
            for x, size in sorted(checkpoints.sizes_by_origin.items())
            if x not in shown_origins and x not in unnamed_origins
        ),
        unnamed=tuple(dict.fromkeys(unnamed_origins)),
        listed=log_records is not None,
    )


@dataclass(slots=True)
class _OtherLogsEvidence:
    """Evidence from the server and witnesses on the site's other logs.

    Attributes:
        sizes_by_origin: Largest known number of entries of each log, by origin.
        ended_origins: Origins of earlier logs whose last checkpoint the server or a witness
            confirms.
        unnamed_origins: Origins of logs with a checkpoint from outside that no first entry names.
    """

    sizes_by_origin: dict[str, int]
    ended_origins: set[str] = field(default_factory=set)
    unnamed_origins: list[str] = field(default_factory=list)


def _collect_evidence(
    history: VerifiedLog,
    chain: Mapping[str, _PredecessorLink],
    log_records: Sequence[LogRecord],
    outside_checkpoints: Sequence[OutsideCheckpoint],
) -> _OtherLogsEvidence:
    """Compare each previous log with the server's records and with outside checkpoints.

    Raises:
        VerificationError: A log has another content or key, or had further entries when its spend
            was inherited.
    """
    checkpoints = _OtherLogsEvidence(
        {origin: _predecessor_checkpoint(link).size for origin, link in chain.items()}
    )
    for record in log_records:
        link = chain.get(record.origin)
        if link is not None:
            _check_predecessor_key(link, record)
        if record.checkpoint and record.origin != history.state.origin:
            head = _decode_checkpoint(record.checkpoint, "server record")
            checkpoints.sizes_by_origin[head.origin] = max(
                head.size, checkpoints.sizes_by_origin.get(head.origin, 0)
            )
            if link is not None:
                _check_inherits_up_to(link, head, "the server's record")
                checkpoints.ended_origins.add(head.origin)
    trusted_keys = history.anchors_by_trusted_key()
    for checkpoint in outside_checkpoints:
        head = checkpoint.head
        checkpoints.sizes_by_origin[head.origin] = max(
            head.size, checkpoints.sizes_by_origin.get(head.origin, 0)
        )
        if head.origin not in chain:
            checkpoints.unnamed_origins.append(head.origin)
            continue
        _check_inherits_up_to(chain[head.origin], head, checkpoint.source_name)
        if trusted_cosignature_times(checkpoint.note, trusted_keys):
            checkpoints.ended_origins.add(head.origin)
    return checkpoints


def _succession_status(
    predecessor: Predecessor | None,
    unnamed_logs: Sequence[str],
    log_records: Sequence[LogRecord] | None,
) -> str:
    if unnamed_logs:
        return BUDGET_UNKNOWN
    if predecessor is not None:
        return PREDECESSOR_NAMED
    return NOT_CHECKED if log_records is None else FIRST_LOG


def _predecessor_chain(
    history: VerifiedLog, other_logs: Mapping[str, VerifiedLog]
) -> dict[str, _PredecessorLink]:
    """Return the previous logs of ``history`` by origin, newest first, up to the first unknown one.

    Raises:
        VerificationError: A log comes before itself, or its spend is not inherited correctly.
    """
    links: dict[str, _PredecessorLink] = {}
    log: VerifiedLog | None = history
    while log is not None:
        genesis = log.state.genesis
        if genesis is None or genesis.predecessor is None:
            break
        predecessor = genesis.predecessor
        if predecessor.origin in links or predecessor.origin == history.state.origin:
            raise VerificationError(f"entry 0: log {predecessor.origin} comes before itself")
        before = other_logs.get(predecessor.origin)
        if before is not None:
            verify_succession(log.state, before)
        links[predecessor.origin] = _PredecessorLink(predecessor, before)
        log = before
    return links


def _uninherited_origins(
    log_records: Sequence[LogRecord],
    chain: Mapping[str, _PredecessorLink],
    *,
    is_chain_complete: bool,
) -> list[str]:
    """Return the origins of logs in the server's records whose spend no later log inherits.

    For logs before the oldest one in ``chain``, the server's statement on their succession counts.
    """
    origins = [record.origin for record in log_records]
    oldest = min((origins.index(x) for x in chain if x in origins), default=len(log_records))
    return [
        before.origin
        for index, (before, after) in enumerate(itertools.pairwise(log_records))
        if before.origin not in chain
        and (is_chain_complete or index > oldest or after.succession != PREDECESSOR_NAMED)
    ]


def _check_predecessor_key(link: _PredecessorLink, record: LogRecord) -> None:
    old_key = bytes.fromhex(link.predecessor.key)
    link_keys = {old_key}
    if link.history is not None:
        link_keys |= {period.public_key for period in link.history.state.key_periods}
    if record.key and bytes.fromhex(record.key) not in link_keys:
        raise VerificationError(
            f"entry 0: names log {link.predecessor.origin} with key {display_key(old_key)}, the"
            f" server knows it with {display_key(bytes.fromhex(record.key))}"
        )


def _check_inherits_up_to(link: _PredecessorLink, checkpoint: Checkpoint, source_name: str) -> None:
    """Check that spend of the previous log is inherited at least up to an outside checkpoint."""
    older = link.predecessor
    head = _predecessor_checkpoint(link)
    if head.size < checkpoint.size:
        raise VerificationError(
            f"entry 0: inherits log {older.origin} as of {head.size} entries, {source_name} covers "
            f"{checkpoint.size}: what was spent in between is left out"
        )
    root = head.root if head.size == checkpoint.size else None
    if link.history is not None:
        root = merkle.root(link.history.state.leaf_hashes[: checkpoint.size])
    if root is not None and root != checkpoint.root:
        raise VerificationError(
            f"entry 0: names another log {older.origin} than {source_name}: there are two histories"
        )


def _check_inherited_spend(predecessor: Predecessor, charges: Collection[Charge]) -> None:
    """Check that the inherited spend includes the given charges of the previous log."""
    for charge in charges:
        spend = next((x for x in predecessor.spends if _covers_charge(x, charge)), None)
        state = charge.state
        count, units = (0, 0) if spend is None else (spend.charges, _inherited_mu_squared(spend))
        if count <= state.charges_before or units < int(state.mu_squared_after):
            raise VerificationError(
                f"entry 0: inherits {count} charges of mu^2 = {units} units for data set "
                f"{charge.dataset!r} of log {predecessor.origin}, whose entry"
                f" {charge.head.seq} is charge {state.charges_before + 1} with"
                f" {state.mu_squared_after}: spend is left out"
            )


def _covers_charge(spend: InheritedSpend, charge: Charge) -> bool:
    return (
        charge.lineage == spend.lineage
        or charge.commitment in spend.commitments
        or charge.dataset in spend.names
    )


def _inherited_mu_squared(spend: InheritedSpend) -> int:
    return sum(int(event.mu_squared or 0) for event in spend.events)


def _predecessor_checkpoint(link: _PredecessorLink) -> Checkpoint:
    return _decode_checkpoint(link.predecessor.checkpoint, "predecessor's checkpoint")


def _decode_checkpoint(text: str, input_name: str) -> Checkpoint:
    return checkpoints.decode(text.encode(), input_name=input_name)[0]
