"""Checks of a model card: each compares a measured value with a lower bound.

A card stores the value and the bound of each check. Whether the check passes is computed each time
the card is read. The bounds are constants of the program and not part of a plan, so that no plan
can lower them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wg_core.errors import DecodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class CardCheck:
    """Check of one value on a model card against its lower bound.

    Attributes:
        name: Description of the requirement.
        value: Measured value.
        bound: Smallest value that passes.
    """

    name: str
    value: float
    bound: float

    @property
    def passed(self) -> bool:
        """True if the value reaches its bound; a value that is not finite never passes."""
        return math.isfinite(self.value) and self.value >= self.bound

    def to_document(self) -> dict[str, Any]:
        """Return the check as the dictionary that a model card stores."""
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.4g}, required >= {self.bound:g}"


def read_checks(card: Mapping[str, Any]) -> Sequence[CardCheck]:
    """Read the checks from a model card.

    Raises:
        DecodeError: The card has no checks, or a check is damaged.
    """
    try:
        checks = [
            CardCheck(
                name=str(entry["name"]), value=float(entry["value"]), bound=float(entry["bound"])
            )
            for entry in card["checks"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DecodeError(f"model card: no checks that can be read: {error}") from error
    if not checks:
        raise DecodeError("model card: no checks")
    return checks
