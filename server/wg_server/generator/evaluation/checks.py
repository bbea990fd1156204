"""The quality gate's checks: what a generator must reach on its model card to be used.

A card lists its checks with value and bound; whether one holds is computed from these each time it
is read. The bounds are constants here and not part of a plan: a training cannot lower them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from wg_core.errors import DecodeError

Relation = Literal[">=", "<="]

CLOSED_FORM_MARGIN = 0.01
"""Accuracy that the network may lose to BLUP or to its prior head in any scenario."""
COPIES = 0.10  # Share of generated heads, or rows, that may be counted as copies
MEMORISER_FOUND = 0.90
"""Share of a planted memoriser's heads that the copy test must find, or it shows nothing."""
NOVELTY = 0.25  # Median distance to the nearest zoo entry, over the zoo's own median
DIVERSITY = 1e-3
"""Median distance between samples, over the zoo's median: below it the diffusion has collapsed."""
CALIBRATION = 0.15  # Expected calibration error in any scenario


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


def at_most(bound: float, name: str, value: float) -> Check:
    """A value that must not be above its bound."""
    return Check(name=name, value=float(value), relation="<=", bound=bound)


def head_checks(card: Mapping[str, Any]) -> list[Check]:
    """The checks of a generator of heads, from the figures on its card."""
    scenarios = card["scenarios"].values()
    copies, diversity = card["memorisation"], card["diversity"]

    def worst(method: str, errors: int = 0) -> float:
        gains = (
            float(rows[method]["network_minus"])
            - errors * float(rows[method]["network_minus_error"])
            for rows in scenarios
        )
        return min(gains)

    margin = -CLOSED_FORM_MARGIN
    return [
        at_least(margin, "network minus BLUP, worst scenario", worst("closed-form")),
        at_least(margin, "network minus its prior head, worst scenario", worst("blend")),
        at_least(
            0.0,
            "gain over another plant's condition less its error, worst scenario",
            worst("another-plant", errors=1),
        ),
        at_most(
            COPIES,
            "generated heads that are copies of a zoo entry",
            copies["generated"]["heads_copied"],
        ),
        at_most(
            COPIES,
            "generated rows that are copies of a zoo row",
            copies["generated"]["rows_copied"],
        ),
        at_least(
            MEMORISER_FOUND,
            "planted copies that the copy test finds",
            copies["planted_memoriser"]["heads_copied"],
        ),
        at_least(
            NOVELTY,
            "distance to the nearest zoo entry over the zoo's median",
            diversity["nearest_zoo_distance_median"],
        ),
        at_most(
            CALIBRATION,
            "expected calibration error, worst scenario",
            max(float(error) for error in card["calibration"].values()),
        ),
    ]


def alarms(card: Mapping[str, Any]) -> list[str]:
    """What the operator should know, and does not refuse a generator.

    Collapsed samples do no harm: the deterministic network and the prior head are candidates too.
    """
    distance = float(card["diversity"]["between_samples_median"])
    if math.isfinite(distance) and distance >= DIVERSITY:
        return []
    return [
        f"samples are copies of each other: their distance is {distance:.2g} of the zoo's median,"
        f" below {DIVERSITY:g}"
    ]


def read_checks(card: Mapping[str, Any]) -> Sequence[Check]:
    """The checks that a card lists.

    Raises:
        DecodeError: It lists none, or one is damaged.
    """
    try:
        found = [
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
    if not found or any(check.relation not in (">=", "<=") for check in found):
        raise DecodeError("model card: no checks, or one with an unknown relation")
    return found
