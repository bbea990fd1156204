"""State of the budgets on a log: totals of each lineage, and the facts of each charge."""

from dataclasses import dataclass, field

from wg_core.ledger import entries
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.schema import ReleaseKind


@dataclass(slots=True)
class LineageState:
    """State of one budget lineage: its cap, its data sets, and the exact sum of its charges.

    Dictionaries with None as values are ordered sets.

    Attributes:
        lineage_id: ID of the lineage, 16 hex digits.
        cap_epsilon: Cap on the composed epsilon, decimal string.
        cap_delta: Delta at which the cap holds, decimal string.
        refresh_rule: Rule by which a spent budget is renewed: always ``never``.
        dataset_names: Names of the lineage's data sets.
        commitments: Keyed commitments to their contents, hex.
        privacy_units: Privacy units that charges name; charges of a predecessor name none.
        charge_count: Number of charges.
        mu_squared_units: Sum of mu^2 over all charges, in units of 2^-40.
        foundation_number: Number of lineages that the log founded earlier.
    """

    lineage_id: str
    cap_epsilon: str
    cap_delta: str
    refresh_rule: str = entries.NEVER_RENEWED_RULE
    dataset_names: dict[str, None] = field(default_factory=dict)
    commitments: dict[str, None] = field(default_factory=dict)
    privacy_units: dict[str, None] = field(default_factory=dict)
    charge_count: int = 0
    mu_squared_units: int = 0
    foundation_number: int = 0

    def add_event(self, event: PrivacyEvent) -> None:
        """Add the cost of one privacy event to the lineage's spending."""
        self.mu_squared_units += int(event.mu_squared)

    def composed_events(self, *next_events: PrivacyEvent) -> tuple[PrivacyEvent, ...]:
        """Return one event that costs as much as all charges and ``next_events``; () if none."""
        total = self.mu_squared_units + sum(int(event.mu_squared) for event in next_events)
        return (PrivacyEvent(mechanism="gaussian", mu_squared=str(total)),) if total else ()


@dataclass(slots=True)
class ChargeState:
    """Facts of a charge that later entries and auditors need.

    Attributes:
        seq: Index of the CHARGE entry.
        dataset_name: Name of the data set.
        lineage_id: ID of the lineage whose budget paid, hex.
        fingerprint: Hash that equal releases share (``ChargeRequest.fingerprint``), hex.
        release_seq: Index of the RELEASE entry; None: there is no release yet.
        payload_sha256: SHA-256 of the released bytes, hex; empty: there is no release yet.
    """

    seq: int
    request_id: str
    dataset_name: str
    lineage_id: str
    fingerprint: str
    release_kind: ReleaseKind
    release_seq: int | None = None
    payload_sha256: str = ""

    @property
    def is_open(self) -> bool:
        """True for a charge without a release yet; repeating the request completes it."""
        return self.release_seq is None
