"""Analytic calibration against mpmath at 60 digits, and rounding to the safe side."""

from __future__ import annotations

import math
from typing import Any

import mpmath  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_core.errors import ConfigError
from wg_core.privacy import calibration


def reference_delta(mu: float, epsilon: float) -> Any:
    """Balle and Wang 2018, Theorem 8, at 60 digits."""
    with mpmath.workdps(60):
        m, e = mpmath.mpf(mu), mpmath.mpf(epsilon)
        return mpmath.ncdf(m / 2 - e / m) - mpmath.exp(e) * mpmath.ncdf(-m / 2 - e / m)


@pytest.mark.parametrize("mu", [1e-3, 0.1, 0.268, 1.0, 3.7, 10.0, 40.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.01, 0.5, 1.0, 4.0, 16.0, 300.0])
def test_delta_agrees_with_mpmath(mu: float, epsilon: float) -> None:
    expected = float(reference_delta(mu, epsilon))
    assert calibration.gaussian_delta(mu, epsilon) == pytest.approx(expected, rel=1e-8, abs=1e-300)


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 50.0])
@pytest.mark.parametrize("delta", [1e-12, 1e-9, 1e-6, 1e-5, 1e-3, 0.1])
def test_the_calibrated_mu_is_tight(epsilon: float, delta: float) -> None:
    mu = calibration.largest_mu(epsilon, delta)
    assert float(reference_delta(mu, epsilon)) == pytest.approx(delta, rel=1e-9)
    assert calibration.gaussian_epsilon(mu, delta) <= epsilon * (1 + 1e-12)
    assert calibration.gaussian_epsilon(mu, delta) == pytest.approx(epsilon, rel=1e-9)


@pytest.mark.parametrize(("epsilon", "expected"), [(0.5, 7.03), (1.0, 3.73), (3.0, 1.39)])
def test_noise_multipliers_are_the_published_ones(epsilon: float, expected: float) -> None:
    assert 1 / calibration.largest_mu(epsilon, 1e-5) == pytest.approx(expected, abs=0.005)


def test_the_textbook_formula_is_not_used() -> None:
    textbook = math.sqrt(2 * math.log(1.25 / 1e-5)) / 5.0
    assert 1 / calibration.largest_mu(5.0, 1e-5) != pytest.approx(textbook, rel=0.05)


@given(st.floats(1e-3, 5.0), st.floats(0.0, 20.0), st.floats(1.001, 2.0))
def test_delta_falls_with_epsilon_and_grows_with_mu(mu: float, epsilon: float, by: float) -> None:
    delta = calibration.gaussian_delta(mu, epsilon)
    assert 0 <= delta < 1
    assert calibration.gaussian_delta(mu, epsilon * by) <= delta * (1 + 1e-9)
    assert calibration.gaussian_delta(mu * by, epsilon) >= delta * (1 - 1e-9)


@given(st.floats(1e-3, 20.0), st.floats(1e-14, 0.4))
def test_epsilon_is_rounded_up_and_mu_down(epsilon: float, delta: float) -> None:
    mu = calibration.largest_mu(epsilon, delta)
    assert calibration.gaussian_delta(mu, epsilon) <= delta
    assert calibration.gaussian_delta(mu, calibration.gaussian_epsilon(mu, delta)) <= delta


def test_edges() -> None:
    assert calibration.gaussian_delta(0.0, 0.0) == 0.0
    assert calibration.gaussian_epsilon(0.0, 1e-5) == 0.0
    assert calibration.gaussian_epsilon(1e-3, 0.1) == 0.0
    assert calibration.gaussian_epsilon(1e3, 1e-5) == math.inf


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan, math.inf, 1e5])
def test_an_epsilon_that_is_none_is_refused(epsilon: float) -> None:
    with pytest.raises(ConfigError, match="epsilon"):
        calibration.largest_mu(epsilon, 1e-5)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan, math.inf])
def test_a_delta_that_is_none_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match="delta"):
        calibration.largest_mu(1.0, delta)
    with pytest.raises(ConfigError, match="delta"):
        calibration.gaussian_epsilon(1.0, delta)
