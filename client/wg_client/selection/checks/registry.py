"""All acceptance checks, in the order in which they are shown."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from wg_client.models.manifest import CheckFinding
from wg_client.selection.checks import (
    accuracy,
    few_sites,
    finite_weights,
    gain,
    sheet,
    unchecked,
    unlike_kind,
    worst_class,
)
from wg_client.selection.checks.base import AcceptanceCheck, ModelComparison

GAIN_CODE = gain.CODE
"""Code of the check of the gain, whose finding is the reason for keeping a model."""

log = logging.getLogger(__name__)

CHECKS: tuple[AcceptanceCheck, ...] = (
    gain.check,
    accuracy.check,
    worst_class.check,
    finite_weights.check,
    unchecked.check,
    unlike_kind.check,
    few_sites.check,
    sheet.check,
)
UNLIKE_CODE = unlike_kind.CODE
"""Code of the check that rejects a model made for another kind of plant."""
SHEET_CODE = sheet.CODE
"""Code of the check that doubts a data sheet."""


def run_checks(comparisons: Iterable[ModelComparison]) -> list[CheckFinding]:
    """Run every check on every model, and set the plant's action for each failure.

    A check that is switched off yields no finding; failures are logged by their codes.
    """
    all_findings: list[CheckFinding] = []
    for comparison in comparisons:
        for check in CHECKS:
            finding = check(comparison)
            action = "off" if finding is None else comparison.policy.failure_action(finding.code)
            if finding is None or action == "off":
                continue
            all_findings.append(replace(finding, action=action))
            if not finding.passed:
                log.warning("%s: %s (%s): %s", finding.code, finding.model, action, finding.message)
    return all_findings
