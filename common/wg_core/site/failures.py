"""The catalogue of failures: each way in which delivered weights fail, by its code.

``docs/failures.md`` says of each how it is found and what to do. A code is never given to another
failure. What a check's failure means is the plant's to say (``acceptance.checks``); here
is what it means where the plant says nothing.
"""

from dataclasses import dataclass
from typing import Literal

Action = Literal["block", "warn", "off"]
"""``block``: the model is not kept. ``warn``: it may be, and the report says so. ``off``: the check
is not made."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One way to fail.

    Attributes:
        code: ``WG-Fnn``.
        name: In a few words.
        action: What it means if the policy does not say.
    """

    code: str
    name: str
    action: Action


FEW_SITES = "WG-F13"
"""A model with this failure is kept, and put in use by nobody but a person."""

FAILURES = (
    Failure("WG-F01", "no gain over local-only", "block"),
    Failure("WG-F02", "accuracy not above the commonest class", "warn"),
    Failure("WG-F03", "a class that is hardly recognised", "warn"),
    Failure("WG-F08", "not finite, or too large", "block"),
    Failure("WG-F11", "no label to check by", "warn"),
    Failure("WG-F12", "records of another kind of plant", "block"),
    Failure(FEW_SITES, "few sites behind a class", "warn"),
    Failure("WG-F14", "a data sheet of another machine", "warn"),
)

_BY_CODE = {failure.code: failure for failure in FAILURES}
CODES = frozenset(_BY_CODE)


def default_action(code: str) -> Action:
    """Return the action for a failure that the policy omits; unlisted codes block."""
    return _BY_CODE[code].action if code in _BY_CODE else "block"
