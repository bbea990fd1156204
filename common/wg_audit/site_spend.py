"""Total privacy cost over all known logs of a site, and what this sum leaves open.

A cap limits one budget of one log. But the records of one person may be charged to several budgets,
logs, or contradictory histories of a log, so the headline of the verdict is the sum over all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wg_audit import composition, lookalikes
from wg_audit.composition import BudgetComposition, BudgetSpend
from wg_audit.forks import Fork
from wg_common.language import Text, list_names, text
from wg_core.ledger.log_verification import VerifiedLog

_ROOT_DIGITS = 12  # Number of displayed hex digits of a root
_NAMES_SHOWN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalSpend:
    """Total privacy spend of a site: the sum over budgets, logs and contradictory histories.

    Attributes:
        epsilon: Composed epsilon at ``delta``, by the closed form of Gaussian DP.
        delta: Smallest delta among the caps of the budgets.
        cap_epsilon: Smallest epsilon among the caps of the budgets.
        budgets: Number of budgets with some spend.
        logs: Number of logs in the sum besides the verified log.
        at_least: True if ``epsilon`` is a lower bound: a log or history may have unknown charges.
    """

    epsilon: float
    delta: float
    cap_epsilon: float
    budgets: int
    logs: int
    at_least: bool

    def describe(self) -> Text:
        """Return the total spend and its cap as text."""
        figures = {"epsilon": self.epsilon, "cap": self.cap_epsilon, "delta": self.delta}
        if self.at_least:
            return text("at least epsilon {epsilon:.4f} of {cap:g} at delta {delta:g}", **figures)
        return text("epsilon {epsilon:.4f} of {cap:g} at delta {delta:g}", **figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkedLog:
    """Log with two contradictory histories, as a verdict shows it.

    Attributes:
        origin: Origin of its checkpoints.
        heads: Contradictory checkpoints, each as text: number of entries and start of the root.
        charges: Number of charges that are known from files or copies, but not on the given log.
    """

    origin: str
    heads: tuple[str, ...]
    charges: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBudgets:
    """Budgets of the verified log and of the site's other logs, composed by the auditor.

    Attributes:
        log_composition: Budgets of the verified log.
        history: The verified log itself.
        earlier_compositions: Budgets of each earlier log whose spend the verified log inherits.
        outside_compositions: Budgets of each other log of the site, whose spend it does not
            inherit.
        unlogged_charges: CHARGE entries (canonical bytes) in files of logs that were not given and
            are not inherited, by origin.
    """

    log_composition: BudgetComposition
    history: VerifiedLog
    earlier_compositions: Sequence[BudgetComposition]
    outside_compositions: Sequence[BudgetComposition]
    unlogged_charges: Mapping[str, Sequence[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteSpend:
    """Auditor's own sums of a site's privacy spend.

    Attributes:
        total: Sum over everything known; None without any budget.
        forks: Logs with two contradictory histories.
        mixed_unit_budgets: (data set names, privacy units) of each budget whose charges protect
            several units.
        lookalike_names: Groups of names that look alike, of data sets with separate budgets, or
            sites.
        wrong_sum_sentences: Sentences on budgets for which the log or its first entry states a
            wrong sum.
    """

    total: TotalSpend | None
    forks: tuple[ForkedLog, ...] = ()
    mixed_unit_budgets: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    lookalike_names: tuple[tuple[str, ...], ...] = ()
    wrong_sum_sentences: tuple[str, ...] = ()

    def verdict_problems(self) -> Iterator[tuple[Text, Text]]:
        """Yield (word for the verdict, sentence) for each problem that the sums show."""
        for fork in self.forks:
            yield (
                text("two histories"),
                text(
                    "log {origin} has two histories: its key signed contradictory states ({heads});"
                    " files show {count} charge(s) that are not in the given log; with them {sum}",
                    origin=fork.origin,
                    heads=list_names(fork.heads),
                    count=fork.charges,
                    sum=self.total.describe() if self.total else text("nothing was charged"),
                ),
            )
        for names, units in self.mixed_unit_budgets:
            yield (
                text("two units"),
                text(
                    "two units in one sum: charges of {names} protect different things ({units}),"
                    " and their sum protects none of them",
                    names=list_names(names),
                    units=list_names(units),
                ),
            )
        for sentence in self.wrong_sum_sentences:
            yield text("other sums"), text("other sums: {what}", what=sentence)

    def open_questions(self) -> Iterator[Text]:
        """Yield sentences on questions about the site's spend that no log can answer."""
        if self.total is not None and self.total.budgets > 1:
            yield text(
                "whether {count} budgets concern different people or parts: if not, they cost "
                "{sum}",
                count=self.total.budgets,
                sum=self.total.describe(),
            )
        for names in self.lookalike_names:
            yield text(
                "whether names that look alike are one: {names}",
                names=list_names(
                    [lookalikes.append_escaped_form(name) for name in names[:_NAMES_SHOWN]]
                ),
            )


