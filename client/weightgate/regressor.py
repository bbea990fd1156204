"""A soft sensor in scikit-learn's manner: the plant's own, from its laboratory's values.

Windows ``[n, channels, samples]`` go in, or features ``[n, d]``. It is local-only: nothing leaves,
nothing is charged, and no home is needed. How it learns stands in ``wg_client.fitting.numbers``.
"""

from typing import Any, Self, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from wg_client.fitting import numbers
from wg_client.fitting.numbers import Judgement
from wg_client.models import soft_sensor
from wg_client.models.soft_sensor import SoftSensor
from wg_core.errors import DataError

_WINDOW_AXES = 3


class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """See the module.

    Attributes:
        n_features_in_: Number of features; of features only.
        sensor_: The learnt soft sensor, once ``fit`` was called.
        judgement_: Error, bias and R² of recordings that had no part in what told them.
    """

    def fit(self, X: ArrayLike, y: ArrayLike, recordings: ArrayLike | None = None) -> Self:
        """Learn a number.

        Args:
            X: Windows ``[n, channels, samples]``, or features ``[n, d]``.
            y: Values ``[n]``; of windows NaN where there is none.
            recordings: Day, batch or recording of each, ``[n]``; windows need them. Error and
                intervals are those of recordings that were not learnt from.

        Raises:
            DataError: Windows have gaps or no recordings, or there are too few values.
        """
        if _are_windows(X):
            features, values = numbers.lag_signals(X), np.asarray(y, np.float64)
            if recordings is None:
                raise DataError(
                    "recordings: None, expected the day, batch or recording of each window:"
                    " neighbouring hours are alike, and would say that any soft sensor is good"
                )
        else:
            features, values = validate_data(
                self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=5
            )
        names = np.arange(len(features)) if recordings is None else np.asarray(recordings)
        if values.shape != (len(features),) or names.shape != values.shape:
            raise DataError(
                f"y: {values.shape}, recordings: {names.shape}; expected one value and one"
                f" recording for each of {len(features)} windows, NaN where there is no value"
            )
        self.sensor_: SoftSensor = soft_sensor.learn(features, values, names)
        self.judgement_: Judgement = self.sensor_.judgement
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Values ``[n]``."""
        features = self._features(X)
        return self.sensor_.model.predict(features)

    def predict_interval(self, X: ArrayLike) -> NDArray[np.float64]:
        """Lower and upper ends ``[n, 2]`` of intervals that hold nine values in ten."""
        estimates = self.sensor_.estimates(self._features(X))
        return np.stack([estimates.lower, estimates.upper], axis=1)

    def outside(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Tell windows that are unlike all that was learnt, ``[n]``: believe no value there."""
        return self.sensor_.estimates(self._features(X)).unlike

    def _features(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "sensor_")
        if _are_windows(X):
            features = numbers.lag_signals(X)
            expected = self.sensor_.model.ridge.n_features_in_
            if features.shape[1] != expected:
                raise DataError(
                    f"X: {features.shape[1]} lagged signals, expected {expected}: windows have"
                    " other channels, or other lengths, than those that were learnt from"
                )
            return features
        out: NDArray[np.float64] = validate_data(self, X, dtype=np.float64, reset=False)
        return out


def _are_windows(X: object) -> TypeGuard[NDArray[np.floating]]:
    return isinstance(X, np.ndarray) and X.ndim == _WINDOW_AXES
