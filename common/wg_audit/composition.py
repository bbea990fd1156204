"""The auditor's own composition of budgets, computed entry by entry.

It follows docs/ledger-format.md ("How budgets add up"), and shares no code with the program that
writes a log and refuses wrong entries (``wg_core.ledger.log_state``). It reads only the fields that
the sums need, computes the cost of each charge from its mechanism, and merges budgets that share a
name, a commitment or a lineage. It refuses no entry: ``history.verify_log`` checks the order of
entries, and an error in that check shows as a different sum here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from wg_audit import charge_derivation
from wg_audit.charge_derivation import ReleaseLayout
from wg_core import number_parsers, typed_records
from wg_core.errors import DecodeError, VerificationError
from wg_core.ledger.charge_parts import BlockShare

MU_SQUARED_FRACTION_BITS = 40  # Budgets count mu^2 in units of 2^-40


class _EventFields(msgspec.Struct):
    mu_squared: str


class _InheritedSpendFields(msgspec.Struct):
    lineage: str
    names: list[str]
    commitments: list[str]
    cap_epsilon: str
    cap_delta: str
    events: list[_EventFields]
    charges: int


class _PredecessorFields(msgspec.Struct):
    spends: list[_InheritedSpendFields]


class _GuaranteeFields(msgspec.Struct):
    unit: str
    labels: list[str]


class _MechanismFields(msgspec.Struct):
    blocks: list[BlockShare]
    bits: int
    dimension: int
    sigma: str


class _BudgetStateFields(msgspec.Struct):
    cap_epsilon: str
    cap_delta: str
    mu_squared_after: str


class _HeaderFields(msgspec.Struct):
    kind: str
    seq: int


class _EntryFields(msgspec.Struct):
    """Fields that the sums of budgets need, from a ledger entry of any kind."""

    head: _HeaderFields
    predecessor: _PredecessorFields | None = None
    name: str = ""
    dataset: str = ""
    commitment: str = ""
    lineage: str = ""
    inherits: list[str] = []
    cap_epsilon: str = ""
    cap_delta: str = ""
    guarantee: _GuaranteeFields | None = None
    mechanism: _MechanismFields | None = None
    state: _BudgetStateFields | None = None
    charge: int = -1


_ENTRY_DECODER = typed_records.json_decoder(_EntryFields)


@dataclass(slots=True)
class BudgetSpend:
    """Spend of one budget, computed by the auditor.

    Each dictionary whose values are None serves as an ordered set.

    Attributes:
        lineage_ids: Lineage IDs under which entries name the budget, the newest last.
        dataset_names: Names of its data sets, oldest first.
        commitments: Commitments of its data sets, hex.
        caps: (epsilon, delta) of each cap that entries state, as decimal strings.
        privacy_units: Privacy units of its charges, oldest first.
        charge_count: Number of charges, including inherited ones.
        mu_squared: Sum of mu^2 of all charges, in units of 2^-40.
        inherited_mu_squared: Part of ``mu_squared`` that the first entry inherits from the previous
            log.
        open_charge_indices: Indices of charges without a release.
    """

    lineage_ids: dict[str, None] = field(default_factory=dict)
    dataset_names: dict[str, None] = field(default_factory=dict)
    commitments: set[str] = field(default_factory=set)
    caps: set[tuple[str, str]] = field(default_factory=set)
    privacy_units: dict[str, None] = field(default_factory=dict)
    charge_count: int = 0
    mu_squared: int = 0
    inherited_mu_squared: int = 0
    open_charge_indices: set[int] = field(default_factory=set)

    @property
    def newest_lineage(self) -> str:
        """Lineage ID in the newest entry that names the budget; empty if there is none."""
        return next(reversed(self.lineage_ids), "")

    @property
    def cap(self) -> tuple[float, float]:
        """(epsilon, delta): the smallest of each among the caps that entries state."""
        epsilons, deltas = zip(*self.caps, strict=True)
        return min(map(number_parsers.parse_decimal, epsilons)), min(
            map(number_parsers.parse_decimal, deltas)
        )

    def index_keys(self) -> list[str]:
        """Return the names, commitments and lineage IDs by which entries refer to this budget."""
        return [
            *(f"name {name}" for name in self.dataset_names),
            *(f"commitment {commitment}" for commitment in self.commitments),
            *(f"lineage {lineage}" for lineage in self.lineage_ids),
        ]

    def merge(self, budget: BudgetSpend) -> None:
        """Add another budget's spend, names, commitments, lineages and caps to this budget."""
        # The lineages of this budget stay the newest.
        self.lineage_ids = budget.lineage_ids | self.lineage_ids
        self.dataset_names |= budget.dataset_names
        self.commitments |= budget.commitments
        self.caps |= budget.caps
        self.privacy_units |= budget.privacy_units
        self.charge_count += budget.charge_count
        self.mu_squared += budget.mu_squared
        self.inherited_mu_squared += budget.inherited_mu_squared
        self.open_charge_indices |= budget.open_charge_indices


