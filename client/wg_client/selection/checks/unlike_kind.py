"""Check WG-F12: the plant's records are unlike those of the kind that its class names imply.

Class names prove nothing: other things may have the same names. The operator's records of the kind,
seen through simulated cameras or sensors, show how much plants of the kind may differ
(``wg_common.inference.family_likeness``).
"""

from wg_client.models.manifest import CheckFinding
from wg_client.selection.checks.base import ModelComparison
from wg_common.inference.family_likeness import REFUSED_SHARE, UNLIKENESS_THRESHOLD
from wg_common.language import text

CODE = "WG-F12"


def check(comparison: ModelComparison) -> CheckFinding | None:
    """Fail if the plant's records are unlike those of the kind of plant the model was made for.

    Returns:
        The finding; None if the model was made for no kind of plant, or for a declared machine.
    """
    if not comparison.model.made_for_plant_kind or comparison.package.made_for_machine:
        return None
    unlike = comparison.package.family_unlikeness
    is_passed = unlike <= UNLIKENESS_THRESHOLD
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=is_passed,
        figures={"unlike": unlike, "limit": UNLIKENESS_THRESHOLD, "rate": REFUSED_SHARE},
        message=text("Your records look like the operator's records of this kind of plant.")
        if is_passed
        else text(
            "Your records do not look like the operator's records of this kind of plant. "
            "About {rate:.0f} in 100 plants of this kind look as unusual.",
            rate=100 * REFUSED_SHARE,
        ),
    )
