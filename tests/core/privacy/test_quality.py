"""Counts of right answers: how far a unit moves them, and that a record's call is its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from wg_core.errors import DataError, DecodeError, InternalError
from wg_core.privacy.mechanism import SIGMA_MINIMUM, opendp_sampler, release, sigma_for
from wg_core.privacy.quality import (
    CANDIDATES_LIMIT,
    WEIGHT,
    QualityLayout,
    exact_counts,
    right_answers,
)


def _layout(candidates: int = 2, rule: Any = "record", cap: int = 1) -> QualityLayout:
    return QualityLayout(candidates=candidates, unit_rule=rule, unit_cap=cap)


def _heads(rng: np.random.Generator, count: int, classes: int, dimension: int) -> list[Any]:
    return [
        (rng.normal(size=(classes, dimension)).astype(np.float32), rng.normal(size=classes))
        for _ in range(count)
    ]


# All data sets of up to four records, each unlabelled, wrong under both heads, right under one, or
# right under both; and all ways to give them to units.
KINDS = ((-1, 0, 0), (0, 0, 0), (0, 1, 0), (0, 1, 1))


@pytest.mark.parametrize(("rule", "cap"), [("record", 1), ("weight", 1), ("cap", 1), ("cap", 2)])
def test_no_unit_moves_the_counts_by_more_than_is_charged(rule: str, cap: int) -> None:
    layout, most = _layout(2, rule, cap), 0
    for count in (1, 2, 3, 4):
        units_of = [("a",) * count] if rule == "record" else itertools.product("ab", repeat=count)
        for units in units_of:
            for records in itertools.product(KINDS, repeat=count):
                table = np.array(records)
                everything = _counts(layout, table, units)
                gone = [[0]] if rule == "record" else [[i for i, u in enumerate(units) if u == "a"]]
                for rows in gone:
                    kept = [i for i in range(count) if i not in rows]
                    without = _counts(layout, table[kept], [units[i] for i in kept])
                    most = max(most, int(((everything - without) ** 2).sum()))
    assert most == layout.sensitivity_squared() == 3 * (cap * WEIGHT) ** 2


def _counts(layout: QualityLayout, table: np.ndarray, units: Any) -> np.ndarray:
    labels, right = table[:, 0], table[:, 1:].T.astype(bool)
    return exact_counts(
        layout, right, labels, None if layout.unit_rule == "record" else list(units)
    )


@dataclass(frozen=True)
class Neighbours:
    """Two data sets that differ in one privacy unit alone, and the heads that are asked.

    Attributes:
        layout: What is counted.
        heads: Weight and bias of each.
        sets: Features, labels and units of each data set. The records of the unit stand anywhere
            among those that both share, whose order is the same.
    """

    layout: QualityLayout
    heads: list[Any]
    sets: tuple[tuple[NDArray[np.float64], NDArray[np.int64], list[str]], ...]

    def counts(self) -> list[list[int]]:
        """What each data set says, from features on, in Python's integers."""
        record = self.layout.unit_rule == "record"
        return [
            exact_counts(
                self.layout, right_answers(self.heads, x, y, 1.0), y, None if record else units
            ).tolist()
            for x, y, units in self.sets
        ]


@st.composite
def neighbours(draw: Callable[..., Any]) -> Neighbours:
    """A unit more, less, or another in its place; of several records where the rule knows units."""
    rule, cap = draw(st.sampled_from([("record", 1), ("weight", 1), ("cap", 1), ("cap", 3)]))
    classes, dimension = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    number = st.floats(width=32, allow_nan=False, allow_infinity=False)
    head = st.tuples(
        hnp.arrays(np.float32, (classes, dimension), elements=number),
        hnp.arrays(np.float32, classes, elements=number),
    )
    heads = draw(st.lists(head, min_size=1, max_size=4))
    features = st.floats() | st.sampled_from([-1.0, 0.0, 0.5, 1.0])
    record = st.tuples(
        hnp.arrays(np.float64, dimension, elements=features), st.integers(-1, classes - 1)
    )
    rest = draw(st.lists(st.tuples(record, st.sampled_from(["a", "b"])), max_size=6))
    most = 1 if rule == "record" else 7
    sets = []
    for least in draw(st.sampled_from([(0, 1), (1, 0), (1, 1)])):
        rows = list(rest)
        for one in draw(st.lists(record, min_size=least, max_size=most if least else 0)):
            rows.insert(draw(st.integers(0, len(rows))), (one, "the-one"))
        x = np.array([row[0] for row, _ in rows]).reshape(len(rows), dimension)
        y = np.array([row[1] for row, _ in rows], dtype=np.int64)
        sets.append((x, y, [unit for _, unit in rows]))
    return Neighbours(_layout(len(heads), rule, cap), heads, tuple(sets))