@dataclass(slots=True)
class BudgetComposition:
    """Budgets of a log, which the auditor computes entry by entry."""

    _budgets_by_number: dict[int, BudgetSpend] = field(
        default_factory=dict
    )  # By number, in the order of their first entries
    _numbers_by_key: dict[str, int] = field(default_factory=dict)  # By name, commitment or lineage
    _merge_targets: dict[int, int] = field(default_factory=dict)  # Absorbed -> absorbing budget
    _numbers_by_open_charge: dict[int, int] = field(
        default_factory=dict
    )  # Entry index -> budget number

    @property
    def budgets(self) -> list[BudgetSpend]:
        """Budgets in the order of their first entries, after all merges."""
        return list(self._budgets_by_number.values())

    @classmethod
    def compose(cls, entries: Iterable[bytes]) -> BudgetComposition:
        """Compose the budgets of a log from the canonical bytes of all its entries, in order."""
        composition = cls()
        for data in entries:
            composition.add_entry(data)
        return composition

    def add_entry(self, data: bytes) -> None:
        """Add the log's next entry to the budgets.

        Args:
            data: Canonical bytes of the entry.

        Raises:
            DecodeError: The entry lacks a field of its kind.
            VerificationError: The mechanism is unknown, so its cost cannot be computed.
        """
        entry = decode_entry_fields(data)
        if entry.predecessor is not None:
            for spend in entry.predecessor.spends:
                self._add_inherited_spend(spend)
        elif entry.head.kind == "dataset":
            # All other lineages merge into the lineage that the entry names.
            lineages = (*entry.inherits, entry.lineage)
            budget = self._find_or_merge_budget([entry.name], [entry.commitment], lineages)
            budget.caps.add((entry.cap_epsilon, entry.cap_delta))
        elif entry.guarantee is not None and entry.mechanism is not None:
            budget = self._find_or_merge_budget(
                [entry.dataset], [entry.commitment], [entry.lineage]
            )
            budget.mu_squared += charge_mu_squared(entry)
            budget.charge_count += 1
            budget.privacy_units[entry.guarantee.unit] = None
            budget.open_charge_indices.add(entry.head.seq)
            self._numbers_by_open_charge[entry.head.seq] = self._numbers_by_key[
                f"name {entry.dataset}"
            ]
            if entry.state is not None:
                budget.caps.add((entry.state.cap_epsilon, entry.state.cap_delta))
        elif entry.head.kind == "release" and entry.charge in self._numbers_by_open_charge:
            number = self._merged_number(self._numbers_by_open_charge.pop(entry.charge))
            self._budgets_by_number[number].open_charge_indices.discard(entry.charge)

    def matching_budgets(self, budget: BudgetSpend) -> list[BudgetSpend]:
        """Return the log's budgets that share a name, commitment or lineage with a given one."""
        return [self._budgets_by_number[number] for number in self._matching_numbers(budget)]

    def _matching_numbers(self, budget: BudgetSpend) -> list[int]:
        keys = budget.index_keys()
        return sorted(
            {
                self._merged_number(self._numbers_by_key[key])
                for key in keys
                if key in self._numbers_by_key
            }
        )

    def _merged_number(self, number: int) -> int:
        """Return the number of the budget that now contains budget ``number``, after merges."""
        target = number
        while target in self._merge_targets:
            target = self._merge_targets[target]
        while number != target:  # shorten the chain of merges for later calls
            self._merge_targets[number], number = target, self._merge_targets[number]
        return target

    def _add_inherited_spend(self, spend: _InheritedSpendFields) -> None:
        budget = self._find_or_merge_budget(spend.names, spend.commitments, [spend.lineage])
        budget.caps.add((spend.cap_epsilon, spend.cap_delta))
        budget.charge_count += spend.charges
        units = sum(
            number_parsers.parse_integer(event.mu_squared, input_name="entry 0: mu_squared")
            for event in spend.events
        )
        budget.mu_squared += units
        budget.inherited_mu_squared += units

    def _find_or_merge_budget(
        self, names: Iterable[str], commitments: Iterable[str], lineages: Iterable[str]
    ) -> BudgetSpend:
        """Return the budget that has any of these names, commitments or lineages.

        Several such budgets are merged into one; a new budget is added if there is none.
        """
        words = BudgetSpend(dict.fromkeys(lineages), dict.fromkeys(names), set(commitments))
        first, *others = self._matching_numbers(words) or [
            len(self._budgets_by_number) + len(self._merge_targets)
        ]
        target = self._budgets_by_number.setdefault(first, BudgetSpend())
        for number in others:
            target.merge(self._budgets_by_number.pop(number))
            self._merge_targets[number] = first
        self._numbers_by_key |= dict.fromkeys(words.index_keys(), first)
        for lineage in words.lineage_ids:  # the newest last
            target.lineage_ids.pop(lineage, None)
            target.lineage_ids[lineage] = None
        target.dataset_names |= words.dataset_names
        target.commitments |= words.commitments
        return target


