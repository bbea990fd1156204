"""What a generator must reach on its own model card before its weights are handed out.

A card lists its checks with value and bound; whether one holds is computed from these each time it
is read. The bounds are constants here and not part of a plan: a training cannot lower them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from wg_common.errors import DecodeError

Relation = Literal[">=", "<="]

CLOSED_FORM_MARGIN = 0.01
"""Accuracy that the network may lose to T-BLUP or to its skeleton in any scenario."""
COPIES = 0.10
"""Share of generated heads, or rows, that may be counted as copies."""
MEMORISER_FOUND = 0.90
"""Share of a planted memoriser's heads that the copy test must find, or it shows nothing."""
NOVELTY = 0.25
"""Median distance to the nearest zoo entry, over the zoo's own median."""
DIVERSITY = 1e-3
"""Median distance between samples, over the zoo's median: below it the diffusion has collapsed."""
CALIBRATION = 0.15
"""Expected calibration error in any scenario."""


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
        return {
            "name": self.name,
            "value": self.value,
            "relation": self.relation,
            "bound": self.bound,
            "passed": self.passed,
        }

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.4g}, required {self.relation} {self.bound:g}"


def head_checks(card: Mapping[str, Any]) -> list[Check]:
    """The checks of a generator of heads, from the figures on its card."""
    scenarios = card["scenarios"].values()

    def worst(baseline: str) -> float:
        return min(float(rows[baseline]["network_minus"]) for rows in scenarios)

    other = min(
        float(rows["another-plant"]["network_minus"])
        - float(rows["another-plant"]["network_minus_error"])
        for rows in scenarios
    )
    copies, variety = card["memorisation"], card["diversity"]
    return [
        Check(
            name="network minus T-BLUP, worst scenario",
            value=worst("closed-form"),
            relation=">=",
            bound=-CLOSED_FORM_MARGIN,
        ),
        Check(
            name="network minus its skeleton, worst scenario",
            value=worst("blend"),
            relation=">=",
            bound=-CLOSED_FORM_MARGIN,
        ),
        Check(
            name="gain over another plant's condition less its error, worst scenario",
            value=other,
            relation=">=",
            bound=0.0,
        ),
        Check(
            name="generated heads that are copies of a zoo entry",
            value=float(copies["generated"]["heads_copied"]),
            relation="<=",
            bound=COPIES,
        ),
        Check(
            name="generated rows that are copies of a zoo row",
            value=float(copies["generated"]["rows_copied"]),
            relation="<=",
            bound=COPIES,
        ),
        Check(
            name="planted copies that the copy test finds",
            value=float(copies["planted_memoriser"]["heads_copied"]),
            relation=">=",
            bound=MEMORISER_FOUND,
        ),
        Check(
            name="distance to the nearest zoo entry over the zoo's median",
            value=float(variety["nearest_zoo_distance_median"]),
            relation=">=",
            bound=NOVELTY,
        ),
        Check(
            name="expected calibration error, worst scenario",
            value=max(float(e) for e in card["calibration"].values()),
            relation="<=",
            bound=CALIBRATION,
        ),
    ]


def alarms(card: Mapping[str, Any]) -> list[str]:
    """What an operator should know and may live with: collapsed samples do a plant no harm.

    The deterministic network and the skeleton are among the candidates, whatever samples do.
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
