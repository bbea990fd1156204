"""The checks that a model must pass before it may be kept, in the order in which they are shown."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from wg_client.models.manifest import Finding
from wg_client.selection.checks import (
    accuracy,
    calibration,
    cost,
    exchanged,
    finite,
    gain,
    robustness,
    stability,
    unchecked,
    unlike,
    worst_class,
)
from wg_client.selection.checks.base import AcceptanceCheck, Comparison

GAIN = gain.CODE
"""Of the check that says why a model was kept."""

log = logging.getLogger(__name__)

CHECKS: tuple[AcceptanceCheck, ...] = (
    gain.check,
    accuracy.check,
    worst_class.check,
    calibration.check,
    stability.check,
    finite.check,
    exchanged.check,
    unchecked.check,
    unlike.check,
)
UNLIKE = unlike.CODE
"""Of the check that vetoes a kind of plant."""

PROBING: tuple[AcceptanceCheck, ...] = (cost.check, robustness.check)
"""Those that see records anew, which takes seconds: only of models that nothing has blocked."""


def findings(comparisons: Iterable[Comparison]) -> list[Finding]:
    """What every check says of every model, each with what failing it means at this plant.

    A check that is off says nothing, and failures are logged by their codes.
    """
    all_findings: list[Finding] = []
    for comparison in comparisons:
        model_findings = made(CHECKS, comparison)
        if not any(finding.blocks for finding in model_findings):
            model_findings += made(PROBING, comparison)
        all_findings += model_findings
    return all_findings


def made(checks: Iterable[AcceptanceCheck], comparison: Comparison) -> list[Finding]:
    """What some checks say of one model; arguments and result as of ``findings``."""
    model_findings = []
    for check in checks:
        finding = check(comparison)
        if finding is None:
            continue
        action = comparison.policy.action(finding.code)
        if action == "off":
            continue
        model_findings.append(replace(finding, action=action))
        if not finding.passed:
            log.warning("%s: %s (%s): %s", finding.code, finding.model, action, finding.message)
    return model_findings
