"""Random ledgers, written as a plant's fold allows, and what really happened in them.

The writer asks the fold for the state that an entry must name, as the plant's program does: a fold
with a bug writes a log that the same fold believes. ``Truth`` keeps its own books by another
principle than either fold: a graph of everything that data sets have in common, whose connected
parts are the budgets.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache

from tests.core.ledger.conftest import key, schema

from wg_core.errors import VerificationError
from wg_core.ledger import charging, entries, merkle
from wg_core.ledger import checkpoint as checkpoints
from wg_core.ledger.charge_parts import BudgetState
from wg_core.ledger.charging import ChargeRequest
from wg_core.ledger.checkpoint import Checkpoint
from wg_core.ledger.entries import (
    Charge,
    Dataset,
    Entry,
    EntryHeader,
    Genesis,
    InheritedSpend,
    Predecessor,
)
from wg_core.ledger.log_state import LedgerState
from wg_core.privacy.events import PrivacyEvent

ORIGIN, OLD_ORIGIN = "weightgate/plant-a/0022", "weightgate/plant-a/0011"
CAP, DELTA = "1000", "1e-5"  # No cap ends a random ledger: what it cost is what is tested
NAMES = ("parts", "welds", "tiles", "coils")
_STEPS = 24  # Most entries of a random ledger after its first


@dataclass
class Truth:
    """What was spent, kept as edges between names, contents and lineages.

    Attributes:
        edges: Sets of what belongs together.
        charges: For each charge, or inherited spend: its data set's name, number and mu^2.
        open: Data set's name of each charge without a release, by index.
    """

    edges: list[set[str]] = field(default_factory=list)
    charges: list[tuple[str, int, int]] = field(default_factory=list)
    open: dict[int, str] = field(default_factory=dict)

    def budgets(self) -> dict[frozenset[str], tuple[int, int, int]]:
        """Number of charges, sum of mu^2 and number of burned charges, by names of data sets."""
        parts: list[set[str]] = []
        for edge in self.edges:
            bound = [part for part in parts if part & edge]
            parts = [part for part in parts if not part & edge] + [edge.union(*bound)]
        sums = {}
        for part in parts:
            paid = [(count, units) for name, count, units in self.charges if f"name {name}" in part]
            burned = sum(f"name {name}" in part for name in self.open.values())
            names = frozenset(x.removeprefix("name ") for x in part if x.startswith("name "))
            sums[names] = (sum(x for x, _ in paid), sum(x for _, x in paid), burned)
        return sums


@dataclass
class RandomLedger:
    """A log that is being written.

    Attributes:
        rng: Makes every choice.
        state: The plant's fold, which the writer asks.
        truth: What really happened.
        log: Canonical bytes of the entries.
    """

    rng: random.Random
    state: LedgerState
    truth: Truth = field(default_factory=Truth)
    log: list[bytes] = field(default_factory=list)

    def write(self, steps: int) -> list[bytes]:
        """Write a first entry and some more; the log."""
        self._genesis()
        for _ in range(steps):
            step = self.rng.choice(
                [self._dataset, self._dataset, self._charge, self._charge, self._release]
            )
            step()
        return self.log

    def _append(self, entry: Entry) -> None:
        data = entries.encode(entry)
        self.state.apply_entry(data)
        self.log.append(data)

    def _head(self, kind: str) -> EntryHeader:
        prev = self.state.last_leaf_hash.hex() if self.log else ""
        return EntryHeader(
            kind=kind, seq=len(self.log), prev=prev, origin=ORIGIN, key_id=_key_id(), time=1
        )

    def _genesis(self) -> None:
        spends = self._spends() if self.rng.random() < 0.5 else None
        predecessor = None if spends is None else _predecessor(spends)
        self._append(
            Genesis(
                head=self._head(entries.GENESIS_KIND),
                site="plant-a",
                ledger_key=key(1).public_key().raw.hex(),
                software="weightgate 0.1.0",
                predecessor=predecessor,
            )
        )
        for spend in spends or ():
            names = [f"name {name}" for name in spend.names]
            self.truth.edges.append({spend.lineage, *names, *spend.commitments})
            units = sum(int(event.mu_squared) for event in spend.events)
            self.truth.charges.append((spend.names[0], spend.charges, units))

    def _spends(self) -> tuple[InheritedSpend, ...]:
        """Spends of a log before; one may have no event, or two names."""
        names = self.rng.sample(NAMES, 3)
        cut = self.rng.randint(1, 3)
        groups = [group for group in (names[:cut], names[cut:]) if group]
        return tuple(
            InheritedSpend(
                lineage=hashlib.sha256(group[0].encode()).hexdigest()[:16],
                names=tuple(group),
                commitments=(_commitment(f"old {group[0]}"),),
                cap_epsilon=CAP,
                cap_delta=DELTA,
                events=tuple(
                    PrivacyEvent(mechanism="gaussian", mu_squared=str(self.rng.randint(1, 1 << 40)))
                    for _ in range(self.rng.randint(0, 2))
                ),
                charges=self.rng.randint(0, 5),
            )
            for group in groups
        )

    def _dataset(self) -> None:
        """A new name, a new version, content of another name, or a merge that is asked for."""
        state, rng = self.state, self.rng
        name = rng.choice(NAMES)
        content = rng.choice([f"old {rng.choice(NAMES)}", f"content {rng.randint(0, 5)}"])
        commitment = _commitment(content)
        bound = state.lineages_of_dataset(name, commitment)
        asked = rng.sample(
            list(state.lineages.values()), rng.randint(0, min(2, len(state.lineages)))
        )
        sources = [*bound, *(asked if rng.random() < 0.3 else [])]
        target = sources[0] if sources else None
        lineage = target.lineage_id if target else entries.lineage_id(ORIGIN, state.size)
        merged = sorted({x.lineage_id for x in sources if x is not target})
        self._append(
            Dataset(
                head=self._head(entries.DATASET_KIND),
                name=name,
                commitment=commitment,
                lineage=lineage,
                inherits=tuple(merged),
                cap_epsilon=CAP,
                cap_delta=DELTA,
                refresh_rule=entries.NEVER_RENEWED_RULE,
            )
        )
        self.truth.edges.append({f"name {name}", commitment, lineage, *merged})

    def _charge(self) -> None:
        if not self.state.datasets:
            return
        dataset = self.rng.choice(sorted(self.state.datasets))
        entry = self.state.datasets[dataset]
        lineage = self.state.lineage_by_id(entry.lineage)
        request = _request(self.rng.randint(0, 7))
        seq = len(self.log)
        self._append(
            Charge(
                head=self._head(entries.CHARGE_KIND),
                request_id=f"request-{seq}",
                dataset=dataset,
                commitment=entry.commitment,
                lineage=lineage.lineage_id,
                fingerprint=request.fingerprint(entry.commitment),
                event=request.event,
                epsilon="1",
                delta=DELTA,
                guarantee=request.guarantee,
                mechanism=request.mechanism,
                implementation=request.implementation,
                use=request.use,
                state=BudgetState(
                    cap_epsilon=lineage.cap_epsilon,
                    cap_delta=lineage.cap_delta,
                    refresh_rule=lineage.refresh_rule,
                    charges_before=lineage.charge_count,
                    mu_squared_before=str(lineage.mu_squared_units),
                    mu_squared_after=self._after(lineage.lineage_id, request),
                    epsilon_before="1",
                    epsilon_after="1",
                    anchored_size=0,
                    anchored_root="",
                ),
            )
        )
        self.truth.charges.append((dataset, 1, int(request.event.mu_squared)))
        self.truth.open[seq] = dataset

    def _after(self, lineage: str, request: ChargeRequest) -> str:
        """What the fold will say is spent after the charge, by a copy of its lineage."""
        trial = dataclasses.replace(self.state.lineage_by_id(lineage))
        trial.add_event(request.event)
        return str(trial.mu_squared_units)

    def _release(self) -> None:
        waiting = sorted(seq for seq, charge in self.state.charges.items() if charge.is_open)
        if not waiting:
            return
        charge = self.rng.choice(waiting)
        self._append(
            entries.Release(
                head=self._head(entries.RELEASE_KIND),
                charge=charge,
                request_id=f"request-{charge}",
                payload_sha256=_commitment(f"payload {charge}"),
                payload_size=1,
            )
        )
        self.truth.open.pop(charge)


def random_ledger(seed: int, state: LedgerState | None = None) -> RandomLedger:
    """A random ledger that the fold of ``state`` wrote; the plant's own if none is given."""
    rng = random.Random(seed)
    ledger = RandomLedger(rng, state or LedgerState())
    with suppress(VerificationError) if state else nullcontext():  # a bug may contradict itself
        ledger.write(rng.randint(0, _STEPS))
    return ledger


@cache
def _request(number: int) -> ChargeRequest:
    """One of a few requests, by noise."""
    return charging.make_charge_request(
        schema(),
        float(1 << (20 + number)) * 1.1,
        charging.ReleaseTerms(
            request_id="r",
            dataset="parts",
            epsilon="1",
            delta=DELTA,
            purpose="first model",
            recipient="server.example",
        ),
    )


@cache
def _key_id() -> str:
    from wg_core.ledger import signed_note as notes

    return notes.key_ids(ORIGIN, notes.LOG_ROLE, key(1).public_key())[0].hex()


@cache
def _commitment(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _predecessor(spends: Sequence[InheritedSpend]) -> Predecessor:
    return Predecessor(
        origin=OLD_ORIGIN,
        key=key(2).public_key().raw.hex(),
        checkpoint=_old_checkpoint(),
        reason="lost",
        spends=tuple(spends),
    )


@cache
def _old_checkpoint() -> str:
    head = Checkpoint(OLD_ORIGIN, 3, merkle.leaf_hash(b"an older log"))
    return checkpoints.sign(head, [key(2)]).encode().decode()
