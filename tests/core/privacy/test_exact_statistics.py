"""Exact statistics against slow, obvious references in Python integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from wg_core.errors import DataError
from wg_core.privacy.exact_statistics import exact_statistics, quantise
from wg_core.privacy.schema import StatisticsSchema, default_schema

D = 4


def make(**changes: Any) -> StatisticsSchema:
    fields: dict[str, Any] = {
        "encoder": "ab" * 32,
        "dimension": D,
        "labels": ("a", "b"),
        "clip_radius": 1.5,
        "bits": 8,
    }
    return default_schema(**(fields | changes))


def record_vector(schema: StatisticsSchema, q: Sequence[int], label: int) -> list[int]:
    """v(y, q), by the definition in the schema's docstring."""
    a, b, c = schema.count_weight, schema.sum_weight, schema.moment_weight
    classes = len(schema.labels)
    counts = [
        a if (label == k or (label == -1 and k == classes)) else 0 for k in range(classes + 1)
    ]
    sums = [b * value if label == k else 0 for k in range(classes) for value in q]
    return counts + sums + [c * value for value in q]


def reference(
    schema: StatisticsSchema, q: NDArray[np.int64], y: Sequence[int], units: Sequence[str] | None
) -> list[int]:
    names = [str(i) for i in range(len(y))] if units is None else list(units)
    total = [0] * schema.vector_length
    for unit in dict.fromkeys(names):
        rows = [i for i, name in enumerate(names) if name == unit]
        vectors = [record_vector(schema, [int(v) for v in q[i]], y[i]) for i in rows]
        summed = [sum(column) for column in zip(*vectors, strict=True)]
        m = len(rows) if schema.unit_rule == "weight" else 1
        total = [
            t + (abs(v) // m) * (1 if v >= 0 else -1) for t, v in zip(total, summed, strict=True)
        ]
    return total


@pytest.mark.parametrize("rule", ["record", "weight"])
def test_statistics_equal_the_definition(rule: Any) -> None:
    schema = make(unit_rule=rule)
    rng = np.random.default_rng(1)
    for n in (0, 1, 17):
        x = rng.normal(size=(n, D))
        y = rng.integers(-1, 2, n)
        units = None if rule == "record" else [f"u{i}" for i in rng.integers(0, 6, n)]
        found = exact_statistics(schema, x, y, units)
        q = quantise(x, schema.radius, schema.bits)
        assert found.dtype == np.int64
        assert found.tolist() == reference(schema, q, y.tolist(), units)


@given(
    hnp.arrays(np.float64, (3, D), elements=st.floats(allow_nan=True, allow_infinity=True)),
    st.integers(4, 20),
    st.floats(1e-3, 1e6),
)
def test_clipped_norm_is_bounded_in_exact_integers(
    x: NDArray[np.float64], bits: int, radius: float
) -> None:
    for row in quantise(x, radius, bits).tolist():
        assert sum(value * value for value in row) <= 1 << (2 * bits)


@given(hnp.arrays(np.float64, (1, D), elements=st.floats(-1e3, 1e3)), st.floats(0.5, 100.0))
def test_quantisation_rounds_towards_zero_by_less_than_two_grid_units(
    x: NDArray[np.float64], radius: float
) -> None:
    q = quantise(x, radius, 14)[0]
    norm = float(np.linalg.norm(x))
    wanted = x[0] * min(1.0, radius / norm if norm else 1.0) / radius * (1 << 14)
    assert np.all(np.abs(q) <= np.abs(wanted) + 1e-6)
    assert np.all(np.abs(q - wanted) < 2)


def test_a_row_on_the_sphere_that_rounds_outwards_is_pulled_back() -> None:
    # 3-4-5 and irrational directions, just outside of the ball by one unit in the last place.
    for angle in np.linspace(0, math.pi, 2001):
        x = np.array([[math.cos(angle), math.sin(angle)]]) * np.nextafter(1.0, 2.0)
        q = quantise(x, 1.0, 20)[0]
        assert int(q[0]) ** 2 + int(q[1]) ** 2 <= 1 << 40


def test_nan_and_infinity_count_as_zero_in_their_coordinate_only() -> None:
    x = np.array([[np.nan, 0.5, np.inf, -np.inf]])
    assert quantise(x, 1.0, 8).tolist() == [[0, 128, 0, 0]]


def test_huge_and_tiny_values_do_not_overflow() -> None:
    x = np.array([[1e308, 1e308, 0.0, 0.0], [5e-324, 0.0, 0.0, 0.0]])
    q = quantise(x, 1.0, 8)
    assert q[0].tolist() == [181, 181, 0, 0]
    assert q[1].tolist() == [0, 0, 0, 0]


def test_an_unlabelled_record_enters_the_moments_and_no_class() -> None:
    schema = make()
    found = exact_statistics(schema, np.full((1, D), 0.5), np.array([-1]))
    counts, sums, moments = schema.blocks
    assert found[: counts.size].tolist() == [0, 0, schema.count_weight]
    assert not found[sums.offset : moments.offset].any()
    assert found[moments.offset :].all()


def test_a_record_never_depends_on_the_others() -> None:
    schema = make()
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, D)) * 10, rng.integers(-1, 2, 30)
    apart = sum(exact_statistics(schema, x[i : i + 1], y[i : i + 1]) for i in range(30))
    assert np.array_equal(exact_statistics(schema, x, y), apart)


