"""WG-F04: probabilities say another accuracy than there is; no threshold can be trusted.

The expected calibration error over bins of equally many records (Nixon et al. 2019,
arXiv 1904.01685). On few records it is never small, however good the probabilities are: so it is
compared with what calibrated probabilities of the same sizes would show (Bröcker and Smith 2007,
Weather and Forecasting 22).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from wg_client.fitting.linear_head import Floats
from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import CONFIDENCE, Comparison
from wg_common import streams
from wg_common.streams import Stream
from wg_core.language import text

CODE = "WG-F04"
_ALLOWED = 0.1  # Largest calibration error
_BINS = 10
_DRAWS = 400


def check(comparison: Comparison) -> Finding | None:
    """Passed if the error is below the limit, or chance alone explains it."""
    logits, labels = comparison.model.fitted.logits, comparison.records.judged
    if comparison.local is None or logits is None:
        return None
    chances = softmax(logits[0], axis=1)
    sure, right = chances.max(axis=1), (chances.argmax(axis=1) == labels).astype(np.float64)
    error = float(calibration_error(sure, right))
    rng = streams.rng(Stream.PROBE, then=(ord("c"),))
    draws = calibration_error(sure, rng.random((_DRAWS, len(sure))) < sure)
    chance = float(np.quantile(draws, CONFIDENCE))
    gap = float(sure.mean() - right.mean())
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=error <= max(_ALLOWED, chance),
        figures={
            "error": error,
            "chance": chance,
            "limit": _ALLOWED,
            "overconfidence": gap,
        },
        message=text(
            "Calibration error {error:.1f} points ({how} by {gap:.1f}); {limit:.1f} are allowed,"
            " and chance alone gives up to {chance:.1f} on {records} records.",
            error=100 * error,
            how=text("overconfident") if gap > 0 else text("underconfident"),
            gap=100 * abs(gap),
            limit=100 * _ALLOWED,
            chance=100 * chance,
            records=len(labels),
        ),
    )


def calibration_error(sure: Floats, right: NDArray[Any]) -> Floats:
    """Mean over bins, by size, of how far mean confidence and share right are apart.

    Args:
        sure: Confidence, ``[n]``.
        right: Whether right, ``[..., n]``.

    Returns:
        ``[...]``.
    """
    order = np.argsort(sure, kind="stable")
    sizes = [len(rows) for rows in np.array_split(order, min(_BINS, len(order)))]
    starts = np.cumsum([0, *sizes[:-1]])
    gaps = np.add.reduceat((sure - right)[..., order], starts, axis=-1)
    return np.asarray(np.abs(gaps).sum(axis=-1) / len(order))
