"""What releases say of class means, counts and classes that are not there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_core.privacy import mechanism
from wg_core.privacy.schema import StatisticsSchema, default_schema
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics
from wg_server.generator.prior.site_statistics import site_evidence

D, K = 32, 5
LABELS = tuple(f"c{i}" for i in range(K))

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def make() -> StatisticsSchema:
    return default_schema(encoder="ab" * 32, dimension=D, labels=LABELS, clip_radius=1.0)


def records(per_class: int, seed: int = 0) -> tuple[Floats, Ints]:
    """Unit vectors about a common mean of .85, as an encoder gives them."""
    rng = np.random.default_rng((1, seed))
    mean = rng.normal(size=D)
    classes = 0.85 * mean / np.linalg.norm(mean) + 0.25 * rng.normal(size=(K, D)) / D**0.5
    y = np.arange(K).repeat(per_class)
    x = classes[y] + 0.4 * rng.normal(size=(len(y), D)) / D**0.5
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


def test_without_noise_class_means_are_read_as_they_are() -> None:
    x, y = records(50)
    exact = np.stack([x[y == c].mean(axis=0) for c in range(K)])
    found = simulate_noisy_statistics(make(), x, y, 0.0, np.random.default_rng(0))
    read = site_evidence(found, LABELS)
    assert np.abs(read.means - exact).max() < 0.02  # some records are clipped
    assert read.overall_mean == pytest.approx(x.mean(axis=0), abs=1e-3)
    assert read.record_counts.tolist() == [50.0] * K


def test_records_without_a_label_do_not_count_as_records_of_classes() -> None:
    x, y = records(220)
    y = np.where(np.arange(len(y)) % 220 < 20, y, -1)  # 20 with a label, 200 without
    schema = make()
    sigma = mechanism.noise_scale(schema, 8.0, 1e-5)
    for seed in range(5):
        found = simulate_noisy_statistics(schema, x, y, sigma, np.random.default_rng(seed))
        read = site_evidence(found, LABELS)
        assert 12 < read.record_counts.mean() < 30
        assert 700 < read.overall_record_count < 1500


def test_a_class_without_records_is_noticed() -> None:
    x, y = records(100)
    x, y = x[y != 2], y[y != 2]
    schema = make()
    sigma = mechanism.noise_scale(schema, 4.0, 1e-5)
    for seed in range(5):
        found = simulate_noisy_statistics(schema, x, y, sigma, np.random.default_rng(seed))
        present = site_evidence(found, LABELS).presence_probabilities
        assert present[2] < 0.1 < 0.9 < np.delete(present, 2).min()


def test_the_stated_noise_is_the_error_of_class_means_where_counts_are_good() -> None:
    x, y = records(1000)
    schema = make()
    sigma = mechanism.noise_scale(schema, 2.0, 1e-5)
    reads = [
        site_evidence(
            simulate_noisy_statistics(schema, x, y, sigma, np.random.default_rng(s)), LABELS
        )
        for s in range(60)
    ]
    spread = np.stack([read.means for read in reads]).var(axis=0).mean(axis=1)
    stated = np.mean([read.noise_variances for read in reads], axis=0)
    # 60 draws of 32 entries: 3 %; what clipping and counts add is small against the noise.
    assert spread == pytest.approx(stated, rel=0.25)
