"""Soft sensor with scikit-learn's interface, trained on the plant's laboratory values.

``X`` is windows ``[n, channels, samples]``, or features ``[n, d]``. The model is local-only:
nothing leaves, nothing is charged, and no home is needed. The algorithm is in
``wg_client.fitting.sensor_models``.
"""

from typing import Any, Self, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from wg_client.fitting import sensor_models
from wg_client.fitting.sensor_models import RegressionQuality
from wg_client.models import soft_sensor
from wg_client.models.soft_sensor import SoftSensor
from wg_core.errors import DataError


class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """Scikit-learn regressor on sensor windows or their features.

    Attributes:
        n_features_in_: Number of features; set only if ``X`` is features.
        sensor_: The trained soft sensor; set by ``fit``.
        judgement_: Error, bias and R² on recordings that were held out from training.
    """

    def fit(self, X: ArrayLike, y: ArrayLike, recording_ids: ArrayLike | None = None) -> Self:
        """Train the soft sensor on windows, or on features, with laboratory values.

        Args:
            X: Windows ``[n, channels, samples]``, or features ``[n, d]``.
            y: Values ``[n]``; for windows, NaN where there is no value.
            recording_ids: Day, batch or recording of each row, ``[n]``; required for windows. Error
                and intervals are measured on recordings that were held out from training.

        Raises:
            DataError: Windows have gaps or no recordings, or there are too few values.
        """
        if _are_windows(X):
            features, values = sensor_models.lagged_signals(X), np.asarray(y, np.float64)
            if recording_ids is None:
                raise DataError(
                    "recordings: None, expected the day, batch or recording of each window:"
                    " neighbouring hours are alike, and would say that any soft sensor is good"
                )
        else:
            features, values = validate_data(
                self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=5
            )
        self._width: int = features.shape[1]
        names = np.arange(len(features)) if recording_ids is None else np.asarray(recording_ids)
        if values.shape != (len(features),) or names.shape != values.shape:
            raise DataError(
                f"y: {values.shape}, recordings: {names.shape}; expected one value and one"
                f" recording for each of {len(features)} windows, NaN where there is no value"
            )
        self.sensor_: SoftSensor = soft_sensor.train_soft_sensor(features, values, names)
        self.judgement_: RegressionQuality = self.sensor_.quality_by_model[sensor_models.LOCAL_NAME]
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the values that the soft sensor predicts, ``[n]``."""
        features = self._compute_features(X)
        return self.sensor_.estimate(features).values

    def predict_interval(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return lower and upper ends ``[n, 2]`` of intervals that cover 90 % of values."""
        estimates = self.sensor_.estimate(self._compute_features(X))
        return np.stack([estimates.lower, estimates.upper], axis=1)

    def outside(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Return a mask ``[n]`` of rows unlike all training data: do not trust their values."""
        return self.sensor_.estimate(self._compute_features(X)).unlike_mask

    def _compute_features(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "sensor_")
        if _are_windows(X):
            features = sensor_models.lagged_signals(X)
            if features.shape[1] != self._width:
                raise DataError(
                    f"X: {features.shape[1]} lagged signals, expected {self._width}: windows have"
                    " other channels, or other lengths, than those that were learnt from"
                )
            return features
        out: NDArray[np.float64] = validate_data(self, X, dtype=np.float64, reset=False)
        return out


def _are_windows(X: object) -> TypeGuard[NDArray[np.floating]]:
    return isinstance(X, np.ndarray) and X.ndim == 3
