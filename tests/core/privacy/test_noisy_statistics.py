"""Noisy statistics: without noise they are the data set's own, and the stated noise is the real."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_core.errors import DecodeError
from wg_core.privacy import class_centres
from wg_core.privacy.exact_statistics import exact_statistics
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import StatisticsSchema, default_schema
from wg_server.generator.evaluation.simulated_release import (
    add_simulated_noise,
    simulate_noisy_statistics,
)

D, N, R = 6, 40, 3.0


def make(labels: tuple[str, ...] = ("a", "b")) -> StatisticsSchema:
    return default_schema(encoder="ab" * 32, dimension=D, labels=labels, clip_radius=R)


def data(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D))
    x *= np.minimum(1, R / np.linalg.norm(x, axis=1, keepdims=True))
    return x, rng.integers(-1, 2, N)


def test_without_noise_statistics_are_those_of_the_data() -> None:
    x, y = data()
    schema = make()
    found = simulate_noisy_statistics(schema, x, y, 0.0, np.random.default_rng(0))
    tolerance = N * R * 2 / schema.radius_grid_units
    assert found.counts().tolist() == [(y == 0).sum(), (y == 1).sum()]
    assert found.unlabelled_count() == (y == -1).sum()
    u = x - found.centre()
    u *= np.minimum(1, found.sum_radius / np.linalg.norm(u, axis=1, keepdims=True))
    sums = np.stack([u[y == k].sum(axis=0) for k in range(2)])
    assert np.allclose(found.sums(), sums, atol=tolerance)
    assert np.allclose(found.moments(), x.sum(axis=0), atol=tolerance)


def test_the_stated_noise_is_the_noise_on_each_part() -> None:
    # 400 draws: a standard deviation is within 5 * 3.5 % of its value but for 1 in 10^6.
    schema = make()
    x, y = data()
    rng = np.random.default_rng(1)
    sigma = 1e6  # there is a centre, and another each time
    draws = [simulate_noisy_statistics(schema, x, y, sigma, rng) for _ in range(400)]
    assert len({d.sum_radius for d in draws}) > 50
    for part, std in (("counts", "count_std"), ("sums", "sum_std"), ("moments", "moment_std")):
        scaled = np.stack(
            [
                (getattr(d, part)() - getattr(exact_for(d, x, y), part)()) / getattr(d, std)
                for d in draws
            ]
        )
        assert np.std(scaled, axis=0) == pytest.approx(1.0, rel=0.18)


def exact_for(
    draw: NoisyStatistics, x: NDArray[np.float64], y: NDArray[np.int64]
) -> NoisyStatistics:
    """What a release had been without noise on anything but what its centre was found from."""
    about = class_centres.centre_of_release(draw.schema, draw.integers, draw.sigma)
    clean = NoisyStatistics(
        draw.schema, exact_statistics(draw.schema, x, y, centre=about), draw.sigma
    )
    vars(clean)["_release_centre"] = about
    return clean


def test_without_labels_there_are_no_sums() -> None:
    schema = make(labels=())
    x, _ = data()
    found = NoisyStatistics(schema, exact_statistics(schema, x, np.full(N, -1)), 1.0)
    assert found.counts().shape == (0,)
    assert found.sums().shape == (0, D)
    assert found.sum_std == 0.0
    assert found.unlabelled_count() == pytest.approx(N)


def test_integers_of_another_shape_or_type_are_refused() -> None:
    schema = make()
    good = np.zeros(schema.vector_length, dtype=np.int64)
    for integers in (good[:-1], good.astype(np.float64), good[:, None]):
        with pytest.raises(DecodeError, match="statistics"):
            NoisyStatistics(schema, integers, 1.0)  # type: ignore[arg-type]
    for sigma in (-1.0, np.inf, np.nan):
        with pytest.raises(DecodeError, match="sigma"):
            NoisyStatistics(schema, good, sigma)


def test_a_simulated_release_is_replayed_by_its_seed() -> None:
    exact = np.arange(50, dtype=np.int64)
    one = add_simulated_noise(exact, 100.0, np.random.default_rng(3))
    again = add_simulated_noise(exact, 100.0, np.random.default_rng(3))
    assert np.array_equal(one, again)
    assert one.dtype == np.int64
