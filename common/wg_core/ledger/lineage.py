"""Budgets as a log has them so far: of each lineage, and what is remembered of each charge."""

from dataclasses import dataclass, field

from wg_core.errors import VerificationError
from wg_core.ledger import entries
from wg_core.privacy.events import RUNS_LIMIT, STEPS_LIMIT, PrivacyEvent


@dataclass(slots=True)
class LineageState:
    """Budget of one lineage: cap, and all charges composed without loss."""

    id: str
    cap_epsilon: str
    cap_delta: str
    refresh_rule: str = entries.NEVER
    names: list[str] = field(default_factory=list)
    commitments: list[str] = field(default_factory=list)
    charges: int = 0
    mu_squared: int = 0
    runs: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, event: PrivacyEvent) -> None:
        """Charge one event.

        Raises:
            VerificationError: The lineage would hold more DP-SGD than an accountant can compose.
        """
        if event.mechanism == "gaussian":
            self.mu_squared += int(event.mu_squared)
        else:
            key = event.sampling_probability, event.noise_multiplier
            self.runs[key] = self.runs.get(key, 0) + event.steps
            if self.runs[key] > STEPS_LIMIT or len(self.runs) > RUNS_LIMIT:
                raise VerificationError(
                    f"lineage {self.id}: {self.runs[key]} DP-SGD steps of one kind in"
                    f" {len(self.runs)} kinds, at most {STEPS_LIMIT} in {RUNS_LIMIT}"
                )

    def events(self) -> tuple[PrivacyEvent, ...]:
        """All charges as one Gaussian and one event for each (q, sigma)."""
        gaussian = (
            (PrivacyEvent(mechanism="gaussian", mu_squared=str(self.mu_squared)),)
            if self.mu_squared
            else ()
        )
        return gaussian + tuple(
            PrivacyEvent(
                mechanism="dp-sgd", sampling_probability=q, noise_multiplier=sigma, steps=steps
            )
            for (q, sigma), steps in sorted(self.runs.items())
        )


@dataclass(slots=True)
class ChargeState:
    """What later entries need to know of a charge."""

    seq: int
    request_id: str
    dataset: str
    lineage: str
    fingerprint: str
    release: int | None = None
    payload_sha256: str = ""

    @property
    def open(self) -> bool:
        """Whether the charge has no release: burned, unless the same request completes it."""
        return self.release is None
