"""The canary audit of the installed release code, with its outcome on the plant's ledger."""

from __future__ import annotations

from collections.abc import Callable

from wg_client.home import ClientHome
from wg_client.release import alone, open_ledger
from wg_common.audit import empirical
from wg_common.audit.empirical import EmpiricalReport
from wg_common.ledger import charging


def audit(
    home: ClientHome,
    epsilon: float,
    delta: float,
    *,
    repetitions: int | None = None,
    on_repetition: Callable[[int], None] | None = None,
) -> tuple[EmpiricalReport, int]:
    """Audit the installed code over made-up records, and record what was found.

    Args:
        home: The plant's home.
        epsilon: The claim to test.
        delta: Its delta.
        repetitions: Releases to make; the audit's default if not given.
        on_repetition: Called with the number of releases made.

    Returns:
        The report, and the index of its AUDIT entry. A failed audit is recorded too.

    Raises:
        ConfigError: The home has no ledger, or a number makes no sense.
    """
    open_ledger(home).close()  # better now than after minutes
    code = charging.code_digest()
    found = empirical.audit(
        epsilon,
        delta,
        repetitions=empirical.REPETITIONS if repetitions is None else repetitions,
        on_repetition=on_repetition,
    )
    with alone(home), open_ledger(home) as ledger:
        entry = ledger.record_audit(
            code_sha256=code,
            claimed_epsilon=_decimal(found.epsilon),
            lower_bound=_decimal(found.clopper_pearson),
            parametric_bound=_decimal(found.parametric),
            canaries=found.canaries,
        )
    return found, entry


def _decimal(value: float) -> str:
    return format(value, ".6g")
