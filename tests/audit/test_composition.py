"""The auditor adds up for himself: his fold and the plant's agree, and a bug in one shows."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.audit.fold_bugs import BUGS, PlantedBug, fold
from tests.audit.random_ledgers import RandomLedger, random_ledger

from wg_audit import composition, verification
from wg_audit.composition import BudgetComposition, BudgetSpend
from wg_core.ledger.lineage import LineageState
from wg_core.ledger.log_state import LedgerState
from wg_core.privacy import accounting
from wg_core.privacy.events import PrivacyEvent

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site

LEDGERS, ALL_LEDGERS = 300, 10_000
LEDGERS_WITH_A_BUG = 60

NAMES = ("counts", "sums", "moments")

Sums = dict[frozenset[str], tuple[int, int]]


def sums_of_plant(state: LedgerState) -> Sums:
    """Number of charges and sum of mu^2 of each budget, by names of data sets."""
    return {
        frozenset(x.dataset_names): (x.charge_count, x.mu_squared_units)
        for x in state.lineages.values()
    }


def sums_of_auditor(log: list[bytes]) -> dict[frozenset[str], tuple[int, int, int]]:
    """The same and the number of burned charges, as the auditor adds up."""
    return {
        frozenset(x.dataset_names): (x.charge_count, x.mu_squared, len(x.open_charge_indices))
        for x in BudgetComposition.compose(log).budgets
    }


def true_sums(ledger: RandomLedger) -> Sums:
    return {names: sums[:2] for names, sums in ledger.truth.budgets().items()}


def check_ledgers(ledgers: Iterable[RandomLedger]) -> None:
    for seed, ledger in enumerate(ledgers):
        assert sums_of_auditor(ledger.log) == ledger.truth.budgets(), seed
        assert sums_of_plant(ledger.state) == true_sums(ledger), seed
        identifiers = {
            budget.newest_lineage for budget in BudgetComposition.compose(ledger.log).budgets
        }
        assert identifiers == set(ledger.state.lineages), seed


@pytest.fixture(scope="module")
def ledgers() -> list[RandomLedger]:
    return [random_ledger(seed) for seed in range(LEDGERS)]


def test_the_two_folds_agree_on_random_ledgers(ledgers: list[RandomLedger]) -> None:
    check_ledgers(ledgers)


@pytest.mark.slow
def test_the_two_folds_agree_on_ten_thousand_random_ledgers() -> None:
    check_ledgers(random_ledger(seed) for seed in range(ALL_LEDGERS))


class PlainComposition(BudgetComposition):
    """The composition without an index: every entry is compared with every budget."""

    plain: list[BudgetSpend]

    @property
    def budgets(self) -> list[BudgetSpend]:
        return self.plain

    def matching_budgets(self, bound: BudgetSpend) -> list[BudgetSpend]:
        return [x for x in self.plain if set(x.index_keys()) & set(bound.index_keys())]

    def add_entry(self, data: bytes) -> None:
        entry = composition.decode_entry_fields(data)
        if entry.head.kind == "release":
            for budget in self.plain:
                budget.open_charge_indices.discard(entry.charge)
        else:
            super().add_entry(data)
        self._numbers_by_open_charge.clear()

    def _find_or_merge_budget(
        self, names: Iterable[str], commitments: Iterable[str], lineages: Iterable[str]
    ) -> BudgetSpend:
        words = BudgetSpend(dict.fromkeys(lineages), dict.fromkeys(names), set(commitments))
        self._numbers_by_key |= dict.fromkeys(words.index_keys(), 0)
        bound = self.matching_budgets(words)
        target = bound[0] if bound else BudgetSpend()
        if not bound:
            self.plain.append(target)
        for budget in bound[1:]:
            target.merge(budget)
            self.plain.remove(budget)
        for lineage in words.lineage_ids:
            target.lineage_ids.pop(lineage, None)
            target.lineage_ids[lineage] = None
        target.dataset_names |= words.dataset_names
        target.commitments |= words.commitments
        return target


def test_an_index_of_budgets_changes_none_of_them(ledgers: list[RandomLedger]) -> None:
    for seed, ledger in enumerate(ledgers):
        plain = PlainComposition()
        plain.plain = []
        for data in ledger.log:
            plain.add_entry(data)
        indexed = BudgetComposition.compose(ledger.log)
        assert indexed.budgets == plain.budgets, seed
        assert [list(x.lineage_ids) for x in indexed.budgets] == [
            list(x.lineage_ids) for x in plain.budgets
        ]
        for budget in plain.budgets:
            assert indexed.matching_budgets(budget) == [budget]


def many_budgets(count: int) -> list[bytes]:
    """A log of as many budgets, each with one charge and its release."""
    entries: list[dict[str, Any]] = []
    for number in range(count):
        name = {"commitment": f"{number:064x}", "lineage": f"{number:032x}"}
        cap = {"cap_epsilon": "8", "cap_delta": "1e-5"}
        entries.append({"kind": "dataset", "name": f"d{number}", **name, **cap})
    blocks = [{"name": x, "length": n, "weight": 1} for x, n in zip(NAMES, (2, 1, 1), strict=True)]
    mechanism = {"blocks": blocks, "bits": 14, "dimension": 1, "sigma": "1e9"}
    for entry in entries[:count]:
        charge = {**entry, "kind": "charge", "dataset": entry["name"], "mechanism": mechanism}
        entries.append(charge | {"guarantee": {"unit": "record", "labels": ["a"]}})
    entries += [{"kind": "release", "charge": count + number} for number in range(count)]
    heads = [{"head": {"kind": x["kind"], "seq": seq}} | x for seq, x in enumerate(entries)]
    return [json.dumps(x).encode() for x in heads]


def test_the_sum_of_a_log_of_many_budgets_takes_time_in_proportion_to_it() -> None:
    seconds = []
    for count in (500, 4000):
        log = many_budgets(count)
        start = time.process_time()
        budgets = BudgetComposition.compose(log).budgets
        seconds.append(time.process_time() - start)
        assert len(budgets) == count and not any(x.open_charge_indices for x in budgets)
    assert seconds[1] < 24 * seconds[0]  # eight times as many; each with each: 64 times


def test_random_ledgers_merge_inherit_and_burn(ledgers: list[RandomLedger]) -> None:
    """The two folds do not agree for want of anything difficult."""
    logs = [b"".join(ledger.log) for ledger in ledgers]
    assert sum(b'"inherits":["' in log for log in logs) > LEDGERS / 4
    assert sum(b'"spends":[{' in log for log in logs) > LEDGERS / 4
    assert sum(bool(ledger.truth.open) for ledger in ledgers) > LEDGERS / 4
    assert sum(len(ledger.state.lineages) > 1 for ledger in ledgers) > LEDGERS / 4


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_auditors_figure_is_the_true_one_whatever_the_plants_fold_believes(
    bug: PlantedBug,
) -> None:
    wrong = 0
    for seed in range(LEDGERS_WITH_A_BUG):
        ledger = random_ledger(seed, fold(bug))
        assert sums_of_auditor(ledger.log) == ledger.truth.budgets(), seed
        wrong += sums_of_plant(ledger.state) != true_sums(ledger)
    assert wrong, "the bug changes no sum: it is none"


def test_there_are_twenty_bugs_of_the_plants_fold() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) == 20


def test_another_sum_than_the_logs_own_is_a_problem_and_the_figure_is_the_true_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plant whose fold, and so the auditor's copy, forgets what a merged data set had spent."""

    def forgetful(self: LedgerState, source: LineageState, target: LineageState) -> None:
        source.mu_squared_units = 0
        merge(self, source, target)

    merge = LedgerState._merge_lineages
    monkeypatch.setattr(LedgerState, "_merge_lineages", forgetful)
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        site.register(ledger, "welds", b"other data")
        ledger.charge(site.request("w1", "0.5", "welds"))
        site.register(ledger, "parts", b"other data")
        believed = ledger.read_spending("parts").epsilon
    found = verification.audit_log(site.path)
    assert found.verdict.word == "other sums" and not found.is_verified
    (account,) = found.accounts
    assert believed == pytest.approx(1, abs=1e-3) and account.primary > 1.1
    assert account.mu_squared == pytest.approx(mu_squared(site, "1") + mu_squared(site, "0.5"))


