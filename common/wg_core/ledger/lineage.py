"""Budgets as a log has them so far: of each lineage, and what is remembered of each charge."""

from dataclasses import dataclass, field

from wg_core.ledger import entries
from wg_core.privacy.events import PrivacyEvent
from wg_core.privacy.schema import Released


@dataclass(slots=True)
class LineageState:
    """Budget of one lineage: cap, and all charges composed without loss.

    ``units`` are the privacy units that its charges name; inherited ones do not say theirs.
    """

    id: str
    cap_epsilon: str
    cap_delta: str
    refresh_rule: str = entries.NEVER
    names: list[str] = field(default_factory=list)
    commitments: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    charges: int = 0
    mu_squared: int = 0

    def add(self, event: PrivacyEvent) -> None:
        """Charge one event."""
        self.mu_squared += int(event.mu_squared)

    def events(self) -> tuple[PrivacyEvent, ...]:
        """All charges as one Gaussian; none if nothing was charged."""
        if not self.mu_squared:
            return ()
        return (PrivacyEvent(mechanism="gaussian", mu_squared=str(self.mu_squared)),)


@dataclass(slots=True)
class ChargeState:
    """State of a charge, for later entries and for auditors."""

    seq: int
    request_id: str
    dataset: str
    lineage: str
    fingerprint: str
    statistics: Released
    release: int | None = None
    payload_sha256: str = ""

    @property
    def open(self) -> bool:
        """True for a charge without a release: burned, unless the same request completes it."""
        return self.release is None
