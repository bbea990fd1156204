"""The statistic of a machine: what a release gives, its noise, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wg_core.errors import DecodeError
from wg_core.privacy import mechanism
from wg_core.privacy.schema import MACHINE_DIMENSION, machine_schema
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics
from wg_server.generator.weights import machine_statistic
from wg_server.generator.weights.machine_statistic import RELEASE_DELTA, MachineStatistic

SCHEMA = machine_schema("ab" * 32, "record")


def numbers(count: int) -> NDArray[np.float64]:
    drawn = np.random.default_rng(0).normal(size=(count, MACHINE_DIMENSION)) + 0.3
    lengths: NDArray[np.float64] = np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn / lengths


def test_an_exact_release_gives_the_exact_mean() -> None:
    rows = numbers(200)
    release = simulate_noisy_statistics(
        SCHEMA, rows, np.full(200, -1), 0.0, np.random.default_rng(1)
    )
    statistic = machine_statistic.statistic_from_release(release)
    assert (
        statistic is not None and statistic.record_count == 200 and statistic.noise_deviation == 0
    )
    np.testing.assert_allclose(statistic.mean, rows.mean(axis=0), atol=1e-3)


def test_the_mean_is_off_by_the_noise_that_is_stated() -> None:
    """Means of 40 releases of 300 records: 1,280 errors, and a bound that fails once in 10,000."""
    rows, rng = numbers(300), np.random.default_rng(2)
    sigma = mechanism.noise_scale(SCHEMA, 1.0, RELEASE_DELTA)
    errors = []
    for _ in range(40):
        release = simulate_noisy_statistics(SCHEMA, rows, np.full(300, -1), sigma, rng)
        statistic = machine_statistic.statistic_from_release(release)
        assert statistic is not None
        # The noise of the count scales the mean as a whole.
        scale = statistic.record_count / 300
        errors.append(
            (statistic.mean * scale - rows.mean(axis=0)) / (statistic.noise_deviation * scale)
        )
    assert abs(np.std(errors) - 1) < 4 / math.sqrt(2 * 1280)


def test_training_draws_the_noise_of_releases() -> None:
    sigma = mechanism.noise_scale(SCHEMA, 4.0, RELEASE_DELTA)
    release = simulate_noisy_statistics(
        SCHEMA, numbers(100), np.full(100, -1), sigma, np.random.default_rng(0)
    )
    assert machine_statistic.sum_and_count_noise_deviations(4.0) == pytest.approx(
        (release.moment_std, release.count_std)
    )
    count, means = 4000, torch.full((4000, MACHINE_DIMENSION), 0.1)
    noises = torch.tensor(machine_statistic.sum_and_count_noise_deviations(4.0)).expand(count, 2)
    drawn = machine_statistic.simulate_releases(
        means, torch.full((count,), 200.0), noises, torch.Generator().manual_seed(0)
    )
    ratio = ((drawn.means - means).std() / drawn.noise_deviations.mean()).item()
    assert 1 < ratio < 1.1, "the count's noise adds a little"
    exact = machine_statistic.simulate_releases(
        means, torch.full((count,), 200.0), torch.zeros(count, 2), torch.Generator()
    )
    torch.testing.assert_close(exact.means, means)
    assert not exact.noise_deviations.any() and exact.presence_mask.all()


def test_a_release_without_a_record_gives_none() -> None:
    release = simulate_noisy_statistics(
        SCHEMA, np.zeros((0, MACHINE_DIMENSION)), np.zeros(0, int), 0.0, np.random.default_rng(0)
    )
    assert machine_statistic.statistic_from_release(release) is None


@pytest.mark.parametrize(
    ("mean", "noise", "records"),
    [
        (np.zeros(MACHINE_DIMENSION - 1), 0.1, 300.0),
        (np.full(MACHINE_DIMENSION, np.nan), 0.1, 300.0),
        (np.zeros(MACHINE_DIMENSION), -0.1, 300.0),
        (np.zeros(MACHINE_DIMENSION), math.inf, 300.0),
        (np.zeros(MACHINE_DIMENSION), 0.1, 0.0),
    ],
)
def test_a_statistic_that_no_records_have_is_refused(
    mean: NDArray[np.float64], noise: float, records: float
) -> None:
    with pytest.raises(DecodeError, match="machine statistic"):
        MachineStatistic(mean, noise, records)
