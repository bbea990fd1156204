"""Expected gain of a plant from joining, estimated from published cases of similar plants.

``published_cases.json`` is written by ``python -m bench.simulate --publish``. Its cases are plants
cut from public data sets, each with the facts it knew before any release and its gain over
local-only on held-out records. No case is a customer's.

*Rule.* Among the cases with the plant's modality, epsilon and label situation (all classes have
labels, some have none, there are no labels), the ``NEAREST_CASE_COUNT`` most like the plant are
used, by labels per class and out-of-fold accuracy of local-only. The expected gain is their mean,
with equal weight for each data set. The interval is a split conformal prediction with data sets as
units, at 80 % (Vovk et al. 2005). If some classes have no labels, gains are scaled by the share of
such classes.

Not guaranteed: that a plant is like any of the cases. ``PublishedCases.held`` is the coverage of
the interval for data sets that were left out.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from wg_core import typed_records
from wg_core.errors import DataError, DecodeError

VERSION = 1
FILE_NAME = "published_cases.json"
PUBLISHED_EPSILONS = (1.0, 2.0, 4.0)  # Measured epsilons
NEAREST_CASE_COUNT = 24  # Number of similar cases that are used

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantFacts:
    """Facts about a plant that are known before any release.

    Attributes:
        kind: Modality of its records.
        classes: Number K of declared classes.
        unseen: Number U of classes without a labelled record; 0 for a plant without labels.
        labels: Number of labelled records.
        local: Out-of-fold accuracy of local-only on classes with records; None: unknown.
    """

    kind: str
    classes: int
    unseen: int
    labels: int
    local: float | None

    @property
    def label_situation(self) -> str:
        """``S1``: all classes have labels; ``S2``: some have none; ``S3``: there are no labels."""
        return "S3" if not self.labels else "S2" if self.unseen else "S1"

    @property
    def gain_divisor(self) -> float:
        """Divisor that makes gains comparable: share of unseen classes in ``S2``, otherwise 1."""
        return self.unseen / self.classes if self.label_situation == "S2" else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCase:
    """Published case: facts about one plant, and the gain measured there.

    Attributes:
        dataset: Name of the public data set that the plant was cut from.
        facts: Facts about the plant before the releases.
        epsilon: Epsilon of every release.
        sites: Number of other plants with its classes that released statistics.
        gain: Accuracy of the kept model minus local-only's on test records; without labels the
            accuracy itself.
        saved: Additional labels per class with which local-only would be as accurate, by its
            learning curve on this data set, which ends at 60.
    """

    dataset: str
    facts: PlantFacts
    epsilon: float
    sites: int
    gain: float
    saved: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCases:
    """All published cases, with the error when each case is predicted from the others.

    Attributes:
        version: Version of the layout.
        command: Command that wrote the file.
        held: Share of cases whose gain lay in the interval that was predicted from other data sets.
        error: Mean absolute error of the expected gain, predicted without the case's data set.
        cases: The cases.
    """

    version: int
    command: str
    held: float
    error: float
    cases: tuple[PublishedCase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedGain:
    """Expected gain of a plant from joining, at one epsilon.

    Attributes:
        epsilon: Epsilon of the release.
        gain: Mean gain over local-only, 0.01 = one point; without labels the accuracy.
        low: Lower end of the 80 % interval.
        high: Upper end.
        saved: Additional labels, of all classes together, with which local-only would be as
            accurate.
        saved_low: Lower end of its interval.
        saved_high: Upper end.
        cases: Number of cases used.
        datasets: Number of their data sets.
    """

    epsilon: float
    gain: float
    low: float
    high: float
    saved: float
    saved_low: float
    saved_high: float
    cases: int
    datasets: int


class JoiningAdvice(StrEnum):
    """Advice to a plant on joining a server, based on published gains of other plants."""

    JOIN = "join"
    WAIT = "wait"
    STAY_OUT = "don't"


def advise_joining(expected_gain: ExpectedGain | None, facts: PlantFacts) -> JoiningAdvice:
    """Advise a plant to join if the expected gain is at least a point, to wait if it is unknown.

    Otherwise, the advice is to stay out.

    Args:
        expected_gain: Expected gain; None: unknown.
        facts: Facts about the plant. Without labels, the gain is compared with guessing.
    """
    if expected_gain is None:
        return JoiningAdvice.WAIT
    least_gain = 0.01  # Smallest gain that matters to a plant
    chance = 1 / facts.classes if facts.label_situation == "S3" else 0.0
    return (
        JoiningAdvice.JOIN if expected_gain.gain - chance >= least_gain else JoiningAdvice.STAY_OUT
    )


@functools.cache
def read_published_cases() -> PublishedCases:
    """Read the published cases, which are installed with the program.

    Raises:
        DecodeError: The file has another version.
    """
    publication = typed_records.decode_json(
        resources.files(__package__).joinpath(FILE_NAME).read_bytes(), PublishedCases
    )
    if publication.version != VERSION:
        raise DecodeError(
            f"{FILE_NAME}: version {publication.version}, this program reads {VERSION}"
        )
    return publication


def estimate_joining_gain(
    cases: Sequence[PublishedCase], facts: PlantFacts, epsilon: float, other_site_count: int
) -> ExpectedGain:
    """Estimate a plant's gain from published cases.

    Args:
        epsilon: One of ``PUBLISHED_EPSILONS``.
        other_site_count: Expected number of other plants with the plant's classes. One
            estimate is made for each number of plants in the cases, from the largest that is at
            most ``other_site_count`` upwards; the lowest is returned.

    Raises:
        DataError: No case has the plant's modality, label situation and epsilon, or
            ``other_site_count`` is below all published numbers.
    """
    matching_cases = [
        case
        for case in cases
        if case.epsilon == epsilon
        and (case.facts.kind, case.facts.label_situation) == (facts.kind, facts.label_situation)
    ]
    if not matching_cases:
        raise DataError(
            f"{facts.kind}, epsilon {epsilon:g}: no published case; nothing can be expected"
        )
    counts = sorted({case.sites for case in matching_cases})
    usable = [count for count in counts if count <= other_site_count]
    if not usable:
        raise DataError(
            f"{other_site_count} other plants: no published case; nothing can be expected"
        )
    return min(
        (
            _estimate_from_nearest(
                [case for case in matching_cases if case.sites == count], facts, epsilon
            )
            for count in counts
            if count >= usable[-1]
        ),
        key=lambda expectation: expectation.gain,
    )


def _estimate_from_nearest(
    cases: list[PublishedCase], facts: PlantFacts, epsilon: float
) -> ExpectedGain:
    """Return the expected gain, estimated from the cases that are most like the plant."""
    cases = sorted(cases, key=lambda case: _plant_distance(case.facts, facts))[:NEAREST_CASE_COUNT]
    gains = np.array([case.gain / case.facts.gain_divisor for case in cases]) * facts.gain_divisor
    savings = np.array([case.saved for case in cases]) * facts.classes
    names, place, sizes = np.unique(
        [case.dataset for case in cases], return_inverse=True, return_counts=True
    )
    weights = 1 / sizes[place]
    gain, low, high = _mean_and_conformal_interval(gains, weights, len(names))
    labels, fewest_labels, most_labels = _mean_and_conformal_interval(savings, weights, len(names))
    return ExpectedGain(
        epsilon=epsilon,
        gain=gain,
        low=low,
        high=high,
        saved=labels,
        saved_low=fewest_labels,
        saved_high=most_labels,
        cases=len(cases),
        datasets=len(names),
    )


def _mean_and_conformal_interval(
    values: Floats, weights: Floats, dataset_count: int
) -> tuple[float, float, float]:
    """Return the weighted mean of values, and both ends of an interval for a further value."""
    coverage = 0.8
    order = np.argsort(values, kind="stable")
    up = np.cumsum(weights[order]) / weights.sum()
    down = np.cumsum(weights[order][::-1]) / weights.sum()
    level = min(math.ceil((dataset_count + 1) * (1 + coverage) / 2) / dataset_count, 1.0) - 1e-9
    high = values[order][np.searchsorted(up, level)]
    low = values[order][::-1][np.searchsorted(down, level)]
    return float(np.average(values, weights=weights)), float(low), float(high)


def _plant_distance(case_facts: PlantFacts, plant_facts: PlantFacts) -> float:
    """Return a distance between two plants; 0: equal labels per class and local-only accuracy."""
    if not (case_facts.labels and plant_facts.labels):
        return abs(math.log2(case_facts.classes / plant_facts.classes))
    labels_per_class = [
        facts.labels / (facts.classes - facts.unseen) for facts in (case_facts, plant_facts)
    ]
    distance = abs(math.log2(labels_per_class[0] / labels_per_class[1])) / 2
    if case_facts.local is None or plant_facts.local is None:
        return distance
    return distance + abs(case_facts.local - plant_facts.local) / 0.2
