"""Centres are public functions of released integers; sensitivity holds whatever they are."""

from __future__ import annotations

import functools
import itertools
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.core.privacy import replace_one

from wg_audit import composition
from wg_core.privacy import accounting, class_centres, events, mechanism
from wg_core.privacy.class_centres import Centre
from wg_core.privacy.exact_statistics import exact_statistics, quantise
from wg_core.privacy.schema import StatisticsSchema, default_schema
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

D = 3
RULES: tuple[Any, ...] = ("record", "weight")
VECTORS = Path(__file__).parent / "vectors" / "centre.json"
LARGEST = (1 << 63) - 1


def make(**changes: Any) -> StatisticsSchema:
    fields: dict[str, Any] = {
        "encoder": "ab" * 32,
        "dimension": D,
        "labels": ("a", "b"),
        "clip_radius": 2.0,
        "bits": 10,
    }
    return default_schema(**(fields | changes))


def square(change: Integers) -> int:
    return sum(int(value) ** 2 for value in change)


def parts(schema: StatisticsSchema, vector: Integers) -> tuple[Integers, Integers]:
    """Of a whole vector what is released first, and what second."""
    counts, sums, moments = schema.blocks
    first = np.concatenate([vector[: counts.size], vector[moments.offset :]])
    return first, vector[sums.offset : moments.offset]


def centres(schema: StatisticsSchema) -> list[Centre]:
    """Of releases of all kinds of data, with and without noise, and of hostile integers."""
    rng = np.random.default_rng(2)
    found = [class_centres.origin_centre(schema)]
    a, c, s = schema.count_weight, schema.moment_weight, schema.radius_grid_units
    axis = np.eye(schema.dimension, dtype=np.int64)[0]
    for count, length, sigma in itertools.product(
        (-LARGEST, -50 * a, 0, a, 50 * a, LARGEST), (0, 1, c * s, 50 * c * s, LARGEST), (0.0, 1e6)
    ):
        counts = np.zeros(len(schema.labels) + 1, dtype=np.int64)
        counts[0] = count
        found.append(class_centres.estimate_centre(schema, counts, -length * axis, sigma))
    for _ in range(20):
        total = rng.integers(-100 * c * s, 100 * c * s, schema.dimension)
        counts = rng.integers(-a, 60 * a, len(schema.labels) + 1)
        found.append(class_centres.estimate_centre(schema, counts, total, 1e4))
    return found


def data(schema: StatisticsSchema, rng: np.random.Generator, n: int) -> tuple[Floats, Integers]:
    """Records near a mean, opposite to it, far outside, at the origin, along axes, broken."""
    mean = np.array([1.8, 0.2, 0.0])
    x = mean + rng.normal(size=(n, D)) * 0.3
    kind = rng.integers(0, 7, n)
    x[kind == 1] *= -1
    x[kind == 2] *= 1e200
    x[kind == 3] = 0
    x[kind == 4] = schema.radius * np.eye(D)[0]
    x[kind == 5, 0] = np.nan
    return x, rng.integers(-1, len(schema.labels), n)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("labels", [("a", "b"), ("only",), ()])
def test_no_neighbour_exceeds_the_sensitivity_about_any_centre(
    rule: Any, labels: tuple[str, ...]
) -> None:
    schema = make(unit_rule=rule, labels=labels)
    rng = np.random.default_rng(3)
    a2, b2, c2 = (w**2 for w in (schema.count_weight, schema.sum_weight, schema.moment_weight))
    s2 = schema.radius_grid_units**2
    whole, first, second = (schema.sensitivity_squared(), a2 + c2 * s2, b2 * s2)
    assert whole == first + second
    replaced = replace_one.sensitivity_squared(schema)
    for about in centres(schema):
        rest, y = data(schema, rng, int(rng.integers(0, 8)))
        size = 1 if rule == "record" else int(rng.integers(1, 6))
        vectors = []
        for _ in range(3):
            x, z = data(schema, rng, size)
            units = None
            if rule != "record":
                units = [f"u{i // 2}" for i in range(len(y))] + ["the-one"] * size
            joined = np.concatenate([rest, x]), np.concatenate([y, z])
            vectors.append(exact_statistics(schema, *joined, units, about))
        left = units[: len(y)] if units is not None else None
        base = exact_statistics(schema, rest, y, left, about)
        for vector in vectors:
            change = parts(schema, vector - base)
            assert square(change[0]) <= first
            assert square(change[1]) <= second
        for one, other in itertools.combinations(vectors, 2):
            assert square(one - other) <= replaced


