"""WG-F04: probabilities say another accuracy than there is; no threshold can be trusted.

The expected calibration error over bins of equally many records (Nixon et al. 2019,
arXiv 1904.01685). On few records it is never small, however good the probabilities are: so it is
compared with what calibrated probabilities of the same sizes would show (Bröcker and Smith 2007,
Weather and Forecasting 22).
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from wg_client.fitting.linear_head import Floats
from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison
from wg_common import streams
from wg_common.language import text
from wg_common.streams import Stream

CODE = "WG-F04"
_BINS = 10
_DRAWS = 400


def check(comparison: Comparison) -> Finding | None:
    """Passed if the error is below the limit, or chance alone explains it."""
    logits, labels = comparison.model.fitted.logits, comparison.records.judged
    if comparison.local is None or logits is None:
        return None
    policy = comparison.policy.checks
    chances = softmax(logits[0], axis=1)
    sure, right = chances.max(axis=1), (chances.argmax(axis=1) == labels).astype(np.float64)
    found = calibration_error(sure, right)
    rng = streams.rng(Stream.PROBE, then=(ord("c"),))
    draws = [calibration_error(sure, rng.random(len(sure)) < sure) for _ in range(_DRAWS)]
    chance = float(np.quantile(draws, policy.confidence))
    gap = float(sure.mean() - right.mean())
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=found <= max(policy.calibration_error, chance),
        figures={
            "error": found,
            "chance": chance,
            "limit": policy.calibration_error,
            "overconfidence": gap,
        },
        message=text(
            "Calibration error {error:.1f} points ({how} by {gap:.1f}); {limit:.1f} are allowed,"
            " and chance alone gives up to {chance:.1f} on {records} records.",
            error=100 * found,
            how=text("overconfident") if gap > 0 else text("underconfident"),
            gap=100 * abs(gap),
            limit=100 * policy.calibration_error,
            chance=100 * chance,
            records=len(labels),
        ),
    )


def calibration_error(sure: Floats, right: Floats) -> float:
    """Mean over bins, by size, of how far mean confidence and share right are apart."""
    order = np.argsort(sure, kind="stable")
    bins = np.array_split(order, min(_BINS, len(order)))
    gaps = [len(rows) * abs(float(sure[rows].mean() - right[rows].mean())) for rows in bins]
    return float(sum(gaps) / len(order))
