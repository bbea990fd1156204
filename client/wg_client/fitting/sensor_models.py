"""Local-only soft sensors: regressions of a laboratory value on the features of a window.

The features of a window are lagged signals: per channel the means of equal parts in order, the
change from first to last part, and the standard deviation. A ridge regression and, with enough
values, boosted trees are fitted on them and averaged, with the weight of least squared out-of-fold
error. Folds never split a recording, since neighbouring hours are alike.

*Intervals* are split conformal (Vovk et al., *Algorithmic Learning in a Random World*, Springer,
2005; over folds: Barber et al., *Predictive inference with the jackknife+*, Annals of Statistics
49, 2021): the half-width is a quantile of the absolute out-of-fold residuals, in which every
recording has the same weight. Coverage holds on average over recordings like those of the training
data, not for each hour and not under drift.

*Average.* Where a soft sensor was delivered, a plant with values keeps a weighted average of three
predictions: the delivered one plus the shrunken mean of its residuals, the delivered one plus a
ridge regression on its residuals, and local-only. Weights are the inverse squares of the
out-of-fold squared errors. Those of the last two are inflated where there are few recordings, and
double at ``DOUBLED_ERROR_RECORDINGS`` of them.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from wg_core.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_TRAINING_VALUES = 5
"""Fewest values for training."""
DELIVERED_NAME, CORRECTED_NAME, LOCAL_NAME = "delivered", "corrected", "local-only"
KEPT_SENSOR_NAME = "kept"
INTERVAL_COVERAGE = 0.9
"""Nominal coverage of the intervals."""
MOST_WINDOW_PARTS = 6
"""Largest number of parts of a window whose means are features."""
_MOST_FOLDS = 5
_LEAST_TREE_VALUES = 40  # Fewest values with which trees are fitted
DOUBLED_ERROR_RECORDINGS = 20.0
"""Number of recordings at which squared errors of corrected and local-only models count double."""
_ADDED_ZERO_RESIDUALS = 2.0  # Residuals of zero in each mean, which shrink it
_RIDGE_PENALTIES = np.geomspace(0.1, 1e5, 13)
_LEAST_RELATIVE_ERROR = 1e-6  # Least squared error, relative to the variance of the values
_CANDIDATE_TREE_SHARES = np.linspace(0, 1, 5)  # Candidate weights of trees in the average


def lagged_signals(windows: NDArray[np.floating]) -> Floats:
    """Return the lagged signals ``[n, F]`` of windows ``[n, C, T]``.

    Per channel, these are the means of equal parts in order, the change from the first part to the
    last, and the standard deviation.

    Raises:
        DataError: The array does not have three axes, or a number is not finite.
    """
    x = np.asarray(windows, np.float64)
    if x.ndim != 3 or 0 in x.shape or not np.isfinite(x).all():
        raise DataError(
            f"windows: shape {x.shape}, expected finite numbers of windows, channels and samples;"
            " leave out windows with gaps"
        )
    return np.asarray(lagged_signal_tensor(torch.from_numpy(x)).numpy())


def lagged_signal_tensor(windows: Tensor) -> Tensor:
    """Return the signals of ``lagged_signals``, ``[n, F]``, of windows ``[n, C, T]``."""
    parts = torch.tensor_split(windows, min(MOST_WINDOW_PARTS, windows.shape[2]), dim=2)
    means = [part.mean(dim=2) for part in parts]
    return torch.cat([*means, means[-1] - means[0], windows.std(dim=2, correction=0)], dim=1)


class SensorModel(ABC):
    """Interface of a soft sensor: values ``[n]`` from features and delivered predictions."""

    @abstractmethod
    def __call__(self, features: Tensor, delivered_values: Tensor) -> Tensor:
        """Predict values of features ``[n, F]``, given the delivered predictions ``[n]``."""

    def predict(self, features: Floats, delivered_values: Floats) -> Floats:
        """Predict values ``[n]`` from features ``[n, F]``, and delivered predictions ``[n]``."""
        arrays = features, delivered_values
        return np.asarray(self(*(torch.from_numpy(array) for array in arrays)).numpy())


@dataclass(frozen=True, slots=True, eq=False)
class ValueRegression(SensorModel):
    """Soft sensor on features alone: ridge regression, averaged with boosted trees if useful.

    Attributes:
        ridge_weights: Weights of the ridge regression, ``[F]``.
        ridge_offset: Constant of the ridge regression.
        trees: Boosted trees; None: there are too few values, or ``tree_share`` is 0.
        tree_share: Weight of the trees in the average.
        interval_half_width: Half of the width of an interval.
        out_of_fold_predictions: Predictions from fits without the value's recording, ``[n]``.
    """

    ridge_weights: Tensor
    ridge_offset: float
    trees: "BoostedTrees | None"
    tree_share: float
    interval_half_width: float
    out_of_fold_predictions: Floats

    def __call__(self, features: Tensor, delivered_values: Tensor) -> Tensor:
        """Predict values ``[n]`` from features ``[n, F]``; the delivered ones are ignored."""
        del delivered_values
        values = features @ self.ridge_weights + self.ridge_offset
        if self.trees is None:
            return values
        return (1 - self.tree_share) * values + self.tree_share * self.trees(features)


class BoostedTrees:
    """Boosted regression trees as flat tensors of nodes, in which a leaf is its own child."""

    def __init__(self, regressor: HistGradientBoostingRegressor) -> None:
        nodes = [predictor.nodes for (predictor,) in regressor._predictors]
        starts = np.cumsum([0, *map(len, nodes)])
        row = np.concatenate(nodes)
        places, offsets = np.arange(len(row)), np.repeat(starts[:-1], np.diff(starts))
        leaves, tensor = row["is_leaf"].astype(bool), torch.from_numpy
        children = [row[side].astype(np.int64) + offsets for side in ("left", "right")]
        self.left, self.right = (tensor(np.where(leaves, places, side)) for side in children)
        self.feature = tensor(np.where(leaves, 0, row["feature_idx"]).astype(np.int64))
        self.threshold = tensor(np.where(leaves, np.inf, row["num_threshold"]))
        self.starts, self.value = tensor(starts[:-1]), tensor(row["value"].copy())
        self.depth, self.base = int(row["depth"].max()), float(regressor._baseline_prediction[0, 0])

    def __call__(self, features: Tensor) -> Tensor:
        """Predict values ``[n]`` from features ``[n, F]``."""
        places = self.starts.expand(len(features), -1)
        for _ in range(self.depth):
            goes_left = features.gather(1, self.feature[places]) <= self.threshold[places]
            places = torch.where(goes_left, self.left[places], self.right[places])
        return self.base + self.value[places].sum(dim=1)


def fit_value_regression(
    features: Floats,
    values: Floats,
    recording_ids: Ints,
    least_tree_values: int = _LEAST_TREE_VALUES,
) -> ValueRegression:
    """Train a soft sensor on features and values of windows.

    Args:
        features: Features of the windows, ``[n, F]``.
        values: Finite values, ``[n]``.
        recording_ids: Recording of each value, ``[n]``.
        least_tree_values: Fewest values with which trees are fitted.

    Raises:
        DataError: There are fewer than ``LEAST_TRAINING_VALUES`` values, or fewer than two
            recordings.
    """
    recording_count = len(np.unique(recording_ids))
    if len(values) < LEAST_TRAINING_VALUES or recording_count < 2:
        raise DataError(
            f"values: {len(values)} of {recording_count} recordings, expected at least"
            f" {LEAST_TRAINING_VALUES} of two: without another recording nothing says how good"
            " a soft sensor is; give each day or batch a name of its own"
        )
    predictions = np.zeros((2, len(values)))
    with_trees = len(values) >= least_tree_values
    for train, test in GroupKFold(min(_MOST_FOLDS, recording_count)).split(
        features, values, recording_ids
    ):
        predictions[0, test] = (
            untrained_ridge().fit(features[train], values[train]).predict(features[test])
        )
        if with_trees:
            regressor = untrained_trees().fit(features[train], values[train])
            predictions[1, test] = regressor.predict(features[test])
    shares = _CANDIDATE_TREE_SHARES if with_trees else _CANDIDATE_TREE_SHARES[:1]
    averages = (1 - shares[:, None]) * predictions[0] + shares[:, None] * predictions[1]
    best = int(np.square(averages - values).mean(axis=1).argmin())
    scaler, regression = (step for _, step in untrained_ridge().fit(features, values).steps)
    weights, share = regression.coef_ / scaler.scale_, float(shares[best])
    return ValueRegression(
        ridge_weights=torch.from_numpy(weights),
        ridge_offset=float(regression.intercept_ - weights @ scaler.mean_),
        trees=BoostedTrees(untrained_trees().fit(features, values)) if share else None,
        tree_share=share,
        interval_half_width=conformal_half_width(np.abs(averages[best] - values), recording_ids),
        out_of_fold_predictions=averages[best],
    )


def conformal_half_width(absolute_residuals: Floats, recording_ids: Ints) -> float:
    """Return the conformal quantile of absolute residuals ``[n]`` at level ``INTERVAL_COVERAGE``.

    Every recording has the same weight; the new, unknown residual has the weight of one residual.
    """
    _, rows, counts = np.unique(recording_ids, return_inverse=True, return_counts=True)
    order = np.argsort(absolute_residuals)
    weights = (
        (1 / counts[rows] / len(counts))[order]
        * len(absolute_residuals)
        / (len(absolute_residuals) + 1)
    )
    place = int(np.searchsorted(np.cumsum(weights), INTERVAL_COVERAGE - 1e-12))
    return float(absolute_residuals[order[min(place, len(order) - 1)]])


class RegressionQuality(NamedTuple):
    """Quality of a soft sensor, in the unit of its values.

    Attributes:
        error: Root mean squared error.
        bias: Mean of predicted minus true values.
        r2: Coefficient of determination, without unit; NaN if all true values are equal.
    """

    error: float
    bias: float
    r2: float

    @classmethod
    def evaluate(cls, predictions: Floats, values: Floats) -> "RegressionQuality":
        """Return the quality of predictions ``[n]`` of true values ``[n]``."""
        errors = predictions - values
        spread = float(values.var())
        return cls(
            error=math.sqrt(float(np.square(errors).mean())),
            bias=float(errors.mean()),
            r2=1 - float(np.square(errors).mean()) / spread if spread else math.nan,
        )


@dataclass(frozen=True, slots=True, eq=False)
class AveragedSensor(SensorModel):
    """Average of a delivered soft sensor with models of the plant's values.

    It averages three predictions: the delivered one shifted by ``mean_residual``, the delivered one
    corrected by ``residual_model``, and that of ``local_model``.

    Attributes:
        mean_residual: Shrunken mean residual of the delivered soft sensor, unit of the values.
        residual_model: Model of the delivered soft sensor's residuals.
        local_model: Local-only model of the values.
        prediction_weights: Weights of the shifted, the corrected and the local-only predictions,
            ``[3]``.
        interval_half_width: Half of the width of an interval.
        out_of_fold_predictions: Predictions from fits without the value's recording, ``[n]``.
    """

    mean_residual: float
    residual_model: ValueRegression
    local_model: ValueRegression
    prediction_weights: Tensor
    interval_half_width: float
    out_of_fold_predictions: Floats

    def __call__(self, features: Tensor, delivered_values: Tensor) -> Tensor:
        """Predict values ``[n]`` by the average; arguments as for ``SensorModel``."""
        corrected_values = delivered_values + self.residual_model(features, delivered_values)
        local_values = self.local_model(features, delivered_values)
        parts = [delivered_values + self.mean_residual, corrected_values, local_values]
        return torch.stack(parts, dim=1) @ self.prediction_weights


def average_with_delivered(
    features: Floats, values: Floats, recording_ids: Ints, delivered_values: Floats
) -> AveragedSensor:
    """Average a delivered soft sensor with models that are fitted on a plant's values.

    Errors are those of ``fit_value_regression``.

    Args:
        features: Features of the windows, ``[n, F]``.
        values: Finite laboratory values, ``[n]``.
        recording_ids: Recording of each value, ``[n]``.
        delivered_values: Predictions of the delivered soft sensor, ``[n]``.
    """
    residuals = values - delivered_values
    local = fit_value_regression(features, values, recording_ids)
    correction = fit_value_regression(
        features, residuals, recording_ids, least_tree_values=len(values) + 1
    )
    rows = np.unique(recording_ids, return_inverse=True)[1]
    sums, counts = np.bincount(rows, residuals), np.bincount(rows)
    # Mean residuals without each recording
    shifts = (sums.sum() - sums) / (counts.sum() - counts + _ADDED_ZERO_RESIDUALS)
    shifted_values = delivered_values + shifts[rows]
    corrected_values = delivered_values + correction.out_of_fold_predictions
    parts = np.stack([shifted_values, corrected_values, local.out_of_fold_predictions])
    errors = np.square(parts - values).mean(axis=1) + _LEAST_RELATIVE_ERROR * values.var()
    errors[1:] *= 1 + (DOUBLED_ERROR_RECORDINGS / len(counts)) ** 2
    weights = 1 / np.square(errors)
    shares = weights / weights.sum()
    average = shares @ parts
    return AveragedSensor(
        mean_residual=float(sums.sum() / (len(values) + _ADDED_ZERO_RESIDUALS)),
        residual_model=correction,
        local_model=local,
        prediction_weights=torch.from_numpy(shares),
        interval_half_width=conformal_half_width(np.abs(average - values), recording_ids),
        out_of_fold_predictions=average,
    )


def untrained_ridge() -> Pipeline:
    """Return an untrained ridge regression on standardised features."""
    return make_pipeline(StandardScaler(), RidgeCV(_RIDGE_PENALTIES))


def untrained_trees() -> HistGradientBoostingRegressor:
    """Return untrained boosted regression trees."""
    return HistGradientBoostingRegressor(
        max_iter=100, learning_rate=0.1, min_samples_leaf=8, l2_regularization=1.0, random_state=0
    )
