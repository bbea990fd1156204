"""What a generator of heads must reach on its model card to be used, and what is worth an alarm."""

import math
from collections.abc import Mapping
from typing import Any

from wg_server.generator.checks import Check, at_least, at_most

CLOSED_FORM_MARGIN = 0.01
"""Accuracy that the network may lose to BLUP or to its prior head in any scenario."""
COPIES = 0.10  # Share of generated heads, or rows, that may be counted as copies
MEMORISER_FOUND = 0.90
"""Share of a planted memoriser's heads that the copy test must find, or it shows nothing."""
NOVELTY = 0.25  # Median distance to the nearest zoo entry, over the zoo's own median
DIVERSITY = 1e-3
"""Median distance between samples, over the zoo's median: below it the diffusion has collapsed."""
CALIBRATION = 0.15  # Expected calibration error in any scenario


def checks(card: Mapping[str, Any]) -> list[Check]:
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
