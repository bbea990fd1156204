"""Local-only soft sensors: a number of each window, learnt from the windows that have a value.

A window is read as lagged signals: of each channel the means of equal parts in their order, its
change and its spread. A ridge regression stands on these and, where there are values enough,
boosted trees; both are averaged, in the proportion that has the least squared error out of fold.
Folds never split a recording, since neighbouring hours are alike.

*Intervals* are split conformal (Vovk et al., *Algorithmic Learning in a Random World*, Springer,
2005; over folds: Barber et al., *Predictive inference with the jackknife+*, Annals of Statistics
49, 2021): a value lies within the quantile of the residuals out of fold, in which every recording
weighs alike. They hold on average over hours of recordings like those that were learnt from, and
not for each hour or under drift.

*The rule.* A delivered soft sensor stays unless values show local-only to be better: its squared
error out of fold has to be lower by Student's bound over recordings, at a chance of 5 % that it
gives way to one that is no better.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from wg_core.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_VALUES = 5
"""Fewest values that anything is learnt from."""
COVERAGE = 0.9
"""Share of hours whose value an interval is to hold."""
_PARTS = 6  # Of a window
_FOLDS = 5
_TREES_FROM = 40  # Values below which trees have nothing to split
_SURE = 0.95  # Chance that a model which replaces what was delivered is better
_PENALTIES = np.geomspace(0.1, 1e5, 13)
_SHARES = np.linspace(0, 1, 5)  # Of trees in the average


def lag_signals(windows: NDArray[np.floating]) -> Floats:
    """Lagged signals ``[n, F]`` of windows ``[n, C, T]``.

    Raises:
        DataError: There are not three axes, or a number is not finite.
    """
    x = np.asarray(windows, np.float64)
    if x.ndim != 3 or 0 in x.shape or not np.isfinite(x).all():
        raise DataError(
            f"windows: shape {x.shape}, expected finite numbers of windows, channels and samples;"
            " leave out windows with gaps"
        )
    parts = np.array_split(x, min(_PARTS, x.shape[2]), axis=2)
    means = [part.mean(axis=2) for part in parts]
    return np.concatenate([*means, means[-1] - means[0], x.std(axis=2)], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class NumberModel:
    """A soft sensor on features.

    Attributes:
        ridge: Regression on standardised features.
        trees: Boosted trees; None: too few values.
        share: Share of trees in the average.
        half_width: Half of the width of an interval.
        out_of_fold: Values without the recording that they are of, ``[n]``.
    """

    ridge: Pipeline
    trees: HistGradientBoostingRegressor | None
    share: float
    half_width: float
    out_of_fold: Floats

    def predict(self, features: Floats) -> Floats:
        """Values ``[n]`` of features ``[n, F]``."""
        values: Floats = self.ridge.predict(features)
        if self.trees is None or not self.share:
            return values
        out: Floats = (1 - self.share) * values + self.share * self.trees.predict(features)
        return out


def fit(features: Floats, values: Floats, recordings: Ints) -> NumberModel:
    """Learn a number.

    Args:
        features: ``[n, F]``.
        values: Finite ones, ``[n]``.
        recordings: Recording of each, ``[n]``.

    Raises:
        DataError: There are fewer than ``LEAST_VALUES`` values, or fewer than two recordings.
    """
    recording_count = len(np.unique(recordings))
    if len(values) < LEAST_VALUES or recording_count < 2:
        raise DataError(
            f"values: {len(values)} of {recording_count} recordings, expected at least"
            f" {LEAST_VALUES} of two: without another recording nothing says how good"
            " a soft sensor is; give each day or batch a name of its own"
        )
    predictions = np.zeros((2, len(values)))
    with_trees = len(values) >= _TREES_FROM
    for train, test in GroupKFold(min(_FOLDS, recording_count)).split(features, values, recordings):
        predictions[0, test] = _ridge().fit(features[train], values[train]).predict(features[test])
        if with_trees:
            trees = _trees().fit(features[train], values[train])
            predictions[1, test] = trees.predict(features[test])
    shares = _SHARES if with_trees else _SHARES[:1]
    averages = (1 - shares[:, None]) * predictions[0] + shares[:, None] * predictions[1]
    best = int(np.square(averages - values).mean(axis=1).argmin())
    residuals = np.abs(averages[best] - values)
    return NumberModel(
        ridge=_ridge().fit(features, values),
        trees=_trees().fit(features, values) if with_trees else None,
        share=float(shares[best]),
        half_width=half_width(residuals, recordings),
        out_of_fold=averages[best],
    )


def half_width(residuals: Floats, recordings: Ints) -> float:
    """Quantile of residuals ``[n]`` that a new one is below with a chance of ``COVERAGE``.

    Every recording weighs alike, and the new one, of which nothing is known, as much as a residual.
    """
    _, rows, counts = np.unique(recordings, return_inverse=True, return_counts=True)
    order = np.argsort(residuals)
    weights = (1 / counts[rows] / len(counts))[order] * len(residuals) / (len(residuals) + 1)
    place = int(np.searchsorted(np.cumsum(weights), COVERAGE - 1e-12))
    return float(residuals[order[min(place, len(order) - 1)]])


class Judgement(NamedTuple):
    """Quality of a soft sensor, in the unit of its values.

    Attributes:
        error: Root of the mean squared error.
        bias: Mean error.
        r2: Share of the variance that it explains.
    """

    error: float
    bias: float
    r2: float

    @classmethod
    def of(cls, predictions: Floats, values: Floats) -> "Judgement":
        """Judge predictions ``[n]`` of values ``[n]``."""
        errors = predictions - values
        spread = float(values.var())
        return cls(
            error=math.sqrt(float(np.square(errors).mean())),
            bias=float(errors.mean()),
            r2=1 - float(np.square(errors).mean()) / spread if spread else math.nan,
        )


def keeps_delivered(delivered_errors: Floats, local_errors: Floats, recordings: Ints) -> bool:
    """Tell whether a delivered soft sensor stays.

    Args:
        delivered_errors: Errors of the delivered one, ``[n]``.
        local_errors: Errors of local-only out of fold, ``[n]``.
        recordings: Recording of each, ``[n]``.
    """
    gain = _Gain.of(np.square(delivered_errors) - np.square(local_errors), recordings)
    return gain.mean <= gain.error * float(stdtrit(gain.clusters - 1, _SURE))


class _Gain(NamedTuple):
    """Mean of differences ``[n]``, and its standard error over recordings."""

    mean: float
    error: float
    clusters: int

    @classmethod
    def of(cls, differences: Floats, recordings: Ints) -> "_Gain":
        names, rows = np.unique(recordings, return_inverse=True)
        sums, clusters = np.bincount(rows, differences - differences.mean()), len(names)
        variance = float(np.square(sums).sum()) * clusters / (clusters - 1)
        return cls(float(differences.mean()), math.sqrt(variance) / len(differences), clusters)


def _ridge() -> Pipeline:
    return make_pipeline(StandardScaler(), RidgeCV(_PENALTIES))


def _trees() -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        max_iter=100, learning_rate=0.1, min_samples_leaf=8, l2_regularization=1.0, random_state=0
    )
