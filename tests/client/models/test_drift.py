"""Tests of drift: false alarms as promised, drift found."""

from __future__ import annotations

import numpy as np
import pytest

from wg_client.models import drift


def _features(rng: np.random.Generator, count: int) -> np.ndarray:
    """Features that depend on each other and have heavy tails."""
    mixed = rng.standard_t(4, (count, 6)) @ np.random.default_rng(0).normal(size=(6, 12))
    return mixed + rng.normal(size=(count, 12))


def test_without_drift_small_p_values_are_as_rare_as_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drift, "PERMUTATION_COUNT", 199)
    rng = np.random.default_rng(1)
    found = [
        drift.test_for_shift(_features(rng, 40), _features(rng, 15), 0.05, rng).p
        for _ in range(200)
    ]
    assert np.mean(np.array(found) <= 0.1) < 0.17 and np.mean(np.array(found) <= 0.5) > 0.35


def test_a_mean_and_a_spread_that_move_are_found() -> None:
    rng = np.random.default_rng(2)
    frozen, new = _features(rng, 100), _features(rng, 40)
    new[:, 3] += 4.0
    found = drift.test_for_shift(frozen, new, 0.01, rng)
    assert (
        found.p == 1 / (drift.PERMUTATION_COUNT + 1) and found.means == 1 and found.compared == 140
    )
    new = _features(rng, 40)
    new[:, 5] *= 4.0
    found = drift.test_for_shift(frozen, new, 0.01, rng)
    assert found.p < 0.01 and found.spreads >= 1 and found.means == 0


def test_constant_features_are_no_drift() -> None:
    zeros = np.zeros((10, 3))
    assert drift.test_for_shift(zeros, zeros, 0.01, np.random.default_rng(0)).p == 1.0


def test_so_many_new_records_are_as_likely_as_conformal_values_say() -> None:
    rng = np.random.default_rng(3)
    calibration, of, share = 99, 30, 0.05
    counts = []
    for _ in range(2000):
        scores = rng.normal(size=calibration + of)
        own, late = np.sort(scores[:calibration]), scores[calibration:]
        at_least = calibration - np.searchsorted(own, late, side="left")
        counts.append(int(((at_least + 1) / (calibration + 1) <= share).sum()))
    for count in (1, 3, 5):
        told = drift.new_record_p_value(count, of, share, calibration)
        assert np.mean(np.array(counts) >= count) == pytest.approx(told, abs=0.03)
    assert drift.new_record_p_value(3, 30, share, 10) == 1.0  # ten records can call none new
