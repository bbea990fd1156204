"""Releases of a plant and their privacy cost, read from its ledger."""

from dataclasses import dataclass

from wg_core.errors import ConfigError
from wg_core.ledger import entries
from wg_core.ledger.budget_ledger import Ledger
from wg_core.ledger.entries import Charge, Release
from wg_core.privacy import accounting
from wg_core.privacy.schema import ReleaseKind
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRow:
    """Charge on the plant's ledger, with the release that it paid for.

    Attributes:
        time: Unix time in seconds, by the plant's clock.
        epsilon: Epsilon of this release alone, decimal string.
        delta: Delta of this release alone, decimal string.
        epsilon_after: Epsilon of this and all earlier charges together, decimal string.
        size: Size of the release in bytes; None: the charge has no release.
        statistics: Kind of release.
    """

    request_id: str
    time: int
    recipient: str
    purpose: str
    epsilon: str
    delta: str
    epsilon_after: str
    size: int | None
    statistics: ReleaseKind


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantSpending:
    """Spending of the plant's privacy budget.

    Attributes:
        epsilon: Epsilon of all charges together, at ``cap_delta``.
        cap_epsilon: Epsilon of the cap, decimal string.
        cap_delta: Delta of the cap, decimal string.
        charge_count: Number of charges.
        open_charge_count: Number of charges without a release, which are not refunded.
        ledger_entry_count: Number of entries of the ledger.
        releases: Charges with their releases, oldest first.
        best_guess_accuracy: Largest probability, at even prior odds, of correctly guessing from all
            releases whether one given unit was in the data.
    """

    epsilon: float
    cap_epsilon: str
    cap_delta: str
    charge_count: int
    open_charge_count: int
    ledger_entry_count: int
    releases: tuple[ReleaseRow, ...]
    best_guess_accuracy: float


def read_plant_spending(home: ClientHome, config: ClientConfig) -> PlantSpending:
    """Return the plant's spending from its ledger, which is verified and not changed.

    Raises:
        ConfigError: The ledger does not exist, or the data set is not registered on it.
        VerificationError: The ledger was edited, truncated, or is damaged.
    """
    with Ledger.open(home.ledger) as ledger:
        if ledger.dataset_commitment(config.data.name) is None:
            raise ConfigError(
                f"{home.ledger}: does not know the data set {config.data.name!r}; run 'wg-client"
                f" freeze --home {home.root}'"
            )
        spending = ledger.read_spending(config.data.name)
        ledger_entries = [entries.decode(ledger.entry_bytes(seq)) for seq in range(ledger.size)]
    sizes = {x.charge: x.payload_size for x in ledger_entries if isinstance(x, Release)}
    rows = tuple(
        ReleaseRow(
            request_id=entry.request_id,
            time=entry.head.time,
            recipient=entry.use.recipient,
            purpose=entry.use.purpose,
            epsilon=entry.epsilon,
            delta=entry.delta,
            epsilon_after=f"{float(entry.state.epsilon_after):.4g}",
            size=sizes.get(entry.head.seq),
            statistics=entry.mechanism.release_kind,
        )
        for entry in ledger_entries
        if isinstance(entry, Charge) and entry.lineage == spending.lineage_id
    )
    return PlantSpending(
        epsilon=spending.epsilon,
        cap_epsilon=spending.cap_epsilon,
        cap_delta=spending.cap_delta,
        charge_count=spending.charge_count,
        open_charge_count=spending.open_charge_count,
        ledger_entry_count=len(ledger_entries),
        releases=rows,
        best_guess_accuracy=accounting.best_guess_accuracy(spending.composed_events),
    )
