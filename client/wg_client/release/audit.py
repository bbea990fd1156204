"""The audit of the installed release code, with its outcome on the plant's ledger."""

from collections.abc import Callable
from functools import partial

from wg_audit.installed import audit as installed
from wg_audit.installed.audit import Report
from wg_audit.installed.probes import Size
from wg_client.data.plant import load_encoder_package
from wg_client.release import canary_audit
from wg_core.ledger import charging, entries
from wg_core.privacy.calibration import EPSILON_LIMIT
from wg_core.release.query import open_ledger
from wg_core.site import locks
from wg_core.site.home import ClientHome


def audit(
    home: ClientHome,
    *,
    size: Size | None = None,
    on_question: Callable[[int], None] | None = None,
) -> tuple[Report, int]:
    """Audit the installed code over made-up records, with this home's encoder; record the outcome.

    A failed audit is recorded too. Where a check fails, no finite epsilon holds, and the entry says
    the largest that is ever computed.

    Args:
        size: How many canaries.
        on_question: Called with the number of questions that made-up plants have answered.

    Returns:
        What the audit found, and the index of its entry.

    Raises:
        ConfigError: The home has no ledger.
    """
    open_ledger(home).close()  # better now than after minutes
    code = charging.code_digest()
    report = installed.audit(
        canary_audit.plants(load_encoder_package(home)), size=size, on_question=on_question
    )
    bounds = report.bounds if report.passed else None
    with locks.release(home), open_ledger(home) as ledger:
        entry = ledger.record(
            entries.AUDIT,
            partial(
                entries.Audit,
                code_sha256=code,
                claimed_epsilon=_decimal(report.epsilon),
                lower_bound=_decimal(bounds.clopper_pearson if bounds else EPSILON_LIMIT),
                parametric_bound=_decimal(bounds.parametric if bounds else EPSILON_LIMIT),
                canaries=report.bounds.canaries if report.bounds else 0,
            ),
        )
    return report, entry


def _decimal(value: float) -> str:
    return format(value, ".6g")
