"""WG-F11: no record, or no second class, is labelled: nothing says if the model is any good."""

from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison
from wg_core.language import text

CODE = "WG-F11"


def check(comparison: Comparison) -> Finding | None:
    """Failed where labels say too little; its action says what then."""
    if comparison.local is not None and not comparison.one_class:
        return None
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=False,
        figures={"records": float(len(comparison.records.all_labels))},
        message=text("There are no labels here: nothing says how often the model is right.")
        if comparison.local is None
        else text(
            "There are labels of one class only: nothing says how often the model is right on"
            " others."
        ),
    )
