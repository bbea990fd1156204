"""The checks that a model must pass before it may be kept, in the order in which they are shown."""

from __future__ import annotations

from wg_client.selection.checks import gain
from wg_client.selection.checks.base import AcceptanceCheck

CHECKS: tuple[AcceptanceCheck, ...] = (gain.check,)
