"""Soft sensors of a plant: a value, an interval and a novelty flag for each hour.

A soft sensor is local-only, trained on the plant's laboratory values; or it was delivered for the
plant's process unit, and is then compared with models of these values (``numbers.choose``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting import numbers
from wg_client.fitting.numbers import Average, Floats, Judgement, NumberModel
from wg_client.models import drift, novelty
from wg_client.models.drift import Shift
from wg_client.models.novelty import NEW, Novelty
from wg_common import streams
from wg_common.streams import Stream

_LEAST_HOURS = 10
"""Smallest sample in which drift is tested."""
_LEVEL = 0.01
"""Significance level of a feature's drift."""


class Estimates(NamedTuple):
    """Values of n hours, ends of their intervals, and a mask of hours unlike the training data."""

    values: Floats
    lower: Floats
    upper: Floats
    unlike: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class SoftSensor:
    """A trained soft sensor.

    Attributes:
        model: Model on features.
        judgement: Error, bias and R² on recordings that were held out from training.
        novelty: Novelty test against the training data; None: too few hours.
    """

    model: NumberModel
    judgement: Judgement
    novelty: Novelty | None

    @property
    def half_width(self) -> float:
        """Half of the width of an interval."""
        return self.model.half_width

    def estimates(self, features: Floats) -> Estimates:
        """Estimate values from features ``[n, F]``, with intervals of 90 % coverage."""
        values, width = self.model.predict(features), self.half_width
        return Estimates(values, values - width, values + width, _unlike(self.novelty, features))


def learn(features: Floats, values: Floats, recordings: NDArray[np.generic]) -> SoftSensor:
    """Train a soft sensor on features ``[n, F]`` and values ``[n]``; NaN means no value.

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
    """Fit the novelty test on features ``[n, F]``; None without any."""
    return novelty.fit(features, None, None)


def movement(records: Floats, features: Floats) -> Shift | None:
    """Test features ``[n, F]`` for drift against those of records; None: too few of either."""
    if min(len(records), len(features)) < _LEAST_HOURS:
        return None
    return drift.shift(records, features, _LEVEL, streams.rng(Stream.DRIFT))


def _unlike(likeness: Novelty | None, features: Floats) -> NDArray[np.bool_]:
    if likeness is None:
        return np.zeros(len(features), np.bool_)
    return np.asarray(likeness.likeness(features) <= NEW)


class Scale(NamedTuple):
    """Logarithmic scale of a quantity: score = factor * log(value / nominal)."""

    nominal: float
    factor: float

    def score(self, values: Floats) -> Floats:
        """Convert positive values to scores."""
        return np.asarray(np.log(values / self.nominal) * self.factor)

    def value(self, scores: Floats) -> Floats:
        """Convert scores to values."""
        return np.asarray(self.nominal * np.exp(scores / self.factor))

    def share(self, difference: float) -> float:
        """Ratio of values whose scores differ by so much."""
        return math.exp(difference / self.factor)


@dataclass(frozen=True, slots=True, eq=False)
class DeliveredSensor:
    """A delivered soft sensor, with the selection made on the plant's values.

    Attributes:
        scale: Scale of its quantity.
        average: What is kept, on scores; None: there are too few values, and it stays as it is.
        half_width: Half of the width of an interval of scores.
        novelty: Novelty test against the plant's records; None: too few.
        judgements: Quality on hours with a value, by name, each out of fold; empty without values.
    """

    scale: Scale
    average: Average | None
    half_width: float
    novelty: Novelty | None
    judgements: dict[str, Judgement]

    @property
    def shares(self) -> dict[str, float]:
        """Shares of the average by name."""
        if self.average is None:
            return {numbers.DELIVERED: 1.0}
        names = numbers.DELIVERED, numbers.CORRECTED, numbers.LOCAL
        return dict(zip(names, self.average.shares.tolist(), strict=True))

    def estimates(self, features: Floats, scores: Floats) -> Estimates:
        """Estimate values from standardised readings ``[n, R]`` and delivered scores ``[n]``."""
        if self.average is not None:
            scores = self.average.predict(features, scores)
        ends = scores, scores - self.half_width, scores + self.half_width
        values, lower, upper = (self.scale.value(part) for part in ends)
        return Estimates(values, lower, upper, _unlike(self.novelty, features))


class KnownHours(NamedTuple):
    """Hours with a laboratory value.

    Attributes:
        features: Standardised readings, ``[n, R]``.
        scores: Scores predicted by the delivered soft sensor, ``[n]``.
        values: Laboratory values, positive, ``[n]``.
        recordings: Day of each hour, ``[n]``.
    """

    features: Floats
    scores: Floats
    values: Floats
    recordings: NDArray[np.int64]


def judge(scale: Scale, hours: KnownHours, records: Floats, half_width: float) -> DeliveredSensor:
    """Evaluate a delivered soft sensor on a plant's values, and average it with their models.

    Args:
        records: Standardised readings of the plant's records, ``[k, R]``.
        half_width: Half of the width of an interval of scores, used without enough values.
    """
    average, judgements = None, {}
    if len(hours.values):
        judgements[numbers.DELIVERED] = Judgement.of(scale.value(hours.scores), hours.values)
    days = len(np.unique(hours.recordings))
    if len(hours.values) >= numbers.LEAST_VALUES and days > 1:
        known_scores = scale.score(hours.values)
        average = numbers.keep(hours.features, known_scores, hours.recordings, hours.scores)
        half_width = average.half_width
        judgements[numbers.LOCAL] = Judgement.of(
            scale.value(average.local.out_of_fold), hours.values
        )
        judgements[numbers.KEPT] = Judgement.of(scale.value(average.out_of_fold), hours.values)
    return DeliveredSensor(scale, average, half_width, fit_novelty(records), judgements)
