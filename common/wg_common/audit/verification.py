"""One verification of a log, from a path to a finding that can be printed as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wg_common import atomic, canonical, statistics_file
from wg_common.audit.accounts import LineageAccount, accounts, check_stated, worst
from wg_common.errors import DecodeError, VerificationError
from wg_common.ledger import history as histories
from wg_common.ledger.anchors import NOTHING, Anchors
from wg_common.ledger.history import History
from wg_common.ledger.recovery import verify_succession
from wg_common.protocol import STATISTICS_LIMIT


@dataclass(frozen=True, slots=True)
class Burned:
    """A charge that covers no release."""

    seq: int
    request_id: str
    dataset: str


@dataclass(frozen=True, slots=True)
class Received:
    """A statistics file, and the RELEASE entry that covers it."""

    file: str
    sha256: str
    release: int


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
        received: Statistics files that were matched.
        unchecked: Stated epsilons that were not recomputed.
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
        statistics: Statistics files that the server received; each must be covered by exactly
            one RELEASE entry.
        previous: The log that this one replaced: its spend must have been inherited, and the
            same witnesses must have cosigned it.

    Raises:
        ConfigError: The path cannot be read.
        DecodeError: It is no log.
        VerificationError: Something does not hold; the message says which entry or proof.
    """
    history = _read(path, anchors)
    if previous is not None:
        # The old log, too, must be the one that the witnesses saw; its own key is another one.
        verify_succession(history, _read(previous, replace(anchors, ledger_key=None)))
    found = accounts(history)
    unchecked = check_stated(history)
    burned = [
        Burned(charge.seq, charge.request_id, charge.dataset) for charge in history.state.burned()
    ]
    trust = Trust(anchors.ledger_key is not None, bool(anchors.witnesses))
    return Finding(history, found, burned, _match(history, statistics), unchecked, trust)


def _read(path: Path, anchors: Anchors = NOTHING) -> History:
    source = histories.open_source(path)
    try:
        return histories.read(source, anchors)
    finally:
        source.close()


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _match(history: History, paths: Iterable[Path]) -> list[Received]:
    by_hash: dict[str, list[int]] = {}
    for charge in history.state.charges.values():
        if charge.release is not None:
            by_hash.setdefault(charge.payload_sha256, []).append(charge.release)
    matched = []
    for path in paths:
        data = atomic.read_bytes(path, limit=STATISTICS_LIMIT)
        digest = canonical.sha256_hex(_payload(data, path))
        releases = by_hash.get(digest, [])
        if len(releases) != 1:
            raise VerificationError(
                f"{path}: covered by {len(releases)} RELEASE entries, expected exactly one"
            )
        matched.append(Received(path.name, digest, releases[0]))
    return matched


def _payload(data: bytes, path: Path) -> bytes:
    try:
        return statistics_file.decode_covered(data).release
    except DecodeError as error:
        raise DecodeError(f"{path}: {error}") from error
