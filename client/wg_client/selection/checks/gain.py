"""WG-F01: the model was not shown to be better than local-only on the plant's own records."""

from __future__ import annotations

from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison

CODE = "WG-F01"


def check(comparison: Comparison) -> Finding | None:
    """Passed if the gain in log loss is more than the policy's standard errors above zero."""
    if comparison.local is None:
        return None
    gain, asked = comparison.gain, comparison.policy.standard_errors
    passed = gain.shown(asked)
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=passed,
        figures={
            "gain": gain.mean,
            "sd": gain.sd,
            "log_loss_gain": gain.log_loss,
            "log_loss_se": gain.log_loss_se,
            "standard_errors": asked,
            "unseen_recall": gain.unseen_recall,
        },
        message=(
            f"Log loss on new records is {abs(gain.log_loss):.3f} nats"
            f" {'lower' if gain.log_loss > 0 else 'higher'} than local-only's, standard error"
            f" {gain.log_loss_se:.3f}; more than {asked:g} of these lower is asked. Right answers:"
            f" {100 * gain.mean:+.1f} ± {100 * gain.sd:.1f} points"
            f"{', by as much fewer' if gain.fewer(asked) else ''}."
        ),
    )
