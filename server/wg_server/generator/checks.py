"""Checks of a model card: a value, how it must stand to a bound, and whether it does.

A card lists its checks with value and bound; whether one holds is computed from these each time it
is read. The bounds are constants of ``evaluation`` and not part of a plan: a training cannot lower
them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from wg_core.errors import DecodeError

Relation = Literal[">=", "<="]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One requirement.

    Attributes:
        name: What is required, for a reader.
        value: What was measured.
        relation: How the value must stand to the bound.
        bound: The bound.
    """

    name: str
    value: float
    relation: Relation
    bound: float

    @property
    def passed(self) -> bool:
        """Whether it holds; a value that is not finite never does."""
        if not math.isfinite(self.value):
            return False
        return self.value >= self.bound if self.relation == ">=" else self.value <= self.bound

    def document(self) -> dict[str, Any]:
        """As it stands on a card."""
        return {**asdict(self), "passed": self.passed}

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.4g}, required {self.relation} {self.bound:g}"


def at_least(bound: float, name: str, value: float) -> Check:
    """A value that must not be below its bound."""
    return Check(name=name, value=float(value), relation=">=", bound=bound)


def read_checks(card: Mapping[str, Any]) -> Sequence[Check]:
    """The checks that a card lists.

    Raises:
        DecodeError: It lists none, or one is damaged.
    """
    try:
        checks = [
            Check(
                name=str(entry["name"]),
                value=float(entry["value"]),
                relation=entry["relation"],
                bound=float(entry["bound"]),
            )
            for entry in card["checks"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DecodeError(f"model card: no checks that can be read: {error}") from error
    if not checks or any(check.relation not in (">=", "<=") for check in checks):
        raise DecodeError("model card: no checks, or one with an unknown relation")
    return checks
