"""WG-F10: the model means by one class what the plant means by another.

Other sites may use the same names for other things, or rows were mixed up on the way. Then the
calls are consistent and wrong: some other assignment of the model's classes to the plant's is right
far more often. The best one is found exactly (the assignment problem, Kuhn 1955).
"""

import math

import numpy as np
from scipy.special import ndtri

from wg_client.fitting.assignment import best_columns
from wg_client.methods.base import LabelledRecords
from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import CONFIDENCE, Comparison
from wg_core.language import text

CODE = "WG-F10"


def check(
    comparison: Comparison,
    *,
    # Logarithm of the most tries that floats can hold; beyond, the bound is as good as
    # infinite.
    largest_log_tries: float = 600.0,
) -> Finding | None:
    """Passed unless another assignment is surely right more often, and for most records."""
    records = comparison.records
    if comparison.local is None or len(np.unique(records.judged)) < 2:
        return None
    calls = comparison.model.fitted.predictions[0]
    best = assignment(calls, records)
    right, right_exchanged = calls == records.judged, best[calls] == records.judged
    gap = right_exchanged.astype(np.float64) - right
    # The best of K! assignments is taken: the bound is for that many tries.
    tries = math.exp(min(math.lgamma(records.classes + 1), largest_log_tries))
    z = -float(ndtri((1 - CONFIDENCE) / tries))
    sure = float(gap.mean() - z * gap.std() / records.independent**0.5)
    consistent = float(right_exchanged.mean()) > 0.5
    moved = [int(label) for label in np.flatnonzero(best != np.arange(records.classes))]
    named = ", ".join(comparison.label(label) for label in moved[:3])
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=sure <= 0 or not consistent,
        figures={
            "gap": float(gap.mean()),
            "sure": sure,
            "right": float(right_exchanged.mean()),
            "moved": float(len(moved)),
        },
        message=(
            text(
                "With {named} exchanged, {gap:.1f} points more of the records would be right,"
                " surely {sure:.1f}.",
                named=named,
                gap=100 * gap.mean(),
                sure=100 * max(sure, 0),
            )
            if moved
            else text("No exchange of classes would make more of the records right.")
        ),
    )


def assignment(calls: np.ndarray, records: LabelledRecords) -> np.ndarray:
    """What the plant calls each of the model's classes, int64 ``[K]``, so that most are right."""
    table = np.zeros((records.classes, records.classes))
    np.add.at(table, (calls, records.judged), 1.0)
    # Among equals, each class stays what it is.
    return best_columns(table + 1e-6 * np.eye(records.classes))
