"""Hints shown before a release is charged: releases that gain little, budgets that protect little.

They are computed from the plant's own records and public settings, shown only at the plant, and
never sent; nothing is refused because of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from wg_common.language import text
from wg_core.privacy.schema import MACHINE_RECORDS_MINIMUM

_LABELS_SHOWN = 5
_ENOUGH_LABELS = 20
"""Labels per class above which other sites' releases add less than two points: at 190 of 192 plants
with images and 104 of 108 with windows, at epsilon 1 and 4; with five labels per class at 130 of
144 and 66 of 72 (``bench/results``, S1 and S6)."""
_POINTS_GAINED_BY_MODALITY = {"images": "11", "windows": "3", "texts": "15"}
"""Mean gain in accuracy from other sites' releases for a plant without records of some classes, in
points by modality, over development sets (S2); for another modality their range is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCounts:
    """Numbers of records in the snapshot. Private; printed at the plant only.

    Attributes:
        path: Path of the data set.
        records: Number of records.
        unlabelled: Number of records without a label.
        per_label: Number of records by label.
        modality: Modality of the records.
        units: Number of privacy units.
    """

    path: str
    records: int
    unlabelled: int
    per_label: dict[str, int]
    modality: str
    units: int


def class_statistics_hints(
    counts: RecordCounts, noise_length: float, cap_epsilon: float, cap_delta: float
) -> tuple[str, ...]:
    """Return hints that are shown before a release of class statistics.

    Args:
        noise_length: Expected length of the noise on a class sum, in clip radii.
    """
    return (
        _gain_hint(counts.per_label, _POINTS_GAINED_BY_MODALITY.get(counts.modality, "3–15")),
        *_large_cap_hints(counts.units, cap_epsilon, cap_delta),
        *_small_class_hints(counts.per_label, noise_length),
    )


def machine_statistics_hints(
    unit_count: int, cap_epsilon: float, cap_delta: float
) -> tuple[str, ...]:
    """Return hints that are shown before a release of machine statistics of some privacy units."""
    return (*few_units_hint(unit_count), *_large_cap_hints(unit_count, cap_epsilon, cap_delta))


def few_units_hint(unit_count: int) -> tuple[str, ...]:
    """Return a hint if there are too few privacy units for machine statistics to be used."""
    if unit_count >= MACHINE_RECORDS_MINIMUM:
        return ()
    return (
        text(
            "too few for machine statistics: {units} privacy units. With fewer than "
            "{least}, the server ignores the statistics. Such a release is not refused, "
            "because the number of units is private",
            units=unit_count,
            least=MACHINE_RECORDS_MINIMUM,
        ),
    )


def _large_cap_hints(unit_count: int, cap_epsilon: float, cap_delta: float) -> list[str]:
    """Return hints if the budget's caps are so large that they protect little."""
    delta_share = 0.1
    large_epsilon = 20.0
    sentences: list[str] = []
    if cap_epsilon > large_epsilon:
        sentences.append(
            text(
                "privacy.cap_epsilon {epsilon:g}: nobody is protected at such a value; 1 to 10 are"
                " usual",
                epsilon=cap_epsilon,
            )
        )
    if unit_count and cap_delta * unit_count > delta_share:
        sentences.append(
            text(
                "privacy.cap_delta {delta:g}: the promise may fail for one of {units} units; take"
                " {least:.0e} or less",
                delta=cap_delta,
                units=unit_count,
                least=0.01 / unit_count,
            )
        )
    return sentences


def _gain_hint(label_counts: Mapping[str, int], gained_points: str) -> str:
    """Return a hint on the gain that other plants' releases bring, given this plant's labels."""
    bare = [label for label, count in label_counts.items() if not count]
    if bare:
        return text(
            "other sites' releases help most with classes that have no label here "
            "({names}): +{points} points at development sites. Such weights cost no "
            "epsilon; your own release helps the other sites",
            points=gained_points,
            names=", ".join(bare[:_LABELS_SHOWN]) + (", …" if len(bare) > _LABELS_SHOWN else ""),
        )
    if min(label_counts.values(), default=0) < _ENOUGH_LABELS:
        return text(
            "every class has a label here: other sites' releases rarely add more than two "
            "points (at one plant in five), and your own release helps only the other sites"
        )
    return text(
        "keep your budget: every class has {count} labels here, and other sites' "
        "releases add less than two points at 97 of 100 plants",
        count=_ENOUGH_LABELS,
    )


def _small_class_hints(label_counts: Mapping[str, int], noise_length: float) -> list[str]:
    """Return a hint if the noise exceeds the sum of all records of a class."""
    # The sum of n vectors of length R is at most n R long.
    lost_labels = [label for label, count in label_counts.items() if 0 < count < noise_length]
    if not lost_labels:
        return []
    names = ", ".join(f"{label!r} ({label_counts[label]})" for label in lost_labels[:_LABELS_SHOWN])
    remainder = (
        text(" and {count} more", count=len(lost_labels) - _LABELS_SHOWN)
        if len(lost_labels) > _LABELS_SHOWN
        else ""
    )
    return [
        text(
            "too few records for this epsilon: for {names}{more}, the noise is larger than "
            "the sum of all records of the class; at least {needed} records per class, or a"
            " larger epsilon, are needed",
            names=names,
            more=remainder,
            needed=math.ceil(noise_length),
        )
    ]
