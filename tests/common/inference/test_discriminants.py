"""Discriminants and principal directions against slow references."""

from __future__ import annotations

import numpy as np
import pytest

from wg_common.inference.discriminants import (
    centre_over_classes,
    class_means,
    fit_ldas,
    linear_discriminants,
    ridged_inverse,
)


def _records(n: int, d: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + d)
    y = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    return rng.normal(size=(n, d)) + 2 * rng.normal(size=(k, d))[y], y


def test_class_means_are_means_and_zero_where_a_class_is_absent() -> None:
    x, y = _records(50, 4, 3)
    found = class_means(x, y, 4)
    for label in range(3):
        assert np.allclose(found[label], x[y == label].mean(axis=0))
    assert not found[3].any()


def test_discriminants_are_log_likelihood_ratios() -> None:
    x, y = _records(60, 5, 4)
    means = class_means(x, y, 4)
    covariance = np.cov((x - means[y]).T)
    precision = np.linalg.inv(covariance)
    weight, bias = linear_discriminants(means, precision)
    logits = x @ weight.T + bias
    for record, row in zip(x, logits, strict=True):
        away = record - means
        density = -0.5 * np.array([one @ precision @ one for one in away])
        assert np.allclose(row - row[0], density - density[0])


@pytest.mark.parametrize("shrinkage", [0.1, 0.5, 1.0])
def test_fitted_discriminants_count_frequent_classes_as_likelier(shrinkage: float) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [90, 10])
    x = rng.normal(size=(100, 3))
    ((weight, bias),) = fit_ldas(x, y, 2, (shrinkage,))
    assert ((x @ weight.T + bias).argmax(axis=1) == 0).mean() > 0.8
    x[y == 1] += 8
    ((weight, bias),) = fit_ldas(x, y, 2, (shrinkage,))
    assert ((x @ weight.T + bias).argmax(axis=1) == y).all()


@pytest.mark.parametrize(("n", "d"), [(12, 30), (80, 6), (6, 4)])
def test_discriminants_match_the_formula_at_every_strength(n: int, d: int) -> None:
    x, y = _records(n, d, 5)
    counts = np.bincount(y, minlength=5)
    means = np.stack([x[y == label].mean(axis=0) for label in range(5)])
    within = x - means[y]
    freedom = n - 5 + 1.0
    trace = (np.sum(within**2) + d) / freedom / d
    shrinkages = (0.05, 0.5, 1.0)
    for shrinkage, (weight, bias) in zip(shrinkages, fit_ldas(x, y, 5, shrinkages), strict=True):
        shrunk = (1 - shrinkage) * within.T @ within / freedom
        shrunk += (shrinkage + 1e-6) * trace * np.eye(d)
        expected = means @ np.linalg.inv(shrunk)
        np.testing.assert_allclose(weight, expected, rtol=1e-6, atol=1e-8)
        prior = np.log((counts + 1) / (n + 5))
        np.testing.assert_allclose(bias, prior - 0.5 * np.sum(expected * means, axis=1), rtol=1e-6)


def test_the_normal_form_decides_as_the_head_does() -> None:
    x, y = _records(80, 6, 5)
    ((weight, bias),) = fit_ldas(x, y, 5, (0.5,))
    w, b = centre_over_classes(weight, bias)
    assert ((x @ w.T + b).argmax(axis=1) == (x @ weight.T + bias).argmax(axis=1)).all()
    assert np.allclose(w.sum(axis=0), 0)


def test_a_ridge_is_in_units_of_the_mean_variance() -> None:
    assert np.allclose(ridged_inverse(4 * np.eye(3), 1.0), np.eye(3) / 8)
