"""Conditions under which a plant accepts a model: the part ``acceptance`` of its policy."""

from dataclasses import dataclass, field

from wg_core import yaml_settings
from wg_core.errors import ConfigError
from wg_core.site.weights_failures import FAILURE_CODES, FailureAction, default_action


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceConfig:
    """Conditions for delivered weights to replace local ones; see ``wg_client.selection.gain``.

    Attributes:
        standard_errors: Number of standard errors by which a model's gain must exceed zero.
        checks: Action (``block``, ``warn`` or ``off``) by code of a failed check; other codes have
            the defaults in ``weights_failures``.
    """

    standard_errors: float = 2.0
    checks: dict[str, FailureAction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        yaml_settings.check_range("acceptance.standard_errors", self.standard_errors, 0.0, 10.0)
        if unknown := sorted(set(self.checks) - FAILURE_CODES):
            raise ConfigError(
                f"acceptance.checks: unknown {', '.join(unknown)}, expected some of"
                f" {', '.join(sorted(FAILURE_CODES))}"
            )

    def failure_action(self, code: str) -> FailureAction:
        """Return this plant's action (block, warn or off) for a failed check of weights."""
        return self.checks.get(code) or default_action(code)

    @property
    def accepts_without_labels(self) -> bool:
        """True if delivered weights are accepted without a local label to check them."""
        return self.failure_action("WG-F11") != "block"
