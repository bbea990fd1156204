"""Check WG-F02: the accuracy may be no better than always predicting the commonest class."""

import numpy as np
from scipy.special import betaincinv

from wg_client.models.manifest import CheckFinding
from wg_client.selection.checks.base import CONFIDENCE, ModelComparison
from wg_common.language import text

CODE = "WG-F02"


def check(comparison: ModelComparison) -> CheckFinding | None:
    """Pass if the lower confidence bound of the accuracy exceeds the commonest class's share.

    The finding is None if nothing was evaluated, or if a model may be kept for one class's labels.
    """
    labels = comparison.records.evaluated_labels
    if (
        comparison.local_only is None or comparison.accepts_single_class
    ):  # the share of a single class is 1
        return None
    right = float(comparison.model.fitted_model.correct_share.mean())
    lower = clopper_pearson_lower_bound(
        right, comparison.records.independent_record_count, CONFIDENCE
    )
    commonest = float(np.bincount(labels).max() / len(labels))
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=lower > commonest or lower == 1,
        figures={"accuracy": right, "lower": lower, "commonest": commonest},
        message=text(
            "Accuracy {right:.1f} % out of fold, and at least {lower:.1f} % with "
            "{confidence:g} % confidence; required: {least:.1f} %, the share of the most "
            "common class.",
            right=100 * right,
            lower=100 * lower,
            confidence=100 * CONFIDENCE,
            least=100 * commonest,
        ),
    )


def clopper_pearson_lower_bound(share: float, count: int, confidence: float) -> float:
    """Return the Clopper-Pearson (1934) one-sided lower bound of a share of ``count`` records."""
    hits = share * count
    return float(betaincinv(hits, count - hits + 1, 1 - confidence)) if hits > 0 else 0.0
