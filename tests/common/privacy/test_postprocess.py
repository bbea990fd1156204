"""Known-noise estimates are less biased and closer to the truth than the naive ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wg_common.privacy import postprocess


@given(hnp.arrays(np.float64, 5, elements=st.floats(-1e6, 1e6)), st.floats(1e-3, 1e4))
def test_counts_become_positive_and_keep_their_order(counts: object, std: float) -> None:
    noisy = np.sort(np.asarray(counts, dtype=np.float64))
    found = postprocess.positive_counts(noisy, std)
    assert np.all(found > 0)
    assert np.all(np.diff(found) >= -1e-6 * (std + np.abs(noisy[1:])))
    assert np.all(found >= noisy - 1e-9 * np.abs(noisy))


def test_positive_counts_are_the_truncated_gaussians_mean() -> None:
    # By quadrature over the posterior.
    grid = np.linspace(0, 60, 600_001)
    for x in (-12.0, -2.0, 0.0, 3.0, 20.0):
        weight = np.exp(-((grid - x) ** 2) / 8)
        weight[0] /= 2
        expected = float((grid * weight).sum() / weight.sum())
        found = postprocess.positive_counts(np.array([x]), 2.0)[0]
        assert found == pytest.approx(expected, rel=1e-4)


def test_counts_without_noise_are_only_floored() -> None:
    assert postprocess.positive_counts(np.array([-1.0, 4.0]), 0.0).tolist() == [0.0, 4.0]


def test_the_squared_norm_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=30)
    noisy = truth + rng.normal(0, 0.5, size=(20_000, 30))
    found = postprocess.squared_norm(noisy, 0.5)
    # Standard error about 0.04 here.
    assert found.mean() == pytest.approx((truth**2).sum(), abs=0.2)
    assert (noisy**2).sum(axis=1).mean() - (truth**2).sum() == pytest.approx(7.5, abs=0.3)


def test_class_means_state_their_noise_and_survive_empty_classes() -> None:
    sums = np.array([[10.0, 20.0], [1.0, 1.0], [0.0, 0.0]])
    means, variance = postprocess.class_means(sums, 2.0, np.array([10.0, 1.0, 0.0]), 0.0)
    assert means.tolist() == [[1.0, 2.0], [1.0, 1.0], [0.0, 0.0]]
    assert variance.tolist() == [pytest.approx(0.04), 4.0, math.inf]


def test_shrinking_by_the_known_noise_lowers_the_error() -> None:
    rng = np.random.default_rng(1)
    centre = rng.normal(size=16)
    truth = centre + rng.normal(0, 0.5, size=(12, 16))
    noise = np.linspace(0.2, 2.0, 12) ** 2
    noisy = truth + rng.normal(size=truth.shape) * np.sqrt(noise)[:, None]
    found = postprocess.shrink(noisy, noise, centre, postprocess.spread(noisy, noise, centre))
    assert np.square(found - truth).sum() < 0.5 * np.square(noisy - truth).sum()


def test_the_spread_is_found_under_noise() -> None:
    rng = np.random.default_rng(2)
    noise = rng.uniform(0.5, 2.0, 400)
    truth = rng.normal(0, 0.7, size=(400, 20))
    noisy = truth + rng.normal(size=truth.shape) * np.sqrt(noise)[:, None]
    found = postprocess.spread(noisy, noise, np.zeros(20))
    assert found == pytest.approx(0.49, abs=0.1)


def test_the_spread_of_pure_noise_or_of_nothing_is_zero_or_small() -> None:
    rng = np.random.default_rng(3)
    noise = np.full(50, 4.0)
    noisy = rng.normal(0, 2.0, size=(50, 20))
    assert postprocess.spread(noisy, noise, np.zeros(20)) < 0.5
    assert postprocess.spread(noisy, np.full(50, np.inf), np.zeros(20)) == 0.0


def test_shrinking_keeps_exact_means_and_drops_infinitely_noisy_ones() -> None:
    means = np.array([[1.0, 2.0], [3.0, 4.0]])
    found = postprocess.shrink(means, np.array([0.0, np.inf]), np.zeros(2), 1.0)
    assert found.tolist() == [[1.0, 2.0], [0.0, 0.0]]
    nothing = postprocess.shrink(means, np.zeros(2), np.zeros(2), 0.0)
    assert nothing.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_cosine_prototypes_have_the_length_of_their_expected_cosine() -> None:
    rng = np.random.default_rng(4)
    truth = np.full(64, 1.0)
    noisy = truth + rng.normal(size=(2000, 64))
    found = postprocess.cosine_prototypes(noisy, 1.0)
    lengths = np.linalg.norm(found, axis=1)
    cosines = noisy @ truth / np.linalg.norm(noisy, axis=1) / 8.0
    assert lengths.mean() == pytest.approx(cosines.mean(), abs=0.02)
    assert postprocess.cosine_prototypes(np.zeros((1, 3)), 1.0).tolist() == [[0.0, 0.0, 0.0]]


def test_variances_are_debiased_and_floored() -> None:
    rng = np.random.default_rng(5)
    n, true = 500, 2.0
    x = rng.normal(3.0, math.sqrt(true), size=(n, 8))
    draws = [
        postprocess.variances(
            x.sum(axis=0) + rng.normal(0, 200.0, 8), 200.0, (x**2).sum(axis=0), n, floor=-np.inf
        )
        for _ in range(4000)
    ]
    assert np.mean(draws, axis=0) == pytest.approx(x.var(axis=0), abs=0.2)
    floored = postprocess.variances(np.ones(2), 0.0, np.zeros(2), 1.0, floor=0.25)
    assert floored.tolist() == [0.25, 0.25]


def test_covariances_are_positive_and_exact_without_noise() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 5))
    found = postprocess.covariance(x.sum(axis=0), 0.0, x.T @ x, 200, floor=0.0)
    assert found == pytest.approx(np.cov(x.T, bias=True), rel=1e-9)
    noise = rng.normal(0, 500, size=(5, 5))
    noisy = postprocess.covariance(x.sum(axis=0), 9.0, x.T @ x + noise + noise.T, 200, floor=0.1)
    assert np.linalg.eigvalsh(noisy).min() >= 0.1 - 1e-9
    assert noisy == pytest.approx(noisy.T)


def test_clipping_eigenvalues_changes_nothing_that_is_above_the_floor() -> None:
    matrix = np.diag([3.0, -1.0, 0.5])
    assert postprocess.clip_eigenvalues(matrix, 0.2) == pytest.approx(np.diag([3.0, 0.2, 0.5]))
    assert postprocess.clip_eigenvalues(matrix, -5.0) == pytest.approx(matrix)


def test_matrix_shrinkage_lowers_the_error_and_leaves_noiseless_ones_alone() -> None:
    rng = np.random.default_rng(7)
    truth = np.diag(np.linspace(0.5, 2.0, 12))
    std = np.full((12, 12), 0.6)
    error = rng.normal(0, 0.6, size=(12, 12))
    noisy = truth + np.triu(error) + np.triu(error, 1).T
    found = postprocess.shrink_to_identity(noisy, std)
    assert np.square(found - truth).sum() < 0.3 * np.square(noisy - truth).sum()
    assert postprocess.shrink_to_identity(truth, np.zeros((12, 12))) == pytest.approx(truth)
    same = np.eye(3)
    assert postprocess.shrink_to_identity(same, std[:3, :3]) == pytest.approx(same)
