"""Check WG-F11: labels cannot check a model: none, one class only, or fewer than three units."""

from wg_client.fitting.folds import LEAST_UNITS_PER_CLASS
from wg_client.models.manifest import CheckFinding
from wg_client.selection.checks.base import ModelComparison
from wg_common.language import text

CODE = "WG-F11"


def check(comparison: ModelComparison) -> CheckFinding | None:
    """Fail if a plant has too few labels to compare models; the policy decides what follows.

    The finding is None if there are enough labels.
    """
    if comparison.local_only is not None and not comparison.accepts_single_class:
        return None
    if comparison.local_only is not None:
        message = text(
            "All labels are of one class, so the model's accuracy on the others is unknown."
        )
    elif len(comparison.records.labels):
        message = text(
            "No class has labels from {units} or more units, so the model's accuracy on "
            "other units is unknown.",
            units=LEAST_UNITS_PER_CLASS,
        )
    else:
        message = text("There are no labels here, so the model's accuracy is unknown.")
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=False,
        figures={"records": float(len(comparison.records.all_labels))},
        message=message,
    )
