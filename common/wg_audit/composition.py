"""Budgets as the auditor adds them up: a fold over a log's entries, by rules of its own.

Written from docs/ledger-format.md ("How budgets add up"). It shares no code with the fold that
writes a log and refuses entries (``wg_core.ledger.state``): entries are read here by the few fields
that the sum needs, a charge costs what its own mechanism implies, and whatever two budgets have in
common makes them one. It refuses nothing: what does not follow is for ``history.read`` to say, and
what that believes wrongly shows as another sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from wg_audit import rederive
from wg_audit.rederive import Layout
from wg_core import numbers, typed
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger.statement import BlockShare

FRACTION_BITS = 40  # Budgets count mu^2 in units of 2^-40


class _Event(msgspec.Struct):
    mu_squared: str


class _Spend(msgspec.Struct):
    lineage: str
    names: list[str]
    commitments: list[str]
    cap_epsilon: str
    cap_delta: str
    events: list[_Event]
    charges: int


class _Predecessor(msgspec.Struct):
    spends: list[_Spend]


class _Guarantee(msgspec.Struct):
    unit: str
    labels: list[str]


class _Mechanism(msgspec.Struct):
    blocks: list[BlockShare]
    bits: int
    dimension: int
    sigma: str


class _State(msgspec.Struct):
    cap_epsilon: str
    cap_delta: str
    mu_squared_after: str


class _Head(msgspec.Struct):
    kind: str
    seq: int


class _Entry(msgspec.Struct):
    """The fields of all kinds of entries that a sum of budgets needs."""

    head: _Head
    predecessor: _Predecessor | None = None
    name: str = ""
    dataset: str = ""
    commitment: str = ""
    lineage: str = ""
    inherits: list[str] = []
    cap_epsilon: str = ""
    cap_delta: str = ""
    guarantee: _Guarantee | None = None
    mechanism: _Mechanism | None = None
    state: _State | None = None
    charge: int = -1


_DECODER = typed.json_decoder(_Entry)


@dataclass(slots=True)
class Budget:
    """Spend of one budget.

    Attributes:
        lineages: IDs that entries call it by, the newest last.
        names: Data sets that draw on it, oldest first.
        commitments: Their contents.
        caps: (epsilon, delta) of the caps that entries state, as decimal strings.
        units: Privacy units that charges name, oldest first.
        charges: Number of charges, inherited ones among them.
        mu_squared: Sum of mu^2 of all charges, units of 2^-40.
        inherited_units: Part of that sum that the first entry carries over from the log before.
        open: Indices of charges that have no release.
    """

    lineages: dict[str, None] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    commitments: set[str] = field(default_factory=set)
    caps: set[tuple[str, str]] = field(default_factory=set)
    units: dict[str, None] = field(default_factory=dict)
    charges: int = 0
    mu_squared: int = 0
    inherited_units: int = 0
    open: set[int] = field(default_factory=set)

    @property
    def lineage(self) -> str:
        """The ID that the newest entry calls it by."""
        return next(reversed(self.lineages), "")

    @property
    def cap(self) -> tuple[float, float]:
        """The smallest cap on epsilon, and the smallest delta, that entries state."""
        epsilons, deltas = zip(*self.caps, strict=True)
        return min(map(numbers.decimal, epsilons)), min(map(numbers.decimal, deltas))

    def absorb(self, budget: Budget) -> None:
        """Make another budget a part of this one: all that it spent counts."""
        # What was this one's own stays the newest.
        self.lineages = budget.lineages | self.lineages
        self.names |= budget.names
        self.commitments |= budget.commitments
        self.caps |= budget.caps
        self.units |= budget.units
        self.charges += budget.charges
        self.mu_squared += budget.mu_squared
        self.inherited_units += budget.inherited_units
        self.open |= budget.open


@dataclass(slots=True)
class Composition:
    """The fold: budgets of a log, after the entries that were added."""

    budgets: list[Budget] = field(default_factory=list)

    @classmethod
    def of(cls, entries: Iterable[bytes]) -> Composition:
        """Budgets after all of these entries."""
        composition = cls()
        for data in entries:
            composition.add(data)
        return composition

    def add(self, data: bytes) -> None:
        """Take the next entry, as canonical bytes.

        Raises:
            DecodeError: It has not the fields of its kind.
            VerificationError: The mechanism is unknown, so that nobody can say what it costs.
        """
        entry = decode(data)
        if entry.predecessor is not None:
            for spend in entry.predecessor.spends:
                self._inherit(spend)
        elif entry.head.kind == "dataset":
            # The lineage that the entry names is the one that all others become a part of.
            lineages = (*entry.inherits, entry.lineage)
            budget = self._budget([entry.name], [entry.commitment], lineages)
            budget.caps.add((entry.cap_epsilon, entry.cap_delta))
        elif entry.guarantee is not None and entry.mechanism is not None:
            budget = self._budget([entry.dataset], [entry.commitment], [entry.lineage])
            budget.mu_squared += cost(entry)
            budget.charges += 1
            budget.units[entry.guarantee.unit] = None
            budget.open.add(entry.head.seq)
            if entry.state is not None:
                budget.caps.add((entry.state.cap_epsilon, entry.state.cap_delta))
        elif entry.head.kind == "release":
            for budget in self.budgets:
                budget.open.discard(entry.charge)

    def bound(self, words: Budget) -> list[Budget]:
        """The budgets that have a name, a content or a lineage in common with one."""
        return [budget for budget in self.budgets if _share(budget, words)]

    def _inherit(self, spend: _Spend) -> None:
        budget = self._budget(spend.names, spend.commitments, [spend.lineage])
        budget.caps.add((spend.cap_epsilon, spend.cap_delta))
        budget.charges += spend.charges
        units = sum(
            numbers.integer(event.mu_squared, subject="entry 0: mu_squared")
            for event in spend.events
        )
        budget.mu_squared += units
        budget.inherited_units += units

    def _budget(
        self, names: Iterable[str], commitments: Iterable[str], lineages: Iterable[str]
    ) -> Budget:
        """The one budget of all that has one of these names, contents or lineages."""
        words = Budget(dict.fromkeys(lineages), dict.fromkeys(names), set(commitments))
        bound = self.bound(words)
        target = bound[0] if bound else Budget()
        if not bound:
            self.budgets.append(target)
        for budget in bound[1:]:
            target.absorb(budget)
            self.budgets.remove(budget)
        for lineage in words.lineages:  # the newest last
            target.lineages.pop(lineage, None)
            target.lineages[lineage] = None
        target.names |= words.names
        target.commitments |= words.commitments
        return target


def decode(data: bytes) -> _Entry:
    """Read the fields of an entry that a sum needs, or ``DecodeError``."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"entry: {error}") from error


