"""The checks that a model must pass before it may be kept, in the order in which they are shown."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from wg_client.models.manifest import Finding
from wg_client.selection.checks import (
    accuracy,
    backdoor,
    calibration,
    cost,
    exchanged,
    finite,
    gain,
    robustness,
    stability,
    unchecked,
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
    robustness.check,
    backdoor.check,
    stability.check,
    finite.check,
    cost.check,
    exchanged.check,
    unchecked.check,
)


def findings(comparisons: Iterable[Comparison]) -> list[Finding]:
    """What every check says of every model, each with what failing it means at this plant.

    A check that is off says nothing, and failures are logged by their codes.
    """
    found = []
    for comparison in comparisons:
        for check in CHECKS:
            finding = check(comparison)
            if finding is None:
                continue
            action = comparison.policy.checks.action(finding.code)
            if action == "off":
                continue
            found.append(replace(finding, action=action))
            if not finding.passed:
                log.warning("%s: %s (%s): %s", finding.code, finding.model, action, finding.message)
    return found
