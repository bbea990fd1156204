"""What an audit of the release code found, as lines to read and as a document for programs."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from wg_common.audit.empirical import EmpiricalReport
from wg_common.audit.installed.audit import InstalledReport

NO_CLIENT = (
    "the plant's program is not installed here: only the mechanism was audited; at a plant, "
    "'wg-client audit' goes through files, encoder and release"
)


def lines(kernel: EmpiricalReport, installed: InstalledReport | None) -> Iterator[str]:
    """The findings in words, line by line."""
    yield (
        f"mechanism: claimed epsilon {kernel.epsilon:g} at delta {kernel.delta:g}, "
        f"{kernel.canaries} canaries"
    )
    yield f"  lower bound, Clopper-Pearson 95 %:  {kernel.clopper_pearson:.3f}"
    yield f"  lower bound, parametric 99.9 %:     {kernel.parametric:.3f}"
    yield f"  a true epsilon from {kernel.detectable:.3f} on would be found"
    if installed is not None:
        yield (
            f"installed path: {installed.releases} releases from files, "
            f"claimed epsilon {installed.epsilon:g}, {installed.canaries} canaries"
        )
        for check in installed.checks:
            yield f"  {'holds ' if check.passed else 'FAILS '} {check.name}: {check.found}"
        for score in installed.scores:
            yield (
                f"  {'holds ' if score.passed else 'FAILS '} canaries in {score.block}: "
                f"mu at least {max(score.mu_lower, 0):.3f}, {score.mu_claimed:.3f} is charged"
            )
    else:
        yield NO_CLIENT
    passed = kernel.passed and (installed is None or installed.passed)
    yield "passed" if passed else "FAILED: more is released than is claimed"


def document(kernel: EmpiricalReport, installed: InstalledReport | None) -> dict[str, Any]:
    """The findings for ``--json``."""
    return {
        "passed": kernel.passed and (installed is None or installed.passed),
        "mechanism": asdict(kernel),
        "installed": None if installed is None else asdict(installed),
    }
