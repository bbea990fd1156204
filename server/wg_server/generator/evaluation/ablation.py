"""The ablation table of a model card: what each part of the generator is worth, with its error.

Of what is made from a release: plants of all kinds, of families that no training saw; errors are
clustered by family. Of the operator's own families: right answers of held-out records at held-out
made-up sites, paired by family.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wg_server.generator.evaluation.scores import ALONE, EXCHANGED
from wg_server.generator.statistics import clustered

SCENARIO = "mixed"
"""Of a card's scenarios (``head_card.SCENARIOS``) the one that has plants of all kinds."""
_OF_RELEASES = {
    "releases of other sites": ALONE,
    "the plant's own condition, minus exchanged classes": EXCHANGED,
}
"""A method beside what is completed at the plant."""
_OF_FAMILIES = {
    "family head: made-up cameras or sensors, minus one": ("standardised", "one_camera"),
    "family head: standardised by each site, minus alike": ("standardised", "alike"),
    "first network of the family, minus its head": ("network", "standardised"),
}
"""Figures of own families on a card: minuend and subtrahend."""

Row = dict[str, Any]


def table(
    scenario: Mapping[str, Mapping[str, float]], families: Sequence[Mapping[str, str]]
) -> list[Row]:
    """Rows of ``part``, ``points``, ``error`` and ``families``.

    A row says what a part is worth, in points of accuracy with one standard error; of own families,
    over how many. What a zoo has no figures of has no row, and one family has no error.

    Args:
        scenario: Scores of ``SCENARIO``, by method.
        families: Of each of the operator's own, figures by name.
    """
    rows = [
        _row(part, 100 * scores["gain"], 100 * scores["gain_error"], None)
        for part, method in _OF_RELEASES.items()
        if (scores := scenario.get(method))
    ]
    for part, (minuend, subtrahend) in _OF_FAMILIES.items():
        pairs = [
            (family[minuend], family[subtrahend])
            for family in families
            if {minuend, subtrahend} <= family.keys()
        ]
        if pairs:
            points = 100 * np.subtract(*np.array(pairs, np.float64).T)
            mean, error = clustered(points, [str(n) for n in range(len(points))])
            rows.append(_row(part, mean, error if len(points) > 1 else None, len(points)))
    return rows


def rows(card: Mapping[str, Any]) -> list[Row]:
    """Those of a card; none where it has none.

    Raises:
        KeyError, TypeError, ValueError: They are none.
    """
    return [
        _row(
            str(row["part"]),
            float(row["points"]),
            None if row["error"] is None else float(row["error"]),
            None if row["families"] is None else int(row["families"]),
        )
        for row in card.get("ablation", ())
    ]


def words(row: Row) -> str:
    """A row as a line."""
    error = "" if row["error"] is None else f" +- {row['error']:.1f}"
    over = "" if row["families"] is None else f", own families: {row['families']}"
    return f"{row['part']}: {row['points']:+.1f}{error} points{over}"


def _row(part: str, points: float, error: float | None, families: int | None) -> Row:
    return {"part": part, "points": points, "error": error, "families": families}
