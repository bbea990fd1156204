"""Check WG-F03: a class is recognised less often than by guessing, whatever the accuracy."""

import numpy as np

from wg_client.models.manifest import CheckFinding
from wg_client.selection.checks.base import ModelComparison
from wg_common.language import text

CODE = "WG-F03"


def check(comparison: ModelComparison) -> CheckFinding | None:
    """Pass if every class with records has a recall of at least 1 / K, K the number of classes.

    The finding is None if no labelled record can be evaluated.
    """
    records = comparison.records
    if comparison.local_only is None:
        return None
    right = comparison.model.fitted_model.correct_share
    counts = np.bincount(records.evaluated_labels, minlength=records.class_count)
    hits = np.bincount(records.evaluated_labels, weights=right, minlength=records.class_count)
    recalls = np.divide(hits, counts, out=np.full(records.class_count, np.inf), where=counts > 0)
    worst = int(np.argmin(recalls))
    least, recall = comparison.least_recall, float(recalls[worst])
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=recall >= least,
        figures={
            "recall": recall,
            "limit": least,
            "class": float(worst),
            "records": float(counts[worst]),
        },
        message=text(
            "The worst class, {label}, is recognised in {recall:.1f} % of its {records} "
            "records; required: {least:.1f} %.",
            label=comparison.quoted_label(worst),
            recall=100 * recall,
            records=counts[worst],
            least=100 * least,
        ),
    )
