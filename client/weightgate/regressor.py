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
from wg_client.fitting.numbers import Judgement, NumberModel
from wg_client.models import novelty
from wg_client.models.novelty import NEW, Novelty
from wg_core.errors import DataError

_WINDOW_AXES = 3


class Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """See the module.

    Attributes:
        n_features_in_: Number of features; of features only.
        model_: The learnt model, once ``fit`` was called.
        judgement_: Error, bias and R² of recordings that had no part in what told them.
        novelty_: Likeness of hours to those that were learnt from.
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
            features, values = numbers.lagged(X), np.asarray(y, np.float64)
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
        rows = np.isfinite(values)
        groups = np.unique(names[rows], return_inverse=True)[1]
        self.model_: NumberModel = numbers.fit(features[rows], values[rows], groups)
        self.judgement_ = Judgement.of(self.model_.out_of_fold, values[rows])
        unlabelled = np.full(len(groups), -1, np.int64)
        self.novelty_: Novelty | None = novelty.fit(features[rows], unlabelled)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Values ``[n]``."""
        features = self._features(X)
        return self.model_.predict(features)

    def predict_interval(self, X: ArrayLike) -> NDArray[np.float64]:
        """Lower and upper ends ``[n, 2]`` of intervals that hold nine values in ten."""
        values, width = self.predict(X), self.model_.half_width
        return np.stack([values - width, values + width], axis=1)

    def outside(self, X: ArrayLike) -> NDArray[np.bool_]:
        """Tell windows that are unlike all that was learnt, ``[n]``: believe no value there."""
        features = self._features(X)
        if self.novelty_ is None:
            return np.zeros(len(features), np.bool_)
        return np.asarray(self.novelty_.likeness(features) <= NEW)

    def _features(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self, "model_")
        if _are_windows(X):
            features = numbers.lagged(X)
            expected = self.model_.ridge.n_features_in_
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
