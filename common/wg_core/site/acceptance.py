"""What a plant asks of a model before it keeps it, and of a call before it stands.

The parts ``acceptance`` and ``prediction`` of its policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wg_core import settings
from wg_core.errors import ConfigError
from wg_core.site.failures import CODES, Action, default_action

_RANGES: Mapping[str, tuple[float, float]] = {
    "confidence": (0.5, 0.9999),
    "accuracy": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "calibration_error": (0.0, 1.0),
    "accuracy_loss": (0.0, 1.0),
    "disagreement": (0.0, 1.0),
    "logit": (1.0, 1e30),
    "seconds": (1e-6, 3600.0),
    "mebibytes": (1e-3, 1e6),
    "probe_records": (0, 1000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksConfig:
    """Limits of the acceptance checks, and what a failure means.

    Attributes:
        actions: Code of a failure -> ``block``, ``warn`` or ``off``; see ``failures`` for others.
        confidence: Of every one-sided bound.
        accuracy: Least lower bound of accuracy; the share of the commonest class is asked always.
        recall: Least recall of the worst class; that of guessing, 1 / K, is asked always.
        calibration_error: Largest calibration error.
        accuracy_loss: Most of accuracy that one plausible change of the records may cost, beyond
            what it costs local-only.
        disagreement: Largest share of records that models of two splits call differently.
        logit: Largest magnitude of a logit; the largest number of half precision, in which
            exports may run.
        seconds: Most time that one record may take here.
        mebibytes: Most memory for weights.
        probe_records: Records that are changed and seen again, at most.
    """

    actions: dict[str, Action] = field(default_factory=dict)
    confidence: float = settings.fixed(0.95)
    accuracy: float = settings.fixed(0.0)
    recall: float = settings.fixed(0.0)
    calibration_error: float = settings.fixed(0.1)
    accuracy_loss: float = settings.fixed(0.15)
    disagreement: float = settings.fixed(0.25)
    logit: float = settings.fixed(65504.0)
    seconds: float = settings.fixed(1.0)
    mebibytes: float = settings.fixed(1024.0)
    probe_records: int = 40

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            settings.check_range(f"acceptance.checks.{name}", getattr(self, name), low, high)
        unknown = sorted(set(self.actions) - CODES)
        if unknown:
            raise ConfigError(
                f"acceptance.checks.actions: unknown {', '.join(unknown)}, expected some of"
                f" {', '.join(sorted(CODES))}"
            )

    def action(self, code: str) -> Action:
        """What a failure means at this plant."""
        return self.actions.get(code) or default_action(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceConfig:
    """When delivered weights replace the local model; see ``wg_client.selection.gain``.

    Attributes:
        standard_errors: By how many of its standard errors a gain must be above zero.
        standard_errors_own_kind: The same of a head that was learnt from labelled records of this
            kind of plant, which the operator owns.
        unseen_share: A declared class without local records counts as this share of an average
            class.
        adopt: What becomes of a later package's model that is better than the one in use:
            ``shadow``, it predicts beside it until a person promotes it; ``better``, it is used.
        checks: Limits of the other checks, and what failing one means.
    """

    standard_errors: float = 2.0
    standard_errors_own_kind: float = settings.fixed(0.0)
    unseen_share: float = settings.fixed(1.0)
    adopt: Literal["shadow", "better"] = "shadow"
    checks: ChecksConfig = field(default_factory=ChecksConfig)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("standard_errors", 0.0, 10.0),
            ("standard_errors_own_kind", 0.0, 10.0),
            ("unseen_share", 0.0, 1.0),
        ):
            settings.check_range(f"acceptance.{name}", getattr(self, name), low, high)

    @property
    def without_labels(self) -> bool:
        """Whether delivered weights are kept when no local label can check them."""
        return self.checks.action("WG-F11") != "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionConfig:
    """When a call is not to be relied on.

    Attributes:
        wrong: Share of calls said to be sure that may be wrong; measured out of fold when a package
            is applied.
        new: Share of records like the plant's own that may be called new.
    """

    wrong: float = 0.1
    new: float = 0.05

    def __post_init__(self) -> None:
        for name in ("wrong", "new"):
            settings.check_range(f"prediction.{name}", getattr(self, name), 0, 1)
