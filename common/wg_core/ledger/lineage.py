"""State of the budgets on a log: totals of each lineage, and the facts of each charge."""

from dataclasses import dataclass, field

from wg_core.ledger import entries
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.schema import ReleaseKind


@dataclass(slots=True)
class LineageState:
    """State of one budget lineage: its cap, its data sets, and the exact sum of its charges.

    Dictionaries are ordered sets. The sum of mu^2 is in units of 2^-40. Lineages are numbered in
    the order of foundation. Privacy units are those named by charges; inherited charges name none.
    """

    id: str
    cap_epsilon: str
    cap_delta: str
    refresh_rule: str = entries.NEVER_RENEWED_RULE
    dataset_names: dict[str, None] = field(default_factory=dict)
    commitments: dict[str, None] = field(default_factory=dict)
    privacy_units: dict[str, None] = field(default_factory=dict)
    charge_count: int = 0
    mu_squared_units: int = 0
    founding_index: int = 0

    def add_event(self, event: PrivacyEvent) -> None:
        """Add the cost of one privacy event to the lineage's spending."""
        self.mu_squared_units += int(event.mu_squared)

    def composed_events(self, *next_events: PrivacyEvent) -> tuple[PrivacyEvent, ...]:
        """Return the lineage's charges and ``next_events``, composed to one event; () if none."""
        total = self.mu_squared_units + sum(int(event.mu_squared) for event in next_events)
        return (PrivacyEvent(mechanism="gaussian", mu_squared=str(total)),) if total else ()


@dataclass(slots=True)
class ChargeState:
    """Facts of a charge that later entries and auditors need, with its release entry's index."""

    seq: int
    request_id: str
    dataset: str
    lineage: str
    fingerprint: str
    release_kind: ReleaseKind
    release_seq: int | None = None
    payload_sha256: str = ""

    @property
    def is_open(self) -> bool:
        """True for a charge without a release yet; repeating the request completes it."""
        return self.release_seq is None