def mu_squared(site: Site, epsilon: str) -> float:
    units = int(site.request("r", epsilon).event.mu_squared)
    return math.ldexp(units, -composition.MU_SQUARED_FRACTION_BITS)


@settings(deadline=None, max_examples=12, derandomize=True)
@given(mu=st.floats(1e-3, 8, allow_nan=False), delta=st.sampled_from([1e-9, 1e-6, 1e-5, 1e-3, 0.1]))
def test_epsilon_is_that_of_another_code_base(mu: float, delta: float) -> None:
    units = math.ceil(math.ldexp(mu * mu, composition.MU_SQUARED_FRACTION_BITS))
    event = PrivacyEvent(mechanism="gaussian", mu_squared=str(units))
    epsilon = composition.gaussian_epsilon(units, delta)
    # dp-accounting rounds up: its figure is above, and close.
    assert epsilon <= accounting.composed_epsilon([event], delta) + 1e-9
    assert epsilon == pytest.approx(accounting.composed_epsilon([event], delta), rel=1e-3, abs=1e-4)


def test_epsilon_of_nothing_is_nothing_and_far_beyond_use_it_is_infinite() -> None:
    assert composition.gaussian_epsilon(0, 1e-5) == 0
    assert composition.gaussian_epsilon(1 << 80, 1e-5) == math.inf
