"""Sums of clipped gradients: sensitivity, units, noise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_core.privacy import gradients
from wg_core.privacy.exact import Integers, unit_rows

GRID = 1 << gradients.BITS
SIGMA = 500.0


def without_noise(total: Integers, sigma: float) -> Integers:
    return total


def singles(count: int) -> list[Integers]:
    return list(np.arange(count)[:, None])


@given(st.integers(0, 1 << 30), st.integers(1, 12), st.sampled_from([1e-3, 1.0, 1e6]))
def test_a_unit_moves_the_sum_by_at_most_the_clip_radius(
    seed: int, count: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = scale * rng.normal(size=(count, 7))
    units = [str(unit) for unit in rng.integers(0, 4, count)]
    for grouped in (units, [str(row) for row in range(count)]):
        members = unit_rows(grouped)
        whole = gradients.noisy_sum(rows, members, SIGMA, without_noise)
        for gone in range(len(members)):
            rest = members[:gone] + members[gone + 1 :]
            less = gradients.noisy_sum(rows, rest, SIGMA, without_noise)
            assert np.linalg.norm(whole - less) <= gradients.CLIP_RADIUS * (1 + 1e-12)


def test_numbers_that_are_not_finite_count_as_zero() -> None:
    rows = np.array([[0.5, 0.25], [np.nan, np.inf]])
    total = gradients.noisy_sum(rows, singles(2), SIGMA, without_noise)
    assert total == pytest.approx([0.5, 0.25], abs=2 / GRID)


def test_noise_has_the_standard_deviation_that_is_charged() -> None:
    sigma = 3.0 * GRID

    def sampler(total: Integers, scale: float) -> Integers:
        assert scale == sigma
        return total + 17

    total = gradients.noisy_sum(np.zeros((3, 4)), singles(3), sigma, sampler)
    assert total == pytest.approx(17 / GRID)


def test_no_records_give_noise_alone() -> None:
    total = gradients.noisy_sum(np.zeros((0, 5)), [], SIGMA, without_noise)
    assert total.shape == (5,) and not total.any()


def test_squared_sensitivities_of_steps_add_up() -> None:
    assert gradients.sensitivity_squared(40) == 40 * GRID**2
