"""WG-F01: the model was not shown to be better than local-only on the plant's own records."""

from __future__ import annotations

from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison

CODE = "WG-F01"


def check(comparison: Comparison) -> Finding | None:
    """Passed if the estimated gain, less its margin, is above zero."""
    if comparison.local is None:
        return None
    gain, margin = comparison.gain, comparison.margin
    passed = comparison.lower > 0
    said = f"{margin:g} standard deviations below is {'still' if passed else 'not'} above zero"
    if passed and not margin:
        said = "no margin is asked of it"
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=passed,
        figures={
            "gain": gain.mean,
            "sd": gain.sd,
            "lower": comparison.lower,
            "margin": margin,
            "log_loss_gain": gain.log_loss,
            "unseen_recall": gain.unseen_recall,
        },
        message=(
            f"Estimated gain over local-only {100 * gain.mean:+.1f} points, standard deviation"
            f" {100 * gain.sd:.1f}; {said}."
        ),
    )
