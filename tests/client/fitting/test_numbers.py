"""Local-only soft sensors: recordings apart, intervals that hold, a rule that keeps."""

from __future__ import annotations

import numpy as np
import pytest

from wg_client.fitting import numbers
from wg_client.fitting.numbers import Judgement, choose, half_width
from wg_core.errors import DataError

RNG = np.random.default_rng(1)


def _windows(
    count: int, rng: np.random.Generator
) -> tuple[numbers.Floats, numbers.Floats, numbers.Ints]:
    """Windows of two channels, a value, and recordings of ten."""
    level = rng.normal(size=(count, 2, 1))
    windows = level + 0.1 * rng.normal(size=(count, 2, 12))
    return windows, 3 * level[:, 0, 0] - level[:, 1, 0] + 5, np.arange(count, dtype=np.int64) // 10


@pytest.mark.parametrize("count", [20, 60])
def test_values_of_new_recordings_are_told_and_intervals_hold(count: int) -> None:
    windows, values, recordings = _windows(count, RNG)
    model = numbers.fit(numbers.lag_signals(windows), values, recordings)
    assert (model.trees is None) == (count < 40)
    new, truths, _ = _windows(400, RNG)
    predictions = model.predict(numbers.lag_signals(new))
    assert Judgement.of(predictions, truths).r2 > 0.97
    assert np.mean(np.abs(predictions - truths) <= model.half_width) > 0.8


def test_a_window_shorter_than_its_parts_is_read() -> None:
    assert numbers.lag_signals(np.ones((3, 2, 2))).shape == (3, 8)


@pytest.mark.parametrize("bad", [np.ones((3, 4)), np.full((2, 1, 4), np.nan), np.ones((2, 0, 4))])
def test_windows_with_gaps_are_refused(bad: numbers.Floats) -> None:
    with pytest.raises(DataError, match="leave out windows with gaps"):
        numbers.lag_signals(bad)


@pytest.mark.parametrize(("count", "recordings"), [(4, [0, 1, 0, 1]), (6, [0] * 6)])
def test_too_few_values_are_refused(count: int, recordings: list[int]) -> None:
    with pytest.raises(DataError, match="expected at least 5 of two"):
        numbers.fit(np.ones((count, 2)), np.linspace(0, 1, count), np.array(recordings))


def test_a_loud_recording_of_many_hours_does_not_rule_the_intervals() -> None:
    residuals = np.concatenate([np.full(900, 10.0), np.full(90, 1.0)])
    recordings = np.concatenate([np.zeros(900, np.int64), 1 + np.arange(90) % 18])
    assert half_width(residuals, recordings) == 1.0


def test_half_widths_hold_nine_in_ten_of_what_is_new() -> None:
    inside = []
    for _ in range(200):
        residuals = np.abs(RNG.normal(size=(31, 1)))[:, 0]
        inside.append(residuals[-1] <= half_width(residuals[:-1], np.arange(30)))
    assert 0.84 < np.mean(inside) < 0.97


def _choice(delivered_error: float, bias: float = 0.0) -> str:
    """What is kept of 40 values of 20 days that features say with an error of .3."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=40)
    features = np.stack([values + 0.3 * rng.normal(size=40), rng.normal(size=40)], axis=1)
    delivered = values + bias + delivered_error * rng.normal(size=40)
    choice = choose(features, values, np.arange(40) // 2, delivered)
    assert choice.predict(features, delivered).shape == (40,)
    assert choice.half_width == half_width(np.abs(choice.out_of_fold - values), np.arange(40) // 2)
    return choice.name


def test_what_was_delivered_stays_unless_it_is_worse() -> None:
    assert _choice(0.1) == "delivered"
    assert _choice(0.05, bias=1.0) == "corrected"
    assert _choice(3.0) == "local-only"
