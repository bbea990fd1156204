"""Local-only soft sensors: recordings apart, intervals that hold, a rule that keeps."""

from __future__ import annotations

import numpy as np
import pytest

from wg_client.fitting import sensor_models
from wg_client.fitting.sensor_models import (
    RegressionQuality,
    average_with_delivered,
    conformal_half_width,
)
from wg_core.errors import DataError

RNG = np.random.default_rng(1)


def _windows(
    count: int, rng: np.random.Generator
) -> tuple[sensor_models.Floats, sensor_models.Floats, sensor_models.Ints]:
    """Windows of two channels, a value, and recordings of ten."""
    level = rng.normal(size=(count, 2, 1))
    windows = level + 0.1 * rng.normal(size=(count, 2, 12))
    return windows, 3 * level[:, 0, 0] - level[:, 1, 0] + 5, np.arange(count, dtype=np.int64) // 10


@pytest.mark.parametrize("count", [20, 60])
def test_values_of_new_recordings_are_told_and_intervals_hold(count: int) -> None:
    windows, values, recordings = _windows(count, RNG)
    model = sensor_models.fit_value_regression(
        sensor_models.lagged_signals(windows), values, recordings
    )
    assert model.trees is None or count >= 40
    new, truths, _ = _windows(400, RNG)
    predictions = model.predict(sensor_models.lagged_signals(new), np.zeros(400))
    assert RegressionQuality.evaluate(predictions, truths).r2 > 0.97
    assert np.mean(np.abs(predictions - truths) <= model.interval_half_width) > 0.8


def test_a_window_shorter_than_its_parts_is_read() -> None:
    assert sensor_models.lagged_signals(np.ones((3, 2, 2))).shape == (3, 8)


@pytest.mark.parametrize("bad", [np.ones((3, 4)), np.full((2, 1, 4), np.nan), np.ones((2, 0, 4))])
def test_windows_with_gaps_are_refused(bad: sensor_models.Floats) -> None:
    with pytest.raises(DataError, match="leave out windows with gaps"):
        sensor_models.lagged_signals(bad)


@pytest.mark.parametrize(("count", "recordings"), [(4, [0, 1, 0, 1]), (6, [0] * 6)])
def test_too_few_values_are_refused(count: int, recordings: list[int]) -> None:
    with pytest.raises(DataError, match="expected at least 5 of two"):
        sensor_models.fit_value_regression(
            np.ones((count, 2)), np.linspace(0, 1, count), np.array(recordings)
        )


def test_a_loud_recording_of_many_hours_does_not_rule_the_intervals() -> None:
    residuals = np.concatenate([np.full(900, 10.0), np.full(90, 1.0)])
    recordings = np.concatenate([np.zeros(900, np.int64), 1 + np.arange(90) % 18])
    assert conformal_half_width(residuals, recordings) == 1.0


def test_half_widths_hold_nine_in_ten_of_what_is_new() -> None:
    inside = []
    for _ in range(200):
        residuals = np.abs(RNG.normal(size=(31, 1)))[:, 0]
        inside.append(residuals[-1] <= conformal_half_width(residuals[:-1], np.arange(30)))
    assert 0.84 < np.mean(inside) < 0.97


def _shares(delivered_error: float, bias: float = 0.0, count: int = 40) -> list[float]:
    """Shares of what is kept of values of two a day that features say with an error of .3."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=count)
    features = np.stack([values + 0.3 * rng.normal(size=count), rng.normal(size=count)], axis=1)
    delivered = values + bias + delivered_error * rng.normal(size=count)
    days = np.arange(count) // 2
    average = average_with_delivered(features, values, days, delivered)
    assert average.predict(features, delivered).shape == (count,)
    assert average.interval_half_width == conformal_half_width(
        np.abs(average.out_of_fold_predictions - values), days
    )
    return [float(share) for share in average.prediction_weights]


def test_what_has_least_error_has_the_largest_share() -> None:
    assert _shares(0.1)[2] < 0.1
    assert _shares(0.05, bias=1.0)[2] < 0.05
    assert _shares(3.0)[2] > 0.9


def test_six_values_leave_what_was_delivered_unless_it_is_far_off() -> None:
    assert _shares(0.2, count=6)[0] > 0.5
    assert _shares(30.0, count=6)[0] < 0.2