@pytest.mark.parametrize("dimension", [1, 3, 8, 64, 129])
def test_the_last_grid_unit_of_a_record_does_not_depend_on_layout_or_neighbours(
    dimension: int,
) -> None:
    rng = np.random.default_rng(dimension)
    x = rng.normal(size=(300, dimension)) * 5
    whole = quantise(x, 1.5, 20)
    assert np.array_equal(quantise(np.asfortranarray(x), 1.5, 20), whole)
    assert np.array_equal(quantise(x[::-1], 1.5, 20)[::-1], whole)
    for row in range(300):
        assert np.array_equal(quantise(x[row : row + 1], 1.5, 20)[0], whole[row])
        if row % 50 == 0:
            assert np.array_equal(quantise(x[row:], 1.5, 20), whole[row:])


def test_weighted_units_all_count_alike() -> None:
    schema = make(unit_rule="weight")
    found = exact_statistics(schema, np.zeros((5, D)), np.array([0, 0, 0, 1, 1]), list("aaabb"))
    assert found[:2] / schema.count_weight == pytest.approx([1, 1], rel=0.01)


def test_arguments_are_not_changed() -> None:
    x, y = np.full((2, D), 9.0), np.array([0, 1])
    x.setflags(write=False)
    y.setflags(write=False)
    exact_statistics(make(), x, y)


BAD: list[tuple[str, dict[str, Any], Any, Any, Any]] = [
    ("features", {}, np.zeros((2, D + 1)), [0, 0], None),
    ("features", {}, np.zeros(D), [0], None),
    ("labels", {}, np.zeros((2, D)), [0], None),
    ("labels", {}, np.zeros((2, D)), [0.0, 1.0], None),
    ("labels", {}, np.zeros((2, D)), [0, 2], None),
    ("labels", {}, np.zeros((2, D)), [0, -2], None),
    ("units", {}, np.zeros((1, D)), [0], ["u"]),
    ("units", {"unit_rule": "weight"}, np.zeros((1, D)), [0], None),
    ("units", {"unit_rule": "weight"}, np.zeros((1, D)), [0], ["u", "v"]),
]


@pytest.mark.parametrize(("field", "changes", "x", "y", "units"), BAD)
def test_what_does_not_fit_the_schema_is_refused(
    field: str, changes: dict[str, Any], x: Any, y: Any, units: Any
) -> None:
    with pytest.raises(DataError, match=f"^{field}: "):
        exact_statistics(make(**changes), x, np.array(y), units)
