"""Folds are stratified and never split a unit; selection does not praise itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wg_client.fitting.folds import Predict, select, stratified


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_each_class_is_spread_evenly(labels: list[int], seed: int) -> None:
    y = np.array(labels)
    folds = stratified(y, np.random.default_rng(seed))
    for row in folds.assignment:
        for label in np.unique(y):
            sizes = np.bincount(row[y == label], minlength=folds.count)
            assert sizes.max() - sizes.min() <= 1
    assert folds.usable == (len(y) > 1)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_unit_is_never_split(pairs: list[tuple[int, int]]) -> None:
    y = np.array([label for label, _ in pairs])
    units = np.array([unit for _, unit in pairs])
    folds = stratified(y, np.random.default_rng(0), units)
    for row in folds.assignment:
        for unit in np.unique(units):
            assert len(np.unique(row[units == unit])) == 1
    assert folds.usable == (len(np.unique(units)) > 1)


def _constant(best: int, configurations: int, y: NDArray[np.int64]) -> Predict:
    def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[NDArray[np.float64]]:
        right = np.eye(3)[y[held]] * 4
        rng = np.random.default_rng(len(train))
        return [
            right if index == best else rng.normal(size=right.shape)
            for index in range(configurations)
        ]

    return predict


def test_the_best_configuration_is_found_unless_the_prior_forbids() -> None:
    y = np.arange(60) % 3
    folds = stratified(y, np.random.default_rng(1))
    found = select(_constant(3, 5, y), y, folds, np.zeros(5))
    assert found.chosen == 3
    assert (found.predictions == y).all()
    prior = np.array([0.0, 0, 0, 1e6, 0])
    assert select(_constant(3, 5, y), y, folds, prior).chosen != 3


def test_choosing_among_noise_does_not_look_better_than_chance() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 40)
    folds = stratified(y, rng)

    def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[NDArray[np.float64]]:
        noise = np.random.default_rng(7 + int(train.sum()))
        return [noise.normal(size=(len(held), 2)) for _ in range(100)]

    found = select(predict, y, folds, np.zeros(100))
    praised = np.array(found.losses).min() / len(y)
    assert praised < np.log(2)  # the best of a hundred looks better than chance
    # 120 cross-fitted predictions: outside of 0.5 +- 0.2 with probability below 1e-4
    assert abs((found.predictions == y).mean() - 0.5) < 0.2
