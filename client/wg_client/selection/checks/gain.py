"""WG-F01: the model was not shown to be better than local-only on the plant's own records."""

from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison
from wg_common.language import text

CODE = "WG-F01"


def check(comparison: Comparison) -> Finding | None:
    """Passed if the gain in log loss is more than the policy's standard errors above zero."""
    if comparison.local is None:
        return None
    gain, asked = comparison.gain, comparison.asked
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
        message=text(
            "Log loss on new records is {loss:.3f} nats {lower} than local-only's, standard error"
            " {error:.3f}; more than {asked:g} of these lower is asked. Right answers:"
            " {right:+.1f} ± {sd:.1f} points{more}.",
            loss=abs(gain.log_loss),
            lower=text("lower") if gain.log_loss > 0 else text("higher"),
            error=gain.log_loss_se,
            asked=asked,
            right=100 * gain.mean,
            sd=100 * gain.sd,
            more="" if gain.more else text(", and they must be more"),
        ),
    )
