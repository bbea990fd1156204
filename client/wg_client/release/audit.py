"""The audit of the installed release code, with its outcome on the plant's ledger."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from wg_client.data.plant import load_encoder_package
from wg_client.release import canary_audit
from wg_client.release.query import open_ledger
from wg_client.site import locks
from wg_client.site.home import ClientHome
from wg_common.audit import empirical
from wg_common.audit.empirical import EmpiricalReport
from wg_common.audit.installed import audit as installed
from wg_common.audit.installed.audit import InstalledReport, Size
from wg_common.ledger import charging, entries
from wg_common.privacy.calibration import EPSILON_LIMIT

Told = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What was found, of the mechanism's kernel and of the whole path, and where it is recorded."""

    kernel: EmpiricalReport
    installed: InstalledReport
    entry: int

    @property
    def passed(self) -> bool:
        """Both hold."""
        return self.kernel.passed and self.installed.passed


def audit(
    home: ClientHome,
    epsilon: float,
    delta: float,
    *,
    repetitions: int | None = None,
    size: Size | None = None,
    on_repetition: Told | None = None,
    on_release: Told | None = None,
) -> Audited:
    """Audit the installed code over made-up records, with this home's encoder; record the outcome.

    A failed audit is recorded too. Where a check without noise fails, no finite epsilon holds, and
    the entry says the largest that is ever computed.

    Args:
        epsilon: The claim to test, of the kernel; the path is tested under a claim of its own.
        repetitions: Releases of the kernel; the audit's default if not given.
        size: How much of the path is looked at.
        on_repetition: Called with the number of the kernel's releases made.
        on_release: Called with the number of the path's releases made.

    Raises:
        ConfigError: The home has no ledger, or a number makes no sense.
    """
    open_ledger(home).close()  # better now than after minutes
    code = charging.code_digest()
    kernel = empirical.audit(
        epsilon,
        delta,
        repetitions=empirical.REPETITIONS if repetitions is None else repetitions,
        on_repetition=on_repetition,
    )
    path = installed.audit(
        canary_audit.plants(load_encoder_package(home)), size=size, on_release=on_release
    )
    sound = all(check.passed for check in path.checks)
    with locks.release(home), open_ledger(home) as ledger:
        entry = ledger.record(
            entries.AUDIT,
            partial(
                entries.Audit,
                code_sha256=code,
                claimed_epsilon=_decimal(kernel.epsilon),
                lower_bound=_decimal(kernel.clopper_pearson if sound else EPSILON_LIMIT),
                parametric_bound=_decimal(kernel.parametric if sound else EPSILON_LIMIT),
                canaries=kernel.canaries + path.canaries,
            ),
        )
    return Audited(kernel=kernel, installed=path, entry=entry)


def _decimal(value: float) -> str:
    return format(value, ".6g")