def test_every_part_attains_its_sensitivity_up_to_the_rounding_of_the_weight() -> None:
    schema = make()
    a2, b2, c2 = (w**2 for w in (schema.count_weight, schema.sum_weight, schema.moment_weight))
    s2 = schema.radius_grid_units**2
    for about in centres(schema):
        x = -np.sign(about.point + 0.5)[None] * np.array([[2.0, 0.0, 0.0]])
        first, second = parts(schema, exact_statistics(schema, x, np.array([0]), None, about))
        assert square(first) == a2 + c2 * s2
        if np.count_nonzero(about.point) <= 1:  # along the axis, so that nothing is rounded away
            assert (1 - 2 / schema.sum_weight) * b2 * s2 < square(second) <= b2 * s2


@pytest.mark.parametrize("noise", [-3.0, -0.5, 0.0, 0.5, 3.0])
def test_neighbours_that_release_the_same_first_part_differ_by_no_more_in_the_second(
    noise: float,
) -> None:
    """The adaptive step: the second part may know the first one as released, and nothing else."""
    schema = make()
    rng = np.random.default_rng(4)
    sigma = mechanism.noise_scale(schema, 1.0, 1e-5)
    second = schema.sum_weight**2 * schema.radius_grid_units**2
    for _ in range(60):
        x, y = data(schema, rng, int(rng.integers(1, 9)))
        exact = exact_statistics(schema, x, y)
        shift = (noise * sigma * rng.choice([-1.0, 1.0], len(parts(schema, exact)[0]))).astype(int)
        said = parts(schema, exact)[0] + shift
        one, other = (
            _released(schema, x[rows], y[rows], said) for rows in (slice(0, None), slice(1, None))
        )
        assert np.array_equal(parts(schema, one)[0], parts(schema, other)[0])
        assert square(one - other) <= second


def _released(schema: StatisticsSchema, x: Floats, y: Integers, said: Integers) -> Integers:
    """A release whose first part came out as ``said``, and whose second part has no noise."""
    answers = iter([said])
    return mechanism.release_counts_then_sums(
        schema,
        exact_statistics(schema, x, y),
        lambda centre: exact_statistics(schema, x, y, None, centre),
        mechanism.noise_scale(schema, 1.0, 1e-5),
        lambda part: next(answers, part),
    )


def test_the_charge_is_what_both_parts_cost_together_in_both_accountants() -> None:
    for epsilon in (0.5, 1.0, 4.0):
        schema = make(bits=14)
        sigma = mechanism.noise_scale(schema, epsilon, 1e-5)
        sums = schema.sum_weight**2 * schema.radius_grid_units**2
        rest = int(schema.sensitivity_squared()) - sums
        charged = events.gaussian_event(int(schema.sensitivity_squared()), sigma)
        apart = [events.gaussian_event(part, sigma) for part in (rest, sums)]
        units = [int(event.mu_squared) for event in (charged, *apart)]
        assert 0 <= units[1] + units[2] - units[0] <= 1  # each part is rounded up
        exact = Fraction(rest + sums) / Fraction(sigma) ** 2
        assert exact <= units[0] * events.MU_SQUARED_UNIT
        assert accounting.composed_epsilon([charged], 1e-5) <= epsilon
        assert accounting.composed_epsilon(apart, 1e-5) == pytest.approx(epsilon, rel=1e-5)
        assert composition.gaussian_epsilon(sum(units[1:]), 1e-5) == pytest.approx(
            epsilon, rel=1e-5
        )


@given(
    st.lists(st.integers(-LARGEST, LARGEST), min_size=3, max_size=3),
    st.lists(st.integers(-LARGEST, LARGEST), min_size=D, max_size=D),
    st.sampled_from([0.0, 64.0, 1e6, 1e9, 1e15]),
    st.sampled_from([4, 10, 20]),
)
def test_any_released_integers_give_a_centre_within_bounds(
    counts: list[int], total: list[int], sigma: float, bits: int
) -> None:
    schema = make(bits=bits)
    found = class_centres.estimate_centre(schema, np.array(counts), np.array(total), sigma)
    s = schema.radius_grid_units
    assert 0.34 * s - 1 <= found.radius <= s
    assert square(found.point) <= (class_centres.LARGEST_MEAN_LENGTH * s) ** 2
    assert schema.sum_weight <= found.sum_weight
    assert (
        found.sum_weight * found.radius
        <= schema.sum_weight * s
        < (found.sum_weight + 1) * found.radius
    )