def decode_entry_fields(data: bytes) -> _EntryFields:
    """Decode the entry fields that sums of mu^2 need; ``DecodeError`` if they are malformed."""
    try:
        return _ENTRY_DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"entry: {error}") from error


def charge_mu_squared(charge: _EntryFields) -> int:
    """Return mu^2 of a charge's mechanism in units of 2^-40, rounded up.

    Raises:
        VerificationError: The entry is not a charge, or its mechanism is unknown.
    """
    mechanism, guarantee = charge.mechanism, charge.guarantee
    if mechanism is None or guarantee is None:
        raise VerificationError(f"entry {charge.head.seq}: is no charge")
    layout = ReleaseLayout(
        blocks=tuple(mechanism.blocks),
        label_count=len(guarantee.labels),
        grid_bits=mechanism.bits,
        dimension=mechanism.dimension,
    )
    noise = charge_derivation.parse_sigma(mechanism.sigma)
    return charge_derivation.rounded_mu_squared(
        charge_derivation.sensitivity_squared(layout), noise, fraction_bits=MU_SQUARED_FRACTION_BITS
    )


@dataclass(frozen=True, slots=True)
class UnloggedCost:
    """Cost of charges whose log is not available, as mu^2 in units of 2^-40.

    Attributes:
        total_mu_squared: Sum of the mu^2 of these charges.
        largest_stated_mu_squared: Largest sum of mu^2 that one of them states for its budget after
            the charge.
        caps: (epsilon, delta) of the cap that each charge states.
    """

    total_mu_squared: int
    largest_stated_mu_squared: int
    caps: tuple[tuple[float, float], ...]


def sum_unlogged_charges(charges: Iterable[bytes]) -> UnloggedCost:
    """Add up CHARGE entries, in canonical bytes, whose log is not available.

    Raises:
        DecodeError: An entry is not a charge with the state of its budget.
        VerificationError: A mechanism is unknown.
    """
    total, largest, caps = 0, 0, []
    for entry in map(decode_entry_fields, charges):
        total += charge_mu_squared(entry)
        if entry.state is None:
            raise DecodeError(f"entry {entry.head.seq}: a charge without the state of its budget")
        after = number_parsers.parse_integer(
            entry.state.mu_squared_after, input_name="mu_squared_after"
        )
        largest = max(largest, after)
        cap = (entry.state.cap_epsilon, entry.state.cap_delta)
        caps.append((number_parsers.parse_decimal(cap[0]), number_parsers.parse_decimal(cap[1])))
    return UnloggedCost(total, largest, tuple(caps))


def gaussian_epsilon(mu_squared: int, delta: float) -> float:
    """Return the composed epsilon of Gaussian releases with a given sum of mu^2, rounded up.

    The equation ``delta = gaussian_delta(mu, epsilon)`` is solved by bisection. The result is 0
    without any spend, and infinite above 10^6.

    Args:
        mu_squared: Sum of mu^2, in units of 2^-40.
        delta: Delta of the guarantee.
    """
    mu = math.sqrt(math.ldexp(mu_squared, -MU_SQUARED_FRACTION_BITS))

    def too_small(epsilon: float) -> bool:
        return float(gaussian_delta(np.array([mu]), np.array([epsilon]))[0]) > delta

    low, high = 0.0, 1.0
    if not too_small(low):
        return 0.0
    while too_small(high):
        low, high = high, 2 * high
        if high > _LARGEST_FINITE_EPSILON:
            return math.inf
    while high - low > high * _RELATIVE_PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if too_small(middle) else (low, middle)
    return high


_LARGEST_FINITE_EPSILON = 1e6  # Largest finite result, far beyond any protection
_RELATIVE_PRECISION = 1e-12


def gaussian_delta(mu: np.ndarray, epsilon: np.ndarray) -> np.ndarray:
    """Return the delta of mu-Gaussian differential privacy at epsilon; 0 for mu = 0.

    Arguments are arrays of one shape; the result has this shape, and is computed elementwise.

    References: Balle and Wang 2018, Theorem 8; Dong, Roth and Su 2022, Corollary 1.
    """
    from scipy.special import log_ndtr, ndtr

    safe = np.where(mu > 0, mu, 1.0)
    lower_term = ndtr(safe / 2 - epsilon / safe)
    second = np.exp(np.minimum(epsilon + log_ndtr(-safe / 2 - epsilon / safe), 0))
    return np.where(mu > 0, lower_term - second, 0.0)
