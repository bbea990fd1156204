"""What other plants gained: published cases, and what they say of a plant that is like them.

``published.json`` is written by ``python -m bench.simulate --publish``: plants cut from public data
sets, each with what it knew of itself before anything left, and what it kept over local-only on
records that nobody had seen. Nothing in it is of a customer.

*The rule.* Of the cases with the same question (all classes labelled, some without labels, no
labels at all), kind of records and epsilon, the ``NEAREST`` most alike are taken: by labels a class
and by the accuracy of local-only in the plant's own folds. Their mean is expected, each data set
counting once. The interval holds the middle 80 % of data sets, one more than there are: nothing
says that the next one lies between those that are known (split conformal prediction with data sets
as units; Vovk et al. 2005). Where classes have no labels a gain counts per share of such classes.

Not guaranteed: that a plant is like any of them. How often the interval held for data sets that
were left out stands beside the cases (``Published.held``).
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from wg_client.selection.verdict import Change, change_of
from wg_core import typed
from wg_core.errors import DataError, DecodeError

VERSION = 1
FILE = "published.json"
EPSILONS = (1.0, 2.0, 4.0)  # What is shown: other prices were not measured
NEAREST = 24  # Cases that are looked at

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Facts that a plant knows of itself.

    Attributes:
        kind: Modality of its records.
        classes: Declared classes K.
        unseen: Classes U of them that have no labelled record; of a plant without labels: 0.
        labels: Labelled records; 0: it has none.
        local: Accuracy of local-only in its own folds, on classes that have records; None: unknown.
    """

    kind: str
    classes: int
    unseen: int
    labels: int
    local: float | None

    @property
    def question(self) -> str:
        """``S1`` all classes have labels, ``S2`` some have none, ``S3`` there are no labels."""
        return "S3" if not self.labels else "S2" if self.unseen else "S1"

    @property
    def share(self) -> float:
        """Denominator of a gain."""
        return self.unseen / self.classes if self.question == "S2" else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One published plant.

    Attributes:
        dataset: The data set that it was cut from.
        facts: What it knew.
        epsilon: Epsilon of every release.
        sites: Other plants with its classes that released.
        gain: Accuracy kept minus local-only's on test records; of a plant without labels the
            accuracy itself.
        saved: Labels a class that local-only would have needed more to be as accurate, by its own
            learning curve on this data set; at most 60 are known.
    """

    dataset: str
    facts: Facts
    epsilon: float
    sites: int
    gain: float
    saved: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The cases, and how well they predict each other.

    Attributes:
        version: Version of the layout.
        command: What wrote them.
        held: Share of the cases whose gain was in the interval, each predicted without its data
            set.
        error: Mean absolute error of the expected gain, likewise.
        cases: They.
    """

    version: int
    command: str
    held: float
    error: float
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Expected gain at one price.

    Attributes:
        epsilon: Epsilon of the release.
        gain: Mean gain over local-only, 0.01 = one point; without labels the accuracy.
        low: Lower end of the 80 % interval.
        high: Upper end.
        saved: Labels that local-only would need more to be as accurate, of all classes together.
        saved_low: Lower end of its interval.
        saved_high: Upper end.
        cases: Cases that it stands on.
        datasets: Data sets that these are of.
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


class Decision(StrEnum):
    """Advice to a plant, as far as others' gains allow it."""

    JOIN = "join"
    WAIT = "wait"
    STAY = "don't"


def decide(expectation: Expected | None, facts: Facts, least: float = 0.01) -> Decision:
    """By the report's rule: a gain is shown where zero is below its interval.

    Args:
        expectation: What is expected; None: nothing is known.
        facts: Facts of the plant. Without any label the gain is over guessing.
        least: A gain that a plant would notice.
    """
    if expectation is None:
        return Decision.WAIT
    chance = 1 / facts.classes if facts.question == "S3" else 0.0
    change = change_of(expectation.low - chance, expectation.high - chance)
    if change is Change.MORE:
        return Decision.JOIN
    is_noticeable = expectation.gain - chance >= least and change is not Change.FEWER
    return Decision.WAIT if is_noticeable else Decision.STAY


@functools.cache
def read_published() -> Published:
    """The cases that came with the program.

    Raises:
        DecodeError: They are of another version.
    """
    publication = typed.decode_json(
        resources.files(__package__).joinpath(FILE).read_bytes(), Published
    )
    if publication.version != VERSION:
        raise DecodeError(f"{FILE}: version {publication.version}, this program reads {VERSION}")
    return publication


def expected(cases: Sequence[Case], facts: Facts, epsilon: float, sites: int) -> Expected:
    """Estimate a plant's gain from cases.

    Args:
        epsilon: One of ``EPSILONS``.
        sites: Other plants with its classes that it expects. Cases with more are never looked at,
            and fewer plants are not expected to bring more.

    Raises:
        DataError: No case answers the question, or there is no other plant.
    """
    matching_cases = [
        case
        for case in cases
        if case.epsilon == epsilon
        and (case.facts.kind, case.facts.question) == (facts.kind, facts.question)
    ]
    if not matching_cases:
        raise DataError(
            f"{facts.kind}, epsilon {epsilon:g}: no published case; nothing can be expected"
        )
    counts = sorted({case.sites for case in matching_cases})
    usable = [count for count in counts if count <= sites]
    if not usable:
        raise DataError(f"{sites} other plants: no published case; nothing can be expected")
    return min(
        (
            _of_nearest([case for case in matching_cases if case.sites == count], facts, epsilon)
            for count in counts
            if count >= usable[-1]
        ),
        key=lambda expectation: expectation.gain,
    )


def _of_nearest(cases: list[Case], facts: Facts, epsilon: float) -> Expected:
    """Estimate a plant's gain from the cases most like it."""
    cases = sorted(cases, key=lambda case: _distance(case.facts, facts))[:NEAREST]
    gains = np.array([case.gain / case.facts.share for case in cases]) * facts.share
    savings = np.array([case.saved for case in cases]) * facts.classes
    names, place, sizes = np.unique(
        [case.dataset for case in cases], return_inverse=True, return_counts=True
    )
    weights = 1 / sizes[place]
    gain, low, high = _interval(gains, weights, len(names))
    labels, fewest_labels, most_labels = _interval(savings, weights, len(names))
    return Expected(
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


def _interval(values: Floats, weights: Floats, units: int) -> tuple[float, float, float]:
    """Weighted mean, and the ends of an interval for one more unit."""
    coverage = 0.8
    order = np.argsort(values, kind="stable")
    up = np.cumsum(weights[order]) / weights.sum()
    down = np.cumsum(weights[order][::-1]) / weights.sum()
    level = min(math.ceil((units + 1) * (1 + coverage) / 2) / units, 1.0) - 1e-9
    high = values[order][np.searchsorted(up, level)]
    low = values[order][::-1][np.searchsorted(down, level)]
    return float(np.average(values, weights=weights)), float(low), float(high)


def _distance(case_facts: Facts, plant_facts: Facts) -> float:
    """Measure how unlike two plants are."""
    if not (case_facts.labels and plant_facts.labels):
        return abs(math.log2(case_facts.classes / plant_facts.classes))
    labels_per_class = [
        facts.labels / (facts.classes - facts.unseen) for facts in (case_facts, plant_facts)
    ]
    distance = abs(math.log2(labels_per_class[0] / labels_per_class[1])) / 2
    if case_facts.local is None or plant_facts.local is None:
        return distance
    return distance + abs(case_facts.local - plant_facts.local) / 0.2