@given(
    st.lists(st.integers(-1024, 1024), min_size=D, max_size=D),
    st.lists(st.integers(-960, 960), min_size=D, max_size=D),
    st.integers(1, 1024),
)
def test_deviations_are_clipped_in_exact_integers(
    q: list[int], point: list[int], radius: int
) -> None:
    u = [one - other for one, other in zip(q, point, strict=True)]
    about = Centre(np.array(point), radius, 1)
    found = class_centres.clipped_deviations(np.array([q]), about)[0].tolist()
    norm = sum(value * value for value in u)
    if norm <= radius**2:
        assert found == u
        return
    root = math.isqrt(norm - 1) + 1
    assert found == [int(math.copysign(abs(value) * radius // root, value)) for value in u]
    assert sum(value * value for value in found) <= radius**2


def test_roots_are_rounded_up_next_to_every_square() -> None:
    roots = [0, 1, 2, 3, 1 << 10, (1 << 20) + 1, (1 << 22) - 1, (1 << 26) - 1]
    values = [v for r in roots for v in (r * r - 1, r * r, r * r + 1) if 0 <= v < 1 << 53]
    found = class_centres._ceil_sqrt(np.array(values)).tolist()
    assert found == [math.isqrt(v - 1) + 1 if v else 0 for v in values]


def test_a_deviation_depends_on_no_other_record() -> None:
    rng = np.random.default_rng(5)
    q = quantise(rng.normal(size=(50, 64)), 1.0, 14)
    about = Centre(rng.integers(-1000, 1000, 64), 9000, 3)
    whole = class_centres.clipped_deviations(q, about)
    for row in range(50):
        assert np.array_equal(
            class_centres.clipped_deviations(q[row : row + 1], about)[0], whole[row]
        )


def test_the_centre_is_the_same_on_every_machine() -> None:
    for case in json.loads(VECTORS.read_text("utf-8")):
        schema = make(**case["schema"])
        sigma = float.fromhex(case["sigma"])
        found = class_centres.estimate_centre(
            schema, np.array(case["counts"]), np.array(case["total"]), sigma
        )
        assert [found.point.tolist(), found.radius, found.sum_weight] == case["want"]


def test_without_noise_the_centre_is_the_mean_of_the_records() -> None:
    schema = make(bits=14)
    x = np.array([[1.5, 0.1, 0.0], [1.3, -0.1, 0.2], [1.4, 0.0, 0.1], [1.4, 0.4, 0.1]])
    found = simulate_noisy_statistics(
        schema, x, np.array([0, 1, 1, -1]), 0.0, np.random.default_rng(0)
    )
    assert found.centre() == pytest.approx(x.mean(axis=0), abs=1e-3)
    assert found.sum_radius == pytest.approx(
        math.sqrt(4 - x.mean(axis=0) @ x.mean(axis=0)), abs=1e-3
    )
    means = found.centre() + found.sums() / found.counts()[:, None]
    assert means == pytest.approx(np.array([x[0], x[1:3].mean(axis=0)]), abs=1e-3)


def test_little_but_noise_gives_a_centre_near_the_origin() -> None:
    schema = make(bits=14, dimension=64)
    x = np.zeros((30, 64))
    x[:, 0] = 1.6
    lengths = {}
    for epsilon in (0.1, 16.0):
        sigma = mechanism.noise_scale(schema, epsilon, 1e-5)
        found = [
            simulate_noisy_statistics(
                schema, x, np.zeros(30, int), sigma, np.random.default_rng(seed)
            )
            for seed in range(20)
        ]
        lengths[epsilon] = np.mean([np.linalg.norm(f.centre()) for f in found])
    assert lengths[0.1] < 0.5 < 1.4 < lengths[16.0]


def _empty(schema: StatisticsSchema, centre: Centre | None = None) -> Integers:
    return exact_statistics(schema, np.zeros((0, D)), np.zeros(0, dtype=np.int64), None, centre)


def test_an_empty_data_set_and_one_without_labels_are_released_like_any_other() -> None:
    for labels in (("a", "b"), ()):
        schema = make(labels=labels, bits=14)
        sigma = mechanism.noise_scale(schema, 1.0, 1e-5)
        found = mechanism.release_statistics(
            schema, _empty(schema), functools.partial(_empty, schema), sigma
        )
        assert found.shape == (schema.vector_length,)
        assert np.count_nonzero(found) >= schema.vector_length - 1  # noise on every entry