def sum_site_spend(
    known_budgets: KnownBudgets, forks: Sequence[Fork], site_names: Iterable[str]
) -> SiteSpend:
    """Add up a site's known privacy spend over budgets, logs and histories.

    Args:
        known_budgets: Budgets of the verified log and of the site's other logs.
        forks: Contradictory histories of logs.
        site_names: Names of all sites in the evidence, to be searched for names that look alike.
    """
    budgets = [
        budget
        for part in (known_budgets.log_composition, *known_budgets.outside_compositions)
        for budget in part.budgets
    ]
    return SiteSpend(
        total=_total_spend(budgets, known_budgets, forks),
        forks=tuple(
            ForkedLog(
                origin=fork.origin,
                heads=tuple(
                    f"{size}: {root[:_ROOT_DIGITS]}…" for size, root in sorted(fork.checkpoints)
                ),
                charges=len(fork.missing_charges_by_leaf_hash),
            )
            for fork in forks
        ),
        mixed_unit_budgets=tuple(
            _budgets_of_mixed_units(budgets, known_budgets.earlier_compositions)
        ),
        lookalike_names=(*_lookalike_datasets(budgets), *lookalikes.lookalike_groups(site_names)),
        wrong_sum_sentences=(
            *_wrong_sums(known_budgets.log_composition, known_budgets.history),
            *_incomplete_inheritances(known_budgets),
        ),
    )


def _lookalike_datasets(budgets: Sequence[BudgetSpend]) -> Iterator[tuple[str, ...]]:
    """Yield groups of data set names that look alike and have separate budgets."""
    payers: dict[str, int] = {}
    for index, budget in enumerate(budgets):
        payers |= dict.fromkeys(budget.dataset_names, index)
    for group in lookalikes.lookalike_groups(payers):
        if len({payers[name] for name in group}) > 1:
            yield group


def _budgets_of_mixed_units(
    budgets: Sequence[BudgetSpend], earlier_compositions: Sequence[BudgetComposition]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield each budget whose charges protect different privacy units.

    Yields:
        The names of its data sets, and the privacy units of its charges, also on earlier logs.
    """
    for budget in budgets:
        parts = [
            budget,
            *(part for log in earlier_compositions for part in log.matching_budgets(budget)),
        ]
        units = dict.fromkeys(unit for part in parts for unit in part.privacy_units)
        if len(units) > 1:
            yield tuple(budget.dataset_names), tuple(units)


def _incomplete_inheritances(known_budgets: KnownBudgets) -> Iterator[Text]:
    """Yield a sentence for each budget that inherits less than it spent on an earlier log."""
    for before in known_budgets.earlier_compositions:
        for part in before.budgets:
            if part.mu_squared and not known_budgets.log_composition.matching_budgets(part):
                yield text(
                    "the first entry inherits nothing for {names}, for which the previous log spent"
                    " {spent}",
                    names=list_names(list(part.dataset_names)),
                    spent=part.mu_squared,
                )
        for budget in known_budgets.log_composition.budgets:
            units = sum(part.mu_squared for part in before.matching_budgets(budget))
            if units > budget.inherited_mu_squared:
                yield text(
                    "the first entry inherits mu^2 = {units} units for {names}, for which the "
                    "previous log spent {spent}",
                    units=budget.inherited_mu_squared,
                    names=list_names(list(budget.dataset_names)),
                    spent=units,
                )


def _total_spend(
    budgets: Sequence[BudgetSpend], known_budgets: KnownBudgets, forks: Sequence[Fork]
) -> TotalSpend | None:
    """Return the sum of all budgets and of charges known from files alone; None without a cap."""
    caps = [budget.cap for budget in budgets if budget.caps]
    budget_units = sum(budget.mu_squared for budget in budgets)
    shown_parts = [
        composition.sum_unlogged_charges(charges)
        for charges in known_budgets.unlogged_charges.values()
    ]
    branches = [
        composition.sum_unlogged_charges(fork.missing_charges_by_leaf_hash.values())
        for fork in forks
    ]
    caps += [cap for part in (*shown_parts, *branches) for cap in part.caps]
    if not caps:
        return None
    # A charge states the spend of its own history, which is a lower bound on the total.
    units = max(
        budget_units
        + sum(max(part.total_mu_squared, part.largest_stated_mu_squared) for part in shown_parts)
        + sum(x.total_mu_squared for x in branches),
        *(part.largest_stated_mu_squared for part in branches),
        *(fork.copy_mu_squared for fork in forks),
        0,
    )
    delta = min(delta for _, delta in caps)
    return TotalSpend(
        epsilon=composition.gaussian_epsilon(units, delta),
        delta=delta,
        cap_epsilon=min(cap for cap, _ in caps),
        budgets=sum(budget.mu_squared > 0 for budget in budgets) + len(shown_parts),
        logs=len(known_budgets.outside_compositions) + len(shown_parts),
        at_least=bool(shown_parts or forks),
    )


def _wrong_sums(log_composition: BudgetComposition, history: VerifiedLog) -> Iterator[Text]:
    """Yield a sentence for each budget whose sum in the log differs from that of its entries."""
    log_sums = {
        frozenset(lineage.dataset_names): (lineage.charge_count, lineage.mu_squared_units)
        for lineage in history.state.lineages.values()
    }
    for budget in log_composition.budgets:
        charges, units = log_sums.pop(frozenset(budget.dataset_names), (0, 0))
        if (charges, units) != (budget.charge_count, budget.mu_squared):
            yield text(
                "the log counts {charges} charge(s) of mu^2 = {units} units for {names}, its"
                " entries add up to {true_charges} of {true_units}",
                charges=charges,
                units=units,
                names=list_names(list(budget.dataset_names)),
                true_charges=budget.charge_count,
                true_units=budget.mu_squared,
            )
    for names, (charges, units) in log_sums.items():
        yield text(
            "the log counts {charges} charge(s) of mu^2 = {units} units for {names}, which its"
            " entries make no budget of its own",
            charges=charges,
            units=units,
            names=list_names(sorted(names)),
        )