def cost(charge: _Entry) -> int:
    """Return mu^2 of the mechanism that a charge describes, in units of 2^-40, rounded up.

    Raises:
        VerificationError: It describes no release that this auditor knows.
    """
    mechanism, guarantee = charge.mechanism, charge.guarantee
    if mechanism is None or guarantee is None:
        raise VerificationError(f"entry {charge.head.seq}: is no charge")
    layout = Layout(
        blocks=tuple(mechanism.blocks),
        labels=len(guarantee.labels),
        bits=mechanism.bits,
        dimension=mechanism.dimension,
    )
    noise = rederive.sigma(mechanism.sigma)
    return rederive.mu_squared_units(
        rederive.sensitivity_squared(layout), noise, fraction_bits=FRACTION_BITS
    )


@dataclass(frozen=True, slots=True)
class ShownCost:
    """Cost of charges that came without their log, in units of 2^-40 of mu^2.

    Attributes:
        sum: Sum over the charges.
        largest: The largest sum that one of them states for its budget.
        caps: (epsilon, delta) of the caps that they state.
    """

    sum: int
    largest: int
    caps: tuple[tuple[float, float], ...]


def shown_cost(charges: Iterable[bytes]) -> ShownCost:
    """Add up CHARGE entries of which the log is not there.

    Raises:
        DecodeError: One is none.
        VerificationError: A mechanism is unknown.
    """
    total, largest, caps = 0, 0, []
    for entry in map(decode, charges):
        total += cost(entry)
        if entry.state is None:
            raise DecodeError(f"entry {entry.head.seq}: a charge without the state of its budget")
        after = numbers.integer(entry.state.mu_squared_after, subject="mu_squared_after")
        largest = max(largest, after)
        cap = (entry.state.cap_epsilon, entry.state.cap_delta)
        caps.append((numbers.decimal(cap[0]), numbers.decimal(cap[1])))
    return ShownCost(total, largest, tuple(caps))


def epsilon(mu_squared: int, delta: float) -> float:
    """Epsilon at ``delta`` of Gaussian releases whose mu^2 sum up to this, in units of 2^-40.

    Solves ``delta = delta_of(mu, epsilon)`` by bisection; the figure is rounded up. Zero for
    nothing spent, and infinite where epsilon is far beyond any use.
    """
    mu = math.sqrt(math.ldexp(mu_squared, -FRACTION_BITS))

    def too_small(epsilon: float) -> bool:
        return float(delta_of(np.array([mu]), np.array([epsilon]))[0]) > delta

    low, high = 0.0, 1.0
    if not too_small(low):
        return 0.0
    while too_small(high):
        low, high = high, 2 * high
        if high > _USELESS_EPSILON:
            return math.inf
    while high - low > high * _RELATIVE_PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if too_small(middle) else (low, middle)
    return high


_USELESS_EPSILON = 1e6  # Beyond it nothing is protected, and doubles do not reach much further
_RELATIVE_PRECISION = 1e-12


def delta_of(mu: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
    """Delta of mu-Gaussian differential privacy at epsilon, elementwise; zero for mu = 0.

    Balle and Wang 2018, Theorem 8; Dong, Roth and Su 2022, Corollary 1.
    """
    from scipy.special import log_ndtr, ndtr

    safe = np.where(mu > 0, mu, 1.0)
    lower_term = ndtr(safe / 2 - epsilon / safe)
    second = np.exp(np.minimum(epsilon + log_ndtr(-safe / 2 - epsilon / safe), 0))
    return np.where(mu > 0, lower_term - second, 0.0)


def _share(budget: Budget, words: Budget) -> bool:
    return bool(
        budget.names.keys() & words.names.keys()
        or budget.commitments & words.commitments
        or budget.lineages.keys() & words.lineages.keys()
    )
