"""Catalogue of failures of delivered weights, by code.

``docs/failures.md`` describes how each failure is found and what to do. A code is never reused for
another failure. The plant's policy sets the consequence of a failed check
(``acceptance.checks``); this module has the defaults.
"""

from dataclasses import dataclass
from typing import Literal

FailureAction = Literal["block", "warn", "off"]
"""``block``: the model is not kept. ``warn``: it may be kept, and the report warns. ``off``: the
check is not made."""


@dataclass(frozen=True, slots=True)
class FailureMode:
    """Way in which delivered weights can fail: code ``WG-Fnn``, name and default action."""

    code: str
    name: str
    action: FailureAction


FEW_SITES_CODE = "WG-F13"
"""Code of the failure after which a model may be kept, but only a person can put it in use."""

FAILURE_MODES = (
    FailureMode("WG-F01", "no gain over your own model", "block"),
    FailureMode("WG-F02", "accuracy not above the commonest class", "warn"),
    FailureMode("WG-F03", "a class that is hardly recognised", "warn"),
    FailureMode("WG-F08", "not finite, or too large", "block"),
    FailureMode("WG-F11", "no label to check by", "warn"),
    FailureMode("WG-F12", "records of another kind of plant", "block"),
    FailureMode(FEW_SITES_CODE, "few sites behind a class", "warn"),
    FailureMode("WG-F14", "a data sheet of another machine", "warn"),
)

_MODES_BY_CODE = {failure.code: failure for failure in FAILURE_MODES}
FAILURE_CODES = frozenset(_MODES_BY_CODE)


def default_action(code: str) -> FailureAction:
    """Return the default action for a failure code; unlisted codes block."""
    return _MODES_BY_CODE[code].action if code in _MODES_BY_CODE else "block"
