"""The mechanism: calibrated to the last ledger unit, and refusing what protects nothing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wg_core.errors import ConfigError, InternalError, PolicyRefused
from wg_core.privacy import accounting, calibration, mechanism
from wg_core.privacy.events import MU_SQUARED_UNIT, gaussian_event
from wg_core.privacy.schema import StatisticsSchema, default_schema


def make(**changes: Any) -> StatisticsSchema:
    fields: dict[str, Any] = {
        "encoder": "ab" * 32,
        "dimension": 8,
        "labels": ("a", "b"),
        "clip_radius": 2.0,
    }
    return default_schema(**(fields | changes))


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.5, 1.0, 3.0, 16.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5])
def test_a_release_costs_at_most_what_was_asked_for(epsilon: float, delta: float) -> None:
    schema = make()
    sigma = mechanism.noise_scale(schema, epsilon, delta)
    event = gaussian_event(int(schema.sensitivity_squared()), sigma)
    assert 0.999 * epsilon < accounting.composed_epsilon([event], delta) <= epsilon


def test_the_ledgers_event_counts_no_more_than_the_calibrated_mu() -> None:
    schema = make()
    sigma = mechanism.noise_scale(schema, 1.0, 1e-5)
    counted = int(gaussian_event(int(schema.sensitivity_squared()), sigma).mu_squared)
    assert counted * MU_SQUARED_UNIT <= Fraction(calibration.largest_mu(1.0, 1e-5)) ** 2


def test_noise_below_a_tenth_of_the_sensitivity_is_refused() -> None:
    with pytest.raises(PolicyRefused, match="refused"):
        mechanism.noise_scale(make(), 200.0, 1e-5)


@pytest.mark.parametrize(
    ("epsilon", "delta"), [(0.0, 1e-5), (-1.0, 1e-5), (float("nan"), 1e-5), (1.0, 0.0), (1.0, 1.0)]
)
def test_a_budget_that_is_none_is_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(ConfigError):
        mechanism.noise_scale(make(), epsilon, delta)


def test_an_epsilon_that_a_ledger_cannot_count_is_refused() -> None:
    with pytest.raises(PolicyRefused, match="ledger"):
        mechanism.noise_scale(make(), 1e-9, 1e-12)


def test_opendp_noise_has_the_scale_that_was_asked_for() -> None:
    # 20,000 draws: the deviation of the sample's standard deviation is 0.5 %; 5 of them, 6e-7.
    noise = mechanism.add_noise(np.zeros(20_000, dtype=np.int64), 1e9)
    assert noise.std() == pytest.approx(1e9, rel=0.025)
    assert abs(noise.mean()) < 5 * 1e9 / np.sqrt(20_000)


def test_opendp_certifies_the_same_rho_as_the_ledger_counts() -> None:
    import opendp.prelude as dp

    schema = make()
    sigma = mechanism.noise_scale(schema, 1.0, 1e-5)
    space = dp.vector_domain(dp.atom_domain(T="i64"), size=3), dp.l2_distance(T=float)
    measurement: Any = dp.m.make_gaussian(*space, scale=sigma)
    rho = measurement.map(float(schema.sensitivity_squared()) ** 0.5)
    counted = int(gaussian_event(int(schema.sensitivity_squared()), sigma).mu_squared)
    assert rho == pytest.approx(float(counted * MU_SQUARED_UNIT) / 2, rel=1e-9)


def test_two_releases_of_the_same_statistics_differ() -> None:
    exact = np.zeros(4, dtype=np.int64)
    assert not np.array_equal(mechanism.add_noise(exact, 1e9), mechanism.add_noise(exact, 1e9))


def test_noise_is_integer_and_saturates_instead_of_wrapping() -> None:
    top = np.full(200, np.iinfo(np.int64).max, dtype=np.int64)
    noisy = mechanism.add_noise(top, mechanism.SIGMA_MAXIMUM)
    assert noisy.dtype == np.int64
    assert np.all(noisy > 0)


def test_neighbours_share_every_output_modulo_the_grid() -> None:
    # The attack on floating-point noise reads the last bits; here both parities come for both.
    for value in (0, 1):
        noisy = mechanism.add_noise(np.full(400, value, dtype=np.int64), 1000.0)
        assert 100 < np.count_nonzero(noisy % 2) < 300  # outside: 1e-24


BAD: list[tuple[Any, float]] = [
    (np.zeros(3), 1e6),
    (np.zeros((3, 1), dtype=np.int64), 1e6),
    (np.zeros(3, dtype=np.int32), 1e6),
    (np.zeros(3, dtype=np.int64), 0.0),
    (np.zeros(3, dtype=np.int64), 3.7),
    (np.zeros(3, dtype=np.int64), float("nan")),
    (np.zeros(3, dtype=np.int64), float("inf")),
]


@pytest.mark.parametrize(("exact", "sigma"), BAD)
def test_arguments_that_make_no_private_release_are_refused(exact: Any, sigma: float) -> None:
    with pytest.raises(InternalError):
        mechanism.add_noise(exact, sigma)


def test_a_sampler_that_changes_type_or_shape_is_refused() -> None:
    exact = np.zeros(3, dtype=np.int64)
    for sampler in (lambda e, _: e[:-1], lambda e, _: e.astype(float)):
        with pytest.raises(InternalError, match="sampler"):
            mechanism.add_noise(exact, 1e6, sampler)


def test_idealized_numerics_is_refused_when_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from opendp import mod

    monkeypatch.setattr(mod, "GLOBAL_FEATURES", mod.GLOBAL_FEATURES | {"idealized-numerics"})
    with pytest.raises(InternalError, match="idealized-numerics"):
        mechanism.add_noise(np.zeros(3, dtype=np.int64), 1e6)


def test_no_source_file_turns_idealized_numerics_on() -> None:
    root = Path(__file__).parents[3]
    for folder in ("common", "server", "client", "demo", "bench"):
        for path in (root / folder).rglob("*.py"):
            for line in path.read_text("utf-8").splitlines():
                if "enable_features(" in line:
                    assert 'enable_features("contrib")' in line, path
