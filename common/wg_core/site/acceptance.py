"""What a plant asks of a model before it keeps it: the part ``acceptance`` of its policy."""

from dataclasses import dataclass, field

from wg_core import settings
from wg_core.errors import ConfigError
from wg_core.site.failures import CODES, Action, default_action


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceConfig:
    """When delivered weights replace the local model; see ``wg_client.selection.gain``.

    Attributes:
        standard_errors: By how many of its standard errors a gain must be above zero.
        checks: Code of a failed check -> ``block``, ``warn`` or ``off``; see ``failures`` for those
            that are not named.
    """

    standard_errors: float = 2.0
    checks: dict[str, Action] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings.check_range("acceptance.standard_errors", self.standard_errors, 0.0, 10.0)
        if unknown := sorted(set(self.checks) - CODES):
            raise ConfigError(
                f"acceptance.checks: unknown {', '.join(unknown)}, expected some of"
                f" {', '.join(sorted(CODES))}"
            )

    def action(self, code: str) -> Action:
        """Return this plant's action for a failure."""
        return self.checks.get(code) or default_action(code)

    @property
    def without_labels(self) -> bool:
        """True if delivered weights are kept where no local label can check them."""
        return self.action("WG-F11") != "block"