@given(neighbours())
def test_no_neighbour_moves_the_counts_by_more_than_is_charged(pair: Neighbours) -> None:
    layout = pair.layout
    one, other = pair.counts()
    moved = [a - b for a, b in zip(one, other, strict=True)]
    most = layout.unit_cap * WEIGHT
    assert max(map(abs, moved)) <= most
    assert sum(each**2 for each in moved) <= layout.sensitivity_squared()
    assert layout.sensitivity_squared() == (len(pair.heads) + 1) * most**2


def test_what_a_head_calls_a_record_depends_on_no_other_record() -> None:
    """Near ties, where a sum in another order would fall on another side."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(97, 64)).astype(np.float32)
    heads = _heads(rng, 3, 4, 64)
    weight, bias = heads[0]
    heads.append(
        (weight[[0, 0, 0, 0]] + rng.normal(0, 1e-7, weight.shape).astype(np.float32), bias * 0)
    )
    labels = rng.integers(-1, 4, 97)
    whole = right_answers(heads, features, labels, 1.0)
    for rows in ([0], [96], list(range(1, 97)), list(rng.permutation(97))):
        part = right_answers(heads, features[rows], labels[rows], 1.0)
        assert (part == whole[:, rows]).all()


def test_heads_are_asked_as_they_were_delivered() -> None:
    rng = np.random.default_rng(6)
    features = rng.normal(size=(400, 64))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labels = rng.integers(0, 5, 400)
    for scale in (1e-30, 1.0, 1e30):
        ((weight, bias),) = _heads(rng, 1, 5, 64)
        head = (weight.astype(np.float64) * scale, np.where(np.arange(5) == 3, -1e4, bias) * scale)
        calls = (features @ head[0].T + head[1]).argmax(axis=1)
        (found,) = right_answers([head], features, labels, 1.0)
        assert (found == (calls == labels)).mean() > 0.999
        assert not (found & (labels == 3)).any()  # a class that the head never calls
    zeros = (np.zeros((5, 64)), np.zeros(5))
    assert (right_answers([zeros], features, labels, 1.0) == (labels == 0)).all()


def test_records_without_labels_and_no_records_count_nothing() -> None:
    rng = np.random.default_rng(7)
    heads = _heads(rng, 2, 3, 8)
    features = rng.normal(size=(6, 8))
    right = right_answers(heads, features, np.full(6, -1), 1.0)
    assert not right.any()
    assert exact_counts(_layout(), right, np.full(6, -1)).tolist() == [0, 0, 0]
    none = right_answers(heads, features[:0], np.zeros(0, dtype=int), 1.0)
    assert exact_counts(_layout(), none, np.zeros(0, dtype=int)).tolist() == [0, 0, 0]
    odd = right_answers(heads, np.full((1, 8), np.nan), np.zeros(1, dtype=int), 1.0)
    assert odd.shape == (2, 1)  # counted as zeros, and nothing is refused


def test_what_cannot_be_is_refused() -> None:
    for words in (
        {"candidates": 0},
        {"candidates": CANDIDATES_LIMIT + 1},
        {"weight": 1},
        {"unit_cap": 2},
        {"unit_rule": "cap", "unit_cap": 1 << 20},
    ):
        fields: dict[str, Any] = {"candidates": 2, "unit_rule": "record", "unit_cap": 1, **words}
        with pytest.raises(DecodeError, match="out of its range"):
            QualityLayout(**fields)
    right = np.zeros((2, 3), dtype=bool)
    with pytest.raises(DataError, match="units do not fit"):
        exact_counts(_layout(), right, [0, 0, 0], ["a", "a", "b"])
    with pytest.raises(DataError, match="units do not fit"):
        exact_counts(_layout(rule="weight"), right, [0, 0, 0])
    with pytest.raises(DataError, match="answers of shape"):
        exact_counts(_layout(3), right, [0, 0, 0])
    broken = (np.full((2, 4), np.inf), np.zeros(2))
    with pytest.raises(InternalError, match="not finite"):
        right_answers([broken], np.zeros((1, 4)), [0], 1.0)


def test_the_noise_is_the_mechanisms_own_and_as_large_as_is_charged() -> None:
    layout = _layout(CANDIDATES_LIMIT)
    for epsilon in (0.1, 1.0, 8.0):
        assert sigma_for(layout, epsilon, 1e-5) >= SIGMA_MINIMUM
    sigma = sigma_for(layout, 1.0, 1e-5)
    # (epsilon, delta) = (1, 1e-5) needs 3.73 sensitivities by the analytic condition
    assert sigma / (WEIGHT * np.sqrt(65)) == pytest.approx(3.730, abs=1e-3)
    exact = np.arange(65, dtype=np.int64) * WEIGHT
    noise = np.stack([release(exact, sigma, opendp_sampler) - exact for _ in range(40)])
    # chi-squared of 2600 terms: eight standard deviations, false failure below 1e-14
    assert abs((noise / sigma).var() - 1) < 8 * np.sqrt(2 / noise.size)
    assert abs(noise.mean()) < 8 * sigma / np.sqrt(noise.size)
