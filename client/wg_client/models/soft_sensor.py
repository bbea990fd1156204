"""A plant's own soft sensor: a value, an interval, and whether an hour is unlike what it knows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting import numbers
from wg_client.fitting.numbers import Floats, Judgement, NumberModel
from wg_client.models import novelty
from wg_client.models.novelty import NEW, Novelty


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

    def interval(self, features: Floats) -> Floats:
        """Lower and upper ends ``[n, 2]`` of intervals that hold nine values in ten."""
        values, width = self.model.predict(features), self.model.half_width
        return np.stack([values - width, values + width], axis=1)

    def outside(self, features: Floats) -> NDArray[np.bool_]:
        """Tell features ``[n, F]`` that are unlike all that was learnt, ``[n]``."""
        if self.novelty is None:
            return np.zeros(len(features), np.bool_)
        return np.asarray(self.novelty.likeness(features) <= NEW)


def learn(features: Floats, values: Floats, recordings: NDArray[np.generic]) -> SoftSensor:
    """Learn a number from features ``[n, F]`` and values ``[n]``, NaN where there is none.

    Raises:
        DataError: There are too few values, or too few recordings of them.
    """
    rows = np.isfinite(values)
    groups = np.unique(recordings[rows], return_inverse=True)[1]
    model = numbers.fit(features[rows], values[rows], groups)
    no_labels = np.full(len(groups), -1, np.int64)
    return SoftSensor(
        model=model,
        judgement=Judgement.of(model.out_of_fold, values[rows]),
        novelty=novelty.fit(features[rows], no_labels),
    )
