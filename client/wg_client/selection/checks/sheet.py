"""Check WG-F14: the plant's records contradict its data sheet (``methods.sheet_fit``)."""

from wg_client.methods.base import (
    REAL_SHEET_FALSE_ALARM_RATE,
    SHEET_FIT_LIMIT,
    SIMULATED_SHEET_FALSE_ALARM_RATE,
)
from wg_client.methods.method_names import GENERATED, GENERATED_FINETUNED
from wg_client.models.manifest import CheckFinding
from wg_client.selection.checks.base import ModelComparison
from wg_common.language import text

CODE = "WG-F14"


def check(comparison: ModelComparison) -> CheckFinding | None:
    """Fail if spectral lines at other speeds fit the records as well as the data sheet's lines.

    The finding is None if the model was not made from a data sheet, or if the fit is unknown.
    """
    fit = comparison.package.sheet_fit
    if fit is None or comparison.name not in (GENERATED, GENERATED_FINETUNED):
        return None
    fits = fit >= SHEET_FIT_LIMIT
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=fits,
        figures={"fit": fit, "limit": SHEET_FIT_LIMIT, "rate": REAL_SHEET_FALSE_ALARM_RATE},
        message=text("Your records do not contradict the data sheet.")
        if fits
        else text(
            "Your records do not show the spectral lines that follow from your data sheet: "
            "lines at other speeds fit as well. Compare speed, sampling rate and bearing "
            "with the machine. At most {simulated:.0f} in 100 correct sheets of simulated "
            "bearings, and {real:.0f} in 100 of a real one, look as doubtful. Label some "
            "records: the labels then decide.",
            simulated=100 * SIMULATED_SHEET_FALSE_ALARM_RATE,
            real=100 * REAL_SHEET_FALSE_ALARM_RATE,
        ),
    )
