"""Privacy cost of a verified log: epsilon of each budget, computed by two independent programs.

Both start from the sums of mu^2 that the auditor composed (``composition``). ``primary`` comes from
dp-accounting's privacy loss distribution (``privacy.accounting``), ``independent`` from the closed
form of Gaussian DP (``composition.gaussian_epsilon``). They must agree, and the primary epsilon
must not exceed the cap. Composed epsilon only grows, so a cap that holds at the end held after
every charge. The epsilons that charges state are checked against the closed form, all in one array.
"""

from dataclasses import dataclass, field

import numpy as np

from wg_audit import charge_derivation, composition
from wg_audit.composition import BudgetComposition, gaussian_delta
from wg_core.errors import VerificationError
from wg_core.ledger.entries import Charge
from wg_core.ledger.log_verification import StatedBudgets
from wg_core.privacy import accounting
from wg_core.privacy.events import MU_SQUARED_UNIT, PrivacyEvent

UNDERSTATEMENT_TOLERANCE, OVERSTATEMENT_TOLERANCE = 1e-6, 1e-3
"""Relative amounts by which a charge's stated epsilon may be below and above its computed cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageAccount:
    """Budget of one lineage (data sets that share it) after the last entry of the log.

    Attributes:
        lineage: Lineage ID.
        datasets: Data sets that share the budget.
        charges: Number of charges.
        burned: Number of charges without a release.
        mu_squared: Sum of mu^2 over the charges.
        delta: Delta of the cap, at which all epsilons of this account are computed.
        cap_epsilon: Epsilon of the cap.
        primary: Composed epsilon of all charges, by dp-accounting.
        independent: Composed epsilon of all charges, by closed-form Gaussian DP.
    """

    lineage: str
    datasets: tuple[str, ...]
    charges: int
    burned: int
    mu_squared: float
    delta: float
    cap_epsilon: float
    primary: float
    independent: float


def lineage_accounts(log_composition: BudgetComposition) -> list[LineageAccount]:
    """Compute each budget's composed epsilon by both programs, and check it against the cap.

    Raises:
        VerificationError: A cap is exceeded, or the two programs disagree.
    """
    result = []
    for budget in log_composition.budgets:
        cap_epsilon, delta = budget.cap
        events = (
            [PrivacyEvent(mechanism="gaussian", mu_squared=str(budget.mu_squared))]
            if budget.mu_squared
            else []
        )
        account = LineageAccount(
            lineage=budget.newest_lineage,
            datasets=tuple(budget.dataset_names),
            charges=budget.charge_count,
            burned=len(budget.open_charge_indices),
            mu_squared=float(budget.mu_squared * MU_SQUARED_UNIT),
            delta=delta,
            cap_epsilon=cap_epsilon,
            primary=accounting.composed_epsilon(events, delta),
            independent=composition.gaussian_epsilon(budget.mu_squared, delta),
        )
        _check_cap_and_agreement(account)
        result.append(account)
    return result


@dataclass(slots=True)
class SingleChargeFigures:
    """Epsilon and delta that each charge states for its own release, collected charge by charge."""

    figures: StatedBudgets = field(default_factory=StatedBudgets)

    @property
    def largest_delta(self) -> float:
        """Largest stated delta of a single charge; zero if there is no charge."""
        return max(self.figures.deltas, default=0.0)

    def add_charge(self, charge: Charge) -> None:
        """Check a charge against its blocks, and record its stated cost.

        Raises:
            VerificationError: The charge contradicts its blocks
                (``charge_derivation.check_charge``), or states an epsilon or a delta that is not
                positive.
        """
        charge_derivation.check_charge(charge)
        seq = charge.head.seq
        for subject, text in (("epsilon", charge.epsilon), ("delta", charge.delta)):
            if not charge_derivation.parse_number(text, f"entry {seq}: {subject}") > 0:
                raise VerificationError(f"entry {seq}: {subject} is {text}, expected more than 0")
        self.figures.add_row(seq, charge.event.mu_squared, charge.delta, charge.epsilon)


def check_single_charges(single_charges: SingleChargeFigures) -> None:
    """Check the epsilon that each charge states for its own release against the release's mu^2.

    Raises:
        VerificationError: A charge states a lower or a higher epsilon than its mu^2 implies.
    """
    columns = _figure_columns(single_charges.figures)
    if columns is None:
        return
    seq, units, delta, stated_epsilon = columns
    unit = float(MU_SQUARED_UNIT)
    too_low = (
        gaussian_delta(np.sqrt(units * unit), stated_epsilon * (1 + UNDERSTATEMENT_TOLERANCE))
        > delta
    )
    too_high = (
        gaussian_delta(np.sqrt((units + 1) * unit), stated_epsilon * (1 - OVERSTATEMENT_TOLERANCE))
        < delta
    )
    bad = np.flatnonzero(too_low | too_high | ~np.isfinite(stated_epsilon) | ~(delta < 1))
    if len(bad):
        index = int(bad[0])
        raise VerificationError(
            f"entry {int(seq[index])}: states epsilon {stated_epsilon[index]:.6g} at delta "
            f"{delta[index]:g} for itself, which is not that of mu^2 = {units[index] * unit:.6g}"
        )


def account_closest_to_cap(accounts: list[LineageAccount]) -> LineageAccount | None:
    """Return the account whose primary epsilon is the largest share of its cap; None if empty."""
    return max(accounts, key=lambda account: account.primary / account.cap_epsilon, default=None)


def _check_cap_and_agreement(account: LineageAccount) -> None:
    # Floating-point arithmetic on another machine may differ in the last digits.
    relative_tolerance = 1e-7
    largest_difference = 1e-3
    if account.primary > account.cap_epsilon * (1 + relative_tolerance):
        raise VerificationError(
            f"lineage {account.lineage}: epsilon {account.primary:.6g} at delta {account.delta}, "
            f"the cap is {account.cap_epsilon:g}"
        )
    if not abs(account.primary - account.independent) <= largest_difference:
        raise VerificationError(
            f"lineage {account.lineage}: epsilon is {account.primary:.6g} by dp-accounting, "
            f"{account.independent:.6g} by other code"
        )


_FigureColumns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _figure_columns(figures: StatedBudgets) -> _FigureColumns | None:
    """Return arrays of entry indices, mu^2 (units of 2^-40), delta and epsilon; None if empty."""
    if not len(figures.charge_seqs):
        return None
    return (
        np.frombuffer(figures.charge_seqs, dtype=np.int64),
        np.frombuffer(figures.mu_squared_units, dtype=np.float64),
        np.frombuffer(figures.deltas, dtype=np.float64),
        np.frombuffer(figures.epsilons, dtype=np.float64),
    )


def check_stated_epsilons(figures: StatedBudgets) -> None:
    """Check the composed epsilons that charges state for their budget before and after the charge.

    Raises:
        VerificationError: A stated epsilon is not that of the stated sum of mu^2.
    """
    relative_tolerance = 1e-4
    columns = _figure_columns(figures)
    if columns is None:
        return
    seq, mu_squared, delta, epsilon = columns
    mu = np.sqrt(mu_squared * float(MU_SQUARED_UNIT))
    margin = relative_tolerance * (1 + epsilon)
    too_low = gaussian_delta(mu, epsilon + margin) > delta
    lower = epsilon - margin
    too_high = (lower > 0) & (gaussian_delta(mu, np.maximum(lower, 0)) < delta)
    bad = np.flatnonzero(too_low | too_high | ~np.isfinite(epsilon) | (epsilon < 0))
    if len(bad):
        index = int(bad[0])
        raise VerificationError(
            f"entry {int(seq[index])}: states epsilon {epsilon[index]:.6g}, which is not that of "
            f"mu^2 = {mu[index] ** 2:.6g} at delta {delta[index]:g}"
        )
