"""One verification of a log, from a path and what is known from elsewhere to a finding."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from wg_common.audit import freshness, server_folder, succession
from wg_common.audit.accounts import (
    AloneFigures,
    LineageAccount,
    accounts,
    check_alone,
    check_stated,
    worst,
)
from wg_common.audit.freshness import Freshness
from wg_common.audit.received import Received, files, match
from wg_common.audit.server_folder import ServerFolder
from wg_common.audit.succession import Succession
from wg_common.audit.verdict import Verdict, verdict
from wg_common.errors import VerificationError
from wg_common.language import text
from wg_common.ledger import history as histories
from wg_common.ledger import sources
from wg_common.ledger.anchors import NOTHING, Anchors
from wg_common.ledger.entries import Charge
from wg_common.ledger.history import History
from wg_common.ledger.sources import Source
from wg_common.wire import canonical
from wg_common.wire import handover as handovers

_USES = {
    handovers.PACKAGES: text("weights packages"),
    handovers.WITNESS: text("cosignatures"),
}


@dataclass(frozen=True, slots=True)
class Burned:
    """A charge that covers no release."""

    seq: int
    request_id: str
    dataset: str


@dataclass(slots=True)
class Finding:
    """A log that holds, what it cost, and what an auditor may believe of it.

    Attributes:
        history: The verified history.
        accounts: Budgets of all lineages.
        burned: Charges without a release.
        received: Files of the server that were matched with their charges.
        unchecked: Stated epsilons of DP-SGD runs that were not recomputed.
        fresh: How new this copy is known to be.
        succession: What is known of logs before this one.
        verdict: All that was compared, and what was not, in words.
    """

    history: History
    accounts: list[LineageAccount]
    burned: list[Burned]
    received: list[Received]
    unchecked: int
    fresh: Freshness
    succession: Succession
    verdict: Verdict

    @property
    def passed(self) -> bool:
        """Whether the log holds, and no log of the site is known whose spend it leaves out."""
        return not self.verdict.problems

    @property
    def remarks(self) -> list[str]:
        """What holds, but deserves a look."""
        return list(self._remarks())

    def _remarks(self) -> Iterator[str]:
        state = self.history.state
        if not self.history.witnessed_size:
            yield text("no witness has cosigned: a rolled-back copy would look the same")
        elif self.history.witnessed_size < state.size:
            count = state.size - self.history.witnessed_size
            yield text(
                "entries not cosigned yet, which can only add to the spend: {count}",
                count=count,
            )
        if self.burned:
            yield text("charges without a release (burned): {count}", count=len(self.burned))
        if len(self.accounts) > 1:
            yield text(
                "{count} lineages have budgets of their own: if they share people or parts,"
                " their epsilons add up",
                count=len(self.accounts),
            )
        if state.clock_steps_back:
            first = ", ".join(map(str, state.clock_steps_back[:5]))
            yield text("the site's clock stepped back at entries {first}", first=first)
        if state.decisions:
            yield self._decisions()
        if state.reuses:
            yield text(
                "uses of releases that were handed out again, free of charge: {count}",
                count=len(state.reuses),
            )
        for entry in state.handovers:
            given = entry.handover
            yield text(
                "entry {seq}: the key of {name} for {use} is {now} by the word of the one before,"
                " {before}",
                seq=entry.head.seq,
                name=given.name,
                use=_USES[given.use],
                now=given.now,
                before=given.before,
            )
        if self.succession.predecessor:
            yield text(
                "replaces log {log}: {reason}",
                log=self.succession.predecessor,
                reason=self.succession.reason,
            )

    def to_json(self) -> dict[str, Any]:
        """The document that ``wg-audit verify --json`` prints."""
        state = self.history.state
        top = worst(self.accounts)
        cosigned = [head for head in self.history.heads if head.cosignatures]
        releases = sum(not charge.open for charge in state.charges.values())
        return {
            "verified": self.passed,
            "verdict": canonical.to_builtins(self.verdict),
            "origin": state.origin,
            "site": state.site,
            "entries": state.size,
            "bytes": self.history.bytes,
            "root": self.history.root.hex(),
            "ledger_key": state.public_key.hex(),
            "keys": len(state.keys),
            "charges": len(state.charges),
            "releases": releases,
            "burned": len(self.burned),
            "burned_charges": [canonical.to_builtins(item) for item in self.burned],
            "delta": top.delta if top else None,
            "epsilon": {
                "primary": top.primary if top else 0.0,
                "independent": top.independent if top else 0.0,
                "independent_lower": top.independent_lower if top else 0.0,
                "independent_upper": top.independent_upper if top else 0.0,
                "cap": top.cap_epsilon if top else None,
                "lineage": top.lineage if top else None,
            },
            "lineages": [canonical.to_builtins(account) for account in self.accounts],
            "witnesses": [
                {"name": w.name, "public_key": w.public_key.hex(), "word_of": w.before.hex()}
                for w in state.witnesses
            ],
            "handovers": [canonical.to_builtins(entry.handover) for entry in state.handovers],
            "witnessed_size": self.history.witnessed_size,
            "cosigned_checkpoints": len(cosigned),
            "received": [canonical.to_builtins(item) for item in self.received],
            "decisions": [
                {
                    "entry": one.head.seq,
                    "request_id": one.request_id,
                    "approved": one.approved,
                    "name": one.name,
                }
                for one in state.decisions.values()
            ],
            "reuses": [
                {
                    "entry": one.head.seq,
                    "charge": one.charge,
                    "purpose": one.purpose,
                    "recipient": one.recipient,
                }
                for one in state.reuses.values()
            ],
            "remarks": self.remarks,
        }

    def _decisions(self) -> str:
        """How many requests people decided, and how many charges nobody did."""
        state = self.history.state
        found = list(state.decisions.values())
        approved = sum(one.approved for one in found)
        decided = {(one.dataset, one.request_id) for one in found}
        alone = sum((x.dataset, x.request_id) not in decided for x in state.charges.values())
        names = ", ".join(sorted({one.name for one in found})[:5])
        return text(
            "requests decided by people ({names}): {count}; {approved} approved, {denied} denied;"
            " charges by policy alone: {alone}",
            names=names,
            count=len(found),
            approved=approved,
            denied=len(found) - approved,
            alone=alone,
        )


class Brought(TypedDict, total=False):
    """What an auditor brings from elsewhere, beside keys.

    Attributes:
        statistics: Files that the server received (``.wgs``, ``.wgq``, ``.wgc``), or folders of
            them: each must be covered by exactly one RELEASE entry, and be what its charge says.
        previous: The log that this one replaced, then the one before that, and so on: their
            spend must have been inherited, and the same witnesses must have cosigned them.
        checkpoints: Checkpoints that were got by another way: the log must extend each; one of
            another log of the site must be the one that this log replaced.
        server: Folder that ``wg-server export`` wrote: keys, checkpoints, received files and
            earlier logs of the site, by the server's word.
        max_age: Largest age of the newest cosignature, seconds.
        now: Unix time, seconds; this machine's clock if it is not given.
    """

    statistics: Iterable[Path]
    previous: Iterable[Path]
    checkpoints: Iterable[Path]
    server: Path | None
    max_age: int | None
    now: int


def verify(path: Path, anchors: Anchors = NOTHING, **brought: Unpack[Brought]) -> Finding:
    """Verify a client's home, a ledger file or an export.

    Args:
        anchors: Keys that are known from elsewhere.

    Raises:
        ConfigError: A path cannot be read.
        DecodeError: It is no log.
        VerificationError: Something does not hold; the message says which entry or proof.
    """
    with closing(sources.open_source(path)) as source:
        site, origin = sources.identity(source)
        server = brought.get("server")
        folder = server_folder.open_folder(server, site, origin) if server else None
        known = folder.anchors(anchors) if folder else anchors
        others = {log.origin for log in folder.site.logs} - {origin} if folder else set()
        paths = [*files(brought.get("statistics", ())), *(folder.files() if folder else [])]
        log = _read(source, known, paths, others)
        if (log.history.state.site, log.history.state.origin) != (site, origin):
            raise VerificationError(f"{path}: was changed while it was read")
    received, left = list(log.received), log.left
    previous = []
    for earlier in brought.get("previous", ()):
        old = _read_previous(earlier, known, folder, left, others)
        others -= {old.history.state.origin}
        previous.append(old.history)
        received += old.received
        left = old.left
    outside = [freshness.read_checkpoint(found) for found in brought.get("checkpoints", ())]
    if folder is not None:
        folder.check_keys(log.history)
        outside += folder.checkpoints()
    fresh = freshness.judge(
        log.history,
        [x for x in outside if x.head.origin == origin],
        now=brought.get("now", int(time.time())),
        max_age=brought.get("max_age"),
    )
    before = succession.judge(
        log.history,
        logs=folder.logs if folder else None,
        others=[x for x in outside if x.head.origin != origin],
        previous=previous,
    )
    return _finding(log, anchors, folder, (fresh, before), received, len(left))


def _finding(
    log: _ReadLog,
    given: Anchors,
    folder: ServerFolder | None,
    judged: tuple[Freshness, Succession],
    received: list[Received],
    left: int,
) -> Finding:
    """What the log cost, and what it was compared with."""
    history, (fresh, before) = log.history, judged
    figures = accounts(history)
    unchecked = check_alone(log.alone) + check_stated(history)
    burned = [Burned(x.seq, x.request_id, x.dataset) for x in history.state.burned()]
    words = verdict(
        history,
        given=given,
        folder=folder,
        fresh=fresh,
        succession=before,
        received=len(received),
        left=left,
        unchecked=unchecked,
    )
    return Finding(history, figures, burned, received, unchecked, fresh, before, words)


@dataclass(frozen=True, slots=True)
class _ReadLog:
    """A log that holds, what its charges say for themselves, and files that it covers or not."""

    history: History
    alone: AloneFigures
    received: list[Received]
    left: list[Path]


def _read(source: Source, anchors: Anchors, paths: list[Path], others: Collection[str]) -> _ReadLog:
    alone = AloneFigures()
    history = histories.read(source, anchors, alone.add)
    received, left = match(
        history, _charges(source), paths, others=set(others) - {history.state.origin}
    )
    return _ReadLog(history, alone, received, left)


def _charges(source: Source) -> Callable[[int], Charge]:
    """CHARGE entries by index, decoded again when the first is asked for."""
    kept: dict[int, Charge] = {}

    def charge(seq: int) -> Charge:
        if not kept:
            kept.update(
                (entry.head.seq, entry)
                for entry in sources.stored_entries(source)
                if isinstance(entry, Charge)
            )
        return kept[seq]

    return charge


def _read_previous(
    path: Path,
    anchors: Anchors,
    folder: ServerFolder | None,
    paths: list[Path],
    others: Collection[str],
) -> _ReadLog:
    """The log before: it, too, must be the one that the witnesses saw, under its own key."""
    with closing(sources.open_source(path)) as source:
        _, origin = sources.identity(source)
        log = folder.site.log(origin) if folder else None
        key = (bytes.fromhex(log.key) or None) if log else None
        found = _read(source, replace(anchors, ledger_key=key), paths, others)
    check_alone(found.alone)
    return found
