"""Sums of clipped gradients: sensitivity, units, noise."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_core.errors import DecodeError, InternalError
from wg_core.privacy import gradients, schema
from wg_core.privacy.exact_statistics import Integers, rows_by_unit
from wg_core.privacy.gradients import ChargedGradientSums, GradientSchema
from wg_core.privacy.mechanism import Sampler

GRID = 1 << schema.GRID_BITS
SIGMA = 500.0


def noisy_sum(rows: Any, units: list[Integers], sampler: Sampler) -> Any:
    return ChargedGradientSums(units, SIGMA, 1, sampler).noisy_sum(
        lambda part: rows[part], rows.shape[1]
    )


def no_gradients(rows: Integers) -> Any:
    return np.zeros((len(rows), 4 if len(rows) == 3 else 3))


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
        members = rows_by_unit(grouped)
        whole = noisy_sum(rows, members, without_noise)
        for gone in range(len(members)):
            rest = members[:gone] + members[gone + 1 :]
            less = noisy_sum(rows, rest, without_noise)
            assert np.linalg.norm(whole - less) <= schema.CLIP_RADIUS * (1 + 1e-12)


def test_numbers_that_are_not_finite_count_as_zero() -> None:
    rows = np.array([[0.5, 0.25], [np.nan, np.inf]])
    total = noisy_sum(rows, singles(2), without_noise)
    assert total == pytest.approx([0.5, 0.25], abs=2 / GRID)


def test_noise_has_the_standard_deviation_that_is_charged() -> None:
    sigma = 3.0 * GRID

    def sampler(total: Integers, scale: float) -> Integers:
        assert scale == sigma
        return total + 17

    total = ChargedGradientSums(singles(3), sigma, 1, sampler).noisy_sum(no_gradients, 4)
    assert total == pytest.approx(17 / GRID)


def test_no_records_give_noise_alone() -> None:
    total = noisy_sum(np.zeros((0, 5)), [], without_noise)
    assert total.shape == (5,) and not total.any()


def test_squared_sensitivities_of_steps_add_up() -> None:
    schema = GradientSchema(
        encoder="0" * 64, dimension=3, labels=("a", "b"), steps=40, unit_rule="record"
    )
    assert schema.sensitivity_squared() == 40 * GRID**2
    assert [(block.size, block.weight) for block in schema.blocks] == [(40 * 2 * 4, 1)]


def test_parts_of_the_records_give_the_sum_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    rows, units = rng.normal(size=(60, 5)), [str(unit) for unit in rng.integers(0, 25, 60)]
    whole = noisy_sum(rows, rows_by_unit(units), without_noise)
    monkeypatch.setattr(gradients, "_GRADIENT_ENTRIES_AT_ONCE", 35)
    assert np.array_equal(noisy_sum(rows, rows_by_unit(units), without_noise), whole)


def test_no_step_is_drawn_that_was_not_charged() -> None:
    charged = ChargedGradientSums(singles(2), SIGMA, 2, without_noise)
    for _ in range(2):
        charged.noisy_sum(no_gradients, 3)
    with pytest.raises(InternalError, match="more steps than were charged"):
        charged.noisy_sum(no_gradients, 3)


@pytest.mark.parametrize("field", [{"steps": 0}, {"labels": ()}, {"labels": ("a", "a")}])
def test_a_schema_of_no_training_is_refused(field: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"encoder": "0" * 64, "dimension": 3, "labels": ("a",)}
    with pytest.raises(DecodeError):
        GradientSchema(**whole | {"unit_rule": "record"} | field)
