"""WG-F11: no record is labelled, so that nothing says whether the model is any good here."""

from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison
from wg_common.language import text

CODE = "WG-F11"


def check(comparison: Comparison) -> Finding | None:
    """Failed where there is no label; ``acceptance.without_labels`` says what then."""
    if comparison.local is not None:
        return None
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=False,
        figures={"records": float(len(comparison.records.all_labels))},
        message=text("There are no labels here: nothing says how often the model is right."),
    )
