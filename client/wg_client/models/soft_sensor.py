"""A plant's soft sensor: a value, an interval, and whether an hour is unlike what it knows.

It is the plant's own, from its laboratory's values; or it came in a package, made for the plant's
process unit, and then stands beside what these values say (``numbers.choose``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting import numbers
from wg_client.fitting.numbers import Choice, Floats, Judgement, NumberModel
from wg_client.models import novelty
from wg_client.models.novelty import NEW, Novelty


class Estimates(NamedTuple):
    """Values of n hours, ends of their intervals, and which hours are unlike all."""

    values: Floats
    lower: Floats
    upper: Floats
    unlike: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class SoftSensor:
    """A learnt model with what it was learnt from.

    Attributes:
        model: The model on features.
        judgement: Error, bias and R² of recordings that had no part in what told them.
        novelty: Likeness of hours to those that were learnt from.
    """

    model: NumberModel
    judgement: Judgement
    novelty: Novelty | None

    def estimates(self, features: Floats) -> Estimates:
        """State values of features ``[n, F]``; intervals hold nine values in ten."""
        values, width = self.model.predict(features), self.model.half_width
        return Estimates(values, values - width, values + width, _unlike(self.novelty, features))


def learn(features: Floats, values: Floats, recordings: NDArray[np.generic]) -> SoftSensor:
    """Learn a number from features ``[n, F]`` and values ``[n]``, NaN where there is none.

    Raises:
        DataError: There are too few values, or too few recordings of them.
    """
    rows = np.isfinite(values)
    groups = np.unique(recordings[rows], return_inverse=True)[1]
    model = numbers.fit(features[rows], values[rows], groups)
    return SoftSensor(
        model=model,
        judgement=Judgement.of(model.out_of_fold, values[rows]),
        novelty=fit_novelty(features[rows]),
    )


def fit_novelty(features: Floats) -> Novelty | None:
    """Likeness to features ``[n, F]``; None: there are too few."""
    return novelty.fit(features, np.full(len(features), -1, np.int64))


def _unlike(likeness: Novelty | None, features: Floats) -> NDArray[np.bool_]:
    if likeness is None:
        return np.zeros(len(features), np.bool_)
    return np.asarray(likeness.likeness(features) <= NEW)


class Scale(NamedTuple):
    """Scale of a quantity: a score is the factor times the logarithm of value over nominal."""

    nominal: float
    factor: float

    def score(self, values: Floats) -> Floats:
        """Scores of positive values."""
        return np.asarray(np.log(values / self.nominal) * self.factor)

    def value(self, scores: Floats) -> Floats:
        """Values of scores."""
        return np.asarray(self.nominal * np.exp(scores / self.factor))


@dataclass(frozen=True, slots=True, eq=False)
class DeliveredSensor:
    """A soft sensor that was made for a plant, and what the plant's values make of it.

    Attributes:
        scale: Scale of its quantity.
        choice: What is kept, on scores; None: there are too few values, and it stays as it is.
        half_width: Half of the width of an interval of scores.
        novelty: Likeness of hours to the plant's records.
        judgements: Quality on hours with a value, by name, each out of fold; empty without one.
    """

    scale: Scale
    choice: Choice | None
    half_width: float
    novelty: Novelty | None
    judgements: dict[str, Judgement]

    @property
    def choice_name(self) -> str:
        """Name of what is kept."""
        return numbers.DELIVERED if self.choice is None else self.choice.name

    def estimates(self, features: Floats, scores: Floats) -> Estimates:
        """State values of standardised readings ``[n, R]`` and the delivered one's scores."""
        if self.choice is not None:
            scores = self.choice.predict(features, scores)
        ends = scores, scores - self.half_width, scores + self.half_width
        values, lower, upper = (self.scale.value(part) for part in ends)
        return Estimates(values, lower, upper, _unlike(self.novelty, features))


class KnownHours(NamedTuple):
    """Hours with a laboratory's value.

    Attributes:
        features: Standardised readings, ``[n, R]``.
        scores: What the delivered soft sensor says of them, ``[n]``.
        values: The laboratory's values, positive, ``[n]``.
        recordings: Day of each, ``[n]``.
    """

    features: Floats
    scores: Floats
    values: Floats
    recordings: NDArray[np.int64]


def judge(scale: Scale, hours: KnownHours, records: Floats, half_width: float) -> DeliveredSensor:
    """Judge a delivered soft sensor by a plant's values, and keep what is better.

    Args:
        records: Standardised readings of the plant's records, ``[k, R]``.
        half_width: Half of the width of an interval of scores, where no value says it.
    """
    choice, judgements = None, {}
    if len(hours.values):
        judgements[numbers.DELIVERED] = Judgement.of(scale.value(hours.scores), hours.values)
    days = len(np.unique(hours.recordings))
    if len(hours.values) >= numbers.LEAST_VALUES and days > 1:
        known_scores = scale.score(hours.values)
        choice = numbers.choose(hours.features, known_scores, hours.recordings, hours.scores)
        half_width = choice.half_width
        judgements[choice.name] = Judgement.of(scale.value(choice.out_of_fold), hours.values)
    return DeliveredSensor(scale, choice, half_width, fit_novelty(records), judgements)
