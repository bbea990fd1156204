"""A package that was delivered: it is applied, and the report on it written."""

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wg_client.data.plant import Progress
from wg_client.selection.apply import AppliedModel, apply_package
from wg_client.selection.report import write_report
from wg_common import weights_package
from wg_core.connection import cosigning
from wg_core.errors import ConfigError, raised_as
from wg_core.site.home import ClientHome


def take_package(
    home: ClientHome,
    source: bytes | Path,
    *,
    now: Callable[[], float] = time.time,
    progress: Progress | None = None,
) -> AppliedModel:
    """Apply a package, keep the cosignature that it may carry, and write its report.

    Raises:
        WgError: As ``apply_package`` and ``cosigning.keep``.
    """
    applied = apply_package(
        home,
        source,
        now=now,
        progress=progress,
        verified=lambda package: keep_cosignature(home, package),
    )
    if applied.comparison is None:
        return applied
    plant, outcome = applied.comparison.plant, applied.comparison.outcome
    advice = write_report(home, plant, applied.manifest, outcome)
    return replace(applied, advice=(advice, outcome.reason))


def keep_cosignature(home: ClientHome, source: bytes | Path) -> int | None:
    """Keep the cosignature that a verified package may carry; see ``cosigning.keep``."""
    name = source if isinstance(source, Path) else "package"
    with (
        raised_as(ConfigError, f"{name}: cannot be read"),
        io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream,
    ):
        signed = weights_package.read_checkpoint(stream)
    return cosigning.keep(home, signed) if signed else None
