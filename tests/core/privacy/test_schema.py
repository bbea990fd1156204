"""Sensitivity: stated exactly, attained, and never exceeded by any neighbour."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.core.privacy import replace_one

from wg_core.errors import DecodeError
from wg_core.privacy.exact_statistics import exact_statistics
from wg_core.privacy.schema import (
    MACHINE_STATISTICS,
    NO_LABEL,
    StatisticsSchema,
    default_schema,
    machine_schema,
)
from wg_core.wire import canonical

Float = NDArray[np.float64]
Data = tuple[Float, NDArray[np.int64], list[str] | None]

RULES: tuple[Any, ...] = ("record", "weight")
DOMAINS: tuple[tuple[str, ...], ...] = (("a", "b", "c"), ("only",), ())
D = 5


def make(**changes: Any) -> StatisticsSchema:
    fields: dict[str, Any] = {
        "encoder": "ab" * 32,
        "dimension": D,
        "labels": ("a", "b", "c"),
        "clip_radius": 2.5,
    }
    return default_schema(**(fields | changes))


def variants() -> list[StatisticsSchema]:
    """Every unit rule and domain; the size in use; coarse and fine grids."""
    found = [
        make(unit_rule=rule, labels=labels) for rule, labels in itertools.product(RULES, DOMAINS)
    ]
    found += [machine_schema("ab" * 32, rule) for rule in RULES]
    found.append(make(dimension=64, labels=tuple(f"class-{number}" for number in range(10))))
    found += [  # a third each for counts, sums and moments
        replace(make(bits=bits), count_weight=256 << bits, sum_weight=256) for bits in (4, 10, 17)
    ]
    return found


def name_of(schema: StatisticsSchema) -> str:
    size = f"{len(schema.labels)}x{schema.dimension}"
    return f"{schema.unit_rule}-{size}-{schema.bits}bits"


every_variant = pytest.mark.parametrize("schema", variants(), ids=name_of)


def square(change: NDArray[np.int64]) -> int:
    """Squared L2 norm in Python integers, which cannot overflow."""
    return sum(int(value) ** 2 for value in change)


def features(schema: StatisticsSchema, rng: np.random.Generator, n: int) -> Float:
    """Records of every kind: inside, on and far outside of the ball, along axes, broken ones."""
    radius = schema.radius
    d = schema.dimension
    x = rng.normal(size=(n, d)) * rng.choice([0.1, 1.0, 1e3, 1e200], size=(n, 1)) * radius
    axis = rng.random(n) < 0.4
    x[axis] = np.eye(d)[rng.integers(0, d, axis.sum())] * rng.choice(
        [-1.0, 1.0], size=(axis.sum(), 1)
    )
    x[axis] *= radius * rng.choice([0.5, 1.0, np.nextafter(1.0, 2.0), 7.0], size=(axis.sum(), 1))
    broken = rng.random(n) < 0.1
    x[broken, 0] = rng.choice([np.nan, np.inf, -np.inf], size=broken.sum())
    return np.asarray(x)


def data_set(schema: StatisticsSchema, rng: np.random.Generator, n: int, units: int) -> Data:
    labels = rng.integers(-1, len(schema.labels), n)
    names = [f"unit-{i}" for i in rng.integers(0, units, n)]
    return features(schema, rng, n), labels, None if schema.unit_rule == "record" else names


def without(data: Data, keep: NDArray[np.bool_]) -> Data:
    x, y, units = data
    left = None if units is None else [unit for unit, kept in zip(units, keep, strict=True) if kept]
    return x[keep], y[keep], left


def joined(first: Data, second: Data) -> Data:
    (x, y, units), (x2, y2, units2) = first, second
    both = None if units is None or units2 is None else [*units, *units2]
    return np.concatenate([x, x2]), np.concatenate([y, y2]), both


def one_unit(schema: StatisticsSchema, rng: np.random.Generator) -> Data:
    """One privacy unit: a record, or up to seven records of one name; often an extreme one."""
    records = 1 if schema.unit_rule == "record" else int(rng.integers(1, 8))
    x = features(schema, rng, records)
    y = rng.integers(-1, len(schema.labels), records)
    if rng.random() < 0.5:  # all alike: nothing cancels
        x, y = np.repeat(x[:1], records, axis=0), np.repeat(y[:1], records)
    return x, y, None if schema.unit_rule == "record" else ["the-one"] * records


@every_variant
def test_no_neighbour_by_adding_or_removing_a_unit_exceeds_the_sensitivity(
    schema: StatisticsSchema,
) -> None:
    rng = np.random.default_rng(7)
    bound = schema.sensitivity_squared()
    assert isinstance(bound, int)
    for _ in range(60):
        rest = data_set(schema, rng, int(rng.integers(0, 12)), 4)
        larger = joined(rest, one_unit(schema, rng))
        change = exact_statistics(schema, *larger) - exact_statistics(schema, *rest)
        assert square(change) <= bound


@every_variant
def test_no_neighbour_by_replacing_a_unit_exceeds_the_sensitivity(schema: StatisticsSchema) -> None:
    rng = np.random.default_rng(8)
    bound = replace_one.sensitivity_squared(schema)
    for _ in range(60):
        rest = data_set(schema, rng, int(rng.integers(0, 12)), 4)
        one = exact_statistics(schema, *joined(rest, one_unit(schema, rng)))
        other = exact_statistics(schema, *joined(rest, one_unit(schema, rng)))
        assert square(one - other) <= bound


@every_variant
def test_removing_any_unit_of_a_data_set_stays_within_the_sensitivity(
    schema: StatisticsSchema,
) -> None:
    rng = np.random.default_rng(9)
    data = data_set(schema, rng, 20, 6)
    whole = exact_statistics(schema, *data)
    names = [str(i) for i in range(20)] if data[2] is None else data[2]
    for unit in sorted(set(names)):
        keep = np.array([name != unit for name in names])
        change = whole - exact_statistics(schema, *without(data, keep))
        assert square(change) <= schema.sensitivity_squared()


@every_variant
def test_the_add_remove_sensitivity_is_attained(schema: StatisticsSchema) -> None:
    x = np.zeros((1, schema.dimension))
    x[:, 0] = schema.radius
    y = np.full(1, 0 if schema.labels else NO_LABEL)
    units = None if schema.unit_rule == "record" else ["unit"]
    assert square(exact_statistics(schema, x, y, units)) == schema.sensitivity_squared()


def test_the_replace_one_sensitivity_is_attained_by_opposite_records_of_one_class() -> None:
    schema = make()
    x = np.zeros((2, D))
    x[:, 0] = schema.radius, -schema.radius
    one, other = (exact_statistics(schema, row[None], np.array([0])) for row in x)
    assert square(one - other) == replace_one.sensitivity_squared(schema)


@every_variant
def test_replacing_costs_at_most_twice(schema: StatisticsSchema) -> None:
    once, twice = schema.sensitivity_squared(), replace_one.sensitivity_squared(schema)
    assert 2 * once <= twice <= 4 * once


@every_variant
def test_blocks_cover_the_vector_once(schema: StatisticsSchema) -> None:
    position = 0
    for block in schema.blocks:
        assert block.offset == position
        position += block.size
    assert position == schema.vector_length


def test_default_shares_are_what_was_decided() -> None:
    schema = make()
    s2 = schema.radius_grid_units**2
    total = Fraction(schema.sensitivity_squared())
    assert float(schema.count_weight**2 / total) == pytest.approx(0.05, rel=0.02)
    assert float(schema.sum_weight**2 * s2 / total) == pytest.approx(0.75, rel=0.01)


@every_variant
def test_a_full_data_set_fits_64_bits(schema: StatisticsSchema) -> None:
    largest = 0
    for label in (0, NO_LABEL) if schema.labels else (NO_LABEL,):
        x = np.eye(schema.dimension)[:1] * schema.radius
        units = None if schema.unit_rule == "record" else ["unit"]
        record = exact_statistics(schema, x, np.array([label]), units)
        largest = max(largest, int(np.abs(record).max()))
    assert schema.record_capacity * largest <= 1 << 62
    assert schema.record_capacity >= 1 << 20


@every_variant
def test_a_schema_survives_the_wire(schema: StatisticsSchema) -> None:
    data = canonical.encode(schema)
    assert canonical.decode(StatisticsSchema, data, input_name="schema") == schema


BAD: list[dict[str, Any]] = [
    {"version": 2},
    {"encoder": "XY"},
    {"encoder": ""},
    {"dimension": 0},
    {"dimension": 1 << 17},
    {"labels": ("a", "a")},
    {"labels": ("a", "")},
    {"clip_radius": "-1.0"},
    {"clip_radius": "0.0"},
    {"clip_radius": "inf"},
    {"clip_radius": "nan"},
    {"clip_radius": " 1.0"},
    {"clip_radius": "1e999"},
    {"bits": 3},
    {"bits": 21},
    {"count_weight": 0},
    {"count_weight": -1},
    {"count_weight": 1 << 53},
    {"sum_weight": 0},
    {"moment_weight": 0},
    {"moment_weight": 1 << 40},
    {"labels": ()},
    {"features": MACHINE_STATISTICS},
]


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_a_schema_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    fields = {name: getattr(make(), name) for name in StatisticsSchema.__slots__}
    with pytest.raises(DecodeError, match="statistics schema: "):
        StatisticsSchema(**(fields | changes))


@pytest.mark.parametrize("changes", [{"dimension": 31}, {"labels": ("a",), "sum_weight": 1}])
def test_machine_statistics_have_their_numbers_and_no_labels(changes: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="in machine statistics"):
        replace(machine_schema("ab" * 32, "record"), **changes)


def test_a_schema_of_classes_is_encoded_as_before_there_were_machines() -> None:
    encoded = canonical.encode(make())
    assert encoded == (
        b'{"bits":14,"clip_radius":"2.5","count_weight":2097152,"dimension":5,"encoder":"'
        + b"ab" * 32
        + b'","labels":["a","b","c"],"moment_weight":256,"sum_weight":495,"unit_rule":"record",'
        + b'"version":1}'
    )
    stated = encoded.replace(b'"labels"', b'"features":"encoder","labels"')
    with pytest.raises(DecodeError):
        canonical.decode(StatisticsSchema, stated, input_name="schema")


def test_the_mean_of_machine_numbers_has_little_more_noise_than_the_best_shares_give() -> None:
    """Error of M / N, in units of sigma^2 / N^2, by the share of the count; see the module."""
    schema = machine_schema("ab" * 32, "record")
    share = schema.count_weight**2 / schema.sensitivity_squared()
    for length, excess in ((0.1, 1.02), (0.3, 1.001), (0.5, 1.011), (1.0, 1.11)):
        error = schema.dimension / (1 - share) + length**2 / share
        least = (schema.dimension**0.5 + length) ** 2
        assert 1 - 1e-9 <= (error / least) ** 0.5 < excess


@given(st.integers(4, 16), st.integers(1, 40), st.integers(0, 12))
def test_any_default_schema_keeps_the_sensitivity_formula(
    bits: int, dimension: int, classes: int
) -> None:
    labels = tuple(str(i) for i in range(classes))
    try:
        schema = make(bits=bits, dimension=dimension, labels=labels)
    except DecodeError as error:
        assert "capacity" in str(error) or "weight" in str(error)
        return
    assert 0 < schema.sensitivity_squared() < replace_one.sensitivity_squared(schema)
