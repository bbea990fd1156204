"""Output of the empirical audit: lines for display, and a document for JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from wg_audit.installed.audit import AuditReport
from wg_common.language import text


def report_lines(report: AuditReport) -> Iterator[str]:
    """Yield one line for each check of the empirical audit, its bounds, and the conclusion."""
    for check in report.checks:
        values = {"name": text(check.name), "detail": check.detail}
        yield (
            text("holds: {name} ({detail})", **values)
            if check.passed
            else text("FAILS: {name} ({detail})", **values)
        )
    if (bounds := report.bounds) is not None:
        yield text(
            "canaries: epsilon is at least {counted} with 95 % confidence, at least {normal} with"
            " 99.999 % if scores are normal; {claim} is claimed at delta {delta}",
            counted=f"{bounds.clopper_pearson:.2f}",
            normal=f"{bounds.parametric:.2f}",
            claim=f"{report.epsilon:g}",
            delta=f"{report.delta:g}",
        )
        yield text(
            "noise that is {share} % narrower than charged would be found 99 times in 100",
            share=f"{100 * report.narrower:.1f}",
        )
    yield (
        text("passed: no violation was found")
        if report.is_passed
        else text("FAILED: more is released than is claimed")
    )


def report_document(report: AuditReport) -> dict[str, Any]:
    """Return the empirical audit's findings as a document for ``--json``."""
    return {"passed": report.is_passed, **asdict(report)}
