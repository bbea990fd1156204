"""One verification of a log, from a path to a finding that can be printed as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wg_common import canonical
from wg_common.audit.accounts import (
    AloneFigures,
    LineageAccount,
    accounts,
    check_alone,
    check_stated,
    worst,
)
from wg_common.audit.received import Received, files, match
from wg_common.ledger import history as histories
from wg_common.ledger.anchors import NOTHING, Anchors
from wg_common.ledger.entries import Charge
from wg_common.ledger.history import History, Source
from wg_common.ledger.recovery import verify_succession


@dataclass(frozen=True, slots=True)
class Burned:
    """A charge that covers no release."""

    seq: int
    request_id: str
    dataset: str


@dataclass(frozen=True, slots=True)
class Trust:
    """What was compared with a key from elsewhere; otherwise the log vouches for itself."""

    ledger_key: bool
    witness_key: bool


@dataclass(slots=True)
class Finding:
    """A log that holds, what it cost, and what an auditor should look at.

    Attributes:
        history: The verified history.
        accounts: Budgets of all lineages.
        burned: Charges without a release.
        received: Files of the server that were matched with their charges.
        unchecked: Stated epsilons of DP-SGD runs that were not recomputed.
        trust: What was compared with outside knowledge.
    """

    history: History
    accounts: list[LineageAccount]
    burned: list[Burned]
    received: list[Received]
    unchecked: int
    trust: Trust

    @property
    def remarks(self) -> list[str]:
        """What holds, but deserves a look."""
        state = self.history.state
        notes = []
        if not self.trust.ledger_key:
            notes.append(
                "the ledger key is the log's own word; compare it with the key from enrolment "
                "(--ledger-key)"
            )
        if not self.trust.witness_key and state.witnesses:
            notes.append("witness keys are the log's own word (--witness-key)")
        if not self.history.witnessed_size:
            notes.append("no witness has cosigned: a rolled-back copy would look the same")
        elif self.history.witnessed_size < state.size:
            count = state.size - self.history.witnessed_size
            notes.append(f"not cosigned yet: the last {_count(count, 'entry', 'entries')}")
        if self.burned:
            notes.append(f"{_count(len(self.burned), 'charge')} without a release: burned")
        if len(self.accounts) > 1:
            notes.append(
                f"{len(self.accounts)} lineages have budgets of their own: if they share people "
                "or parts, their epsilons add up"
            )
        if state.clock_steps_back:
            first = ", ".join(map(str, state.clock_steps_back[:5]))
            notes.append(f"the site's clock stepped back at entries {first}")
        if state.genesis is not None and state.genesis.predecessor is not None:
            notes.append(
                f"replaces log {state.genesis.predecessor.origin}: "
                f"{state.genesis.predecessor.reason}"
            )
        if self.unchecked:
            notes.append(f"{self.unchecked} stated epsilons of DP-SGD charges were not recomputed")
        return notes

    def to_json(self) -> dict[str, Any]:
        """The document that ``wg-audit verify --json`` prints."""
        state = self.history.state
        top = worst(self.accounts)
        cosigned = [head for head in self.history.heads if head.cosignatures]
        releases = sum(not charge.open for charge in state.charges.values())
        return {
            "verified": True,
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
                {"name": w.name, "public_key": w.public_key.hex()} for w in state.witnesses
            ],
            "witnessed_size": self.history.witnessed_size,
            "cosigned_checkpoints": len(cosigned),
            "received": [canonical.to_builtins(item) for item in self.received],
            "trust": canonical.to_builtins(self.trust),
            "remarks": self.remarks,
        }


def verify(
    path: Path,
    anchors: Anchors = NOTHING,
    *,
    statistics: Iterable[Path] = (),
    previous: Path | None = None,
) -> Finding:
    """Verify a client's home, a ledger file or an export.

    Args:
        path: Which.
        anchors: Keys that are known from elsewhere.
        statistics: Files that the server received, or folders of them (``.wgs``, ``.wgc``): each
            must be covered by exactly one RELEASE entry, and be what its charge says.
        previous: The log that this one replaced: its spend must have been inherited, and the
            same witnesses must have cosigned it.

    Raises:
        ConfigError: The path cannot be read.
        DecodeError: It is no log.
        VerificationError: Something does not hold; the message says which entry or proof.
    """
    alone = AloneFigures()
    source = histories.open_source(path)
    try:
        history = histories.read(source, anchors, alone.add)
        received = match(history, _charges(source), files(statistics))
    finally:
        source.close()
    if previous is not None:
        # The old log, too, must be the one that the witnesses saw; its own key is another one.
        verify_succession(history, _read(previous, replace(anchors, ledger_key=None)))
    found = accounts(history)
    unchecked = check_alone(alone) + check_stated(history)
    burned = [
        Burned(charge.seq, charge.request_id, charge.dataset) for charge in history.state.burned()
    ]
    trust = Trust(anchors.ledger_key is not None, bool(anchors.witnesses))
    return Finding(history, found, burned, received, unchecked, trust)


def _charges(source: Source) -> Callable[[int], Charge]:
    """CHARGE entries by index, decoded again when the first is asked for."""
    kept: dict[int, Charge] = {}

    def charge(seq: int) -> Charge:
        if not kept:
            kept.update(
                (entry.head.seq, entry)
                for entry in histories.stored_entries(source)
                if isinstance(entry, Charge)
            )
        return kept[seq]

    return charge


def _read(path: Path, anchors: Anchors = NOTHING) -> History:
    """A log whose charges hold by themselves, also against their own blocks."""
    alone = AloneFigures()
    source = histories.open_source(path)
    try:
        history = histories.read(source, anchors, alone.add)
    finally:
        source.close()
    check_alone(alone)
    return history


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"
