"""What releases of both versions say of class means, counts and classes that are not there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_common.privacy import mechanism
from wg_common.privacy.schema import Moments, StatisticsSchema, default_schema
from wg_common.privacy.simulate import simulate_statistics
from wg_server.generator.prior.site_statistics import site_evidence

D, K = 32, 5
LABELS = tuple(f"c{i}" for i in range(K))
BOTH: tuple[Moments, ...] = ("diagonal", "centre")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def make(moments: Moments) -> StatisticsSchema:
    return default_schema(
        encoder="ab", dimension=D, labels=LABELS, clip_radius=1.0, moments=moments
    )


def records(per_class: int, seed: int = 0) -> tuple[Floats, Ints]:
    """Unit vectors about a common mean of .85, as an encoder gives them."""
    rng = np.random.default_rng((1, seed))
    mean = rng.normal(size=D)
    classes = 0.85 * mean / np.linalg.norm(mean) + 0.25 * rng.normal(size=(K, D)) / D**0.5
    y = np.arange(K).repeat(per_class)
    x = classes[y] + 0.4 * rng.normal(size=(len(y), D)) / D**0.5
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


def error(moments: Moments, per_class: int, epsilon: float, seed: int) -> float:
    """Mean squared error of class means as read."""
    x, y = records(per_class, seed)
    schema = make(moments)
    sigma = mechanism.sigma_for(schema, epsilon, 1e-5)
    found = simulate_statistics(schema, x, y, sigma, np.random.default_rng((2, seed)))
    exact = np.stack([x[y == c].mean(axis=0) for c in range(K)])
    return float(np.square(site_evidence(found, LABELS).means - exact).sum(axis=1).mean())


@pytest.mark.parametrize(("per_class", "epsilon"), [(20, 1.0), (20, 4.0), (100, 1.0), (100, 4.0)])
def test_a_centred_release_gives_better_class_means_at_one_price(
    per_class: int, epsilon: float
) -> None:
    # Sums over 20 releases, of which most have a share below .5.
    plain, centred = (
        sum(error(moments, per_class, epsilon, seed) for seed in range(20)) for moments in BOTH
    )
    assert centred < 0.7 * plain


def test_both_versions_are_read_for_the_same_means() -> None:
    x, y = records(50)
    exact = np.stack([x[y == c].mean(axis=0) for c in range(K)])
    for moments, tolerance in (("diagonal", 1e-3), ("centre", 0.02)):  # some records are clipped
        schema = make(moments)  # type: ignore[arg-type]
        found = simulate_statistics(schema, x, y, 0.0, np.random.default_rng(0))
        read = site_evidence(found, LABELS)
        assert np.abs(read.means - exact).max() < tolerance
        assert read.domain == pytest.approx(x.mean(axis=0), abs=1e-3)
        assert read.counts.tolist() == [50.0] * K


@pytest.mark.parametrize("moments", BOTH)
def test_records_without_a_label_do_not_count_as_records_of_classes(moments: Moments) -> None:
    x, y = records(220)
    y = np.where(np.arange(len(y)) % 220 < 20, y, -1)  # 20 with a label, 200 without
    schema = make(moments)
    sigma = mechanism.sigma_for(schema, 8.0, 1e-5)
    for seed in range(5):
        found = simulate_statistics(schema, x, y, sigma, np.random.default_rng(seed))
        read = site_evidence(found, LABELS)
        assert 12 < read.counts.mean() < 30
        assert 700 < read.domain_count < 1500


@pytest.mark.parametrize("moments", BOTH)
def test_a_class_without_records_is_noticed(moments: Moments) -> None:
    x, y = records(100)
    x, y = x[y != 2], y[y != 2]
    schema = make(moments)
    sigma = mechanism.sigma_for(schema, 4.0, 1e-5)
    for seed in range(5):
        found = simulate_statistics(schema, x, y, sigma, np.random.default_rng(seed))
        present = site_evidence(found, LABELS).present
        assert present[2] < 0.1 < 0.9 < np.delete(present, 2).min()


def test_the_stated_noise_is_the_error_of_class_means_where_counts_are_good() -> None:
    x, y = records(1000)
    schema = make("centre")
    sigma = mechanism.sigma_for(schema, 2.0, 1e-5)
    reads = [
        site_evidence(simulate_statistics(schema, x, y, sigma, np.random.default_rng(s)), LABELS)
        for s in range(60)
    ]
    spread = np.stack([read.means for read in reads]).var(axis=0).mean(axis=1)
    stated = np.mean([read.noise for read in reads], axis=0)
    # 60 draws of 32 entries: 3 %; what clipping and counts add is small against the noise.
    assert spread == pytest.approx(stated, rel=0.25)
