"""Folds are stratified and never split a unit; nothing is judged by what chose it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.client.discriminants import fit_lda

from wg_client.fitting.folds import (
    LEAST_UNITS_PER_CLASS,
    MOST_EVALUATED_RECORDS,
    Configurations,
    ConfigurationsPredictor,
    NestedSelection,
    cross_validate_nested,
    stratified_folds,
)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_each_class_is_spread_evenly(labels: list[int], seed: int) -> None:
    y = np.array(labels)
    folds = stratified_folds(y, np.random.default_rng(seed))
    for row in folds.fold_of_record:
        for label in np.unique(y):
            sizes = np.bincount(row[y == label], minlength=folds.fold_count)
            assert sizes.max() - sizes.min() <= 1
    assert folds.is_usable == (len(y) > 2)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_unit_is_never_split(pairs: list[tuple[int, int]]) -> None:
    y = np.array([label for label, _ in pairs])
    units = np.array([unit for _, unit in pairs])
    folds = stratified_folds(y, np.random.default_rng(0), units)
    assert not set(units[folds.evaluated_rows]) & set(units[folds.training_only_rows])
    assert sorted([*folds.evaluated_rows, *folds.training_only_rows]) == list(range(len(y)))
    for row in folds.fold_of_record:
        for unit in np.unique(units[folds.evaluated_rows]):
            assert len(np.unique(row[units[folds.evaluated_rows] == unit])) == 1
    judged = y[folds.evaluated_rows]
    for label in np.unique(judged):
        assert len(np.unique(units[folds.evaluated_rows][judged == label])) >= LEAST_UNITS_PER_CLASS


def test_a_class_of_two_units_is_learnt_from_in_every_fold_and_never_judged() -> None:
    y = np.repeat([0, 1, 2], 6)
    units = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6, 7, 7, 7])
    folds = stratified_folds(y, np.random.default_rng(0), units)
    assert set(y[folds.evaluated_rows]) == {0, 1} and set(y[folds.training_only_rows]) == {2}
    learnt: list[set[int]] = []

    def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[NDArray[np.float64]]:
        learnt.append(set(train))
        assert not set(units[train]) & set(units[held])
        return [np.zeros((len(held), 3))]

    found = cross_validate_nested(_configurations(predict, np.zeros(1)), y, folds)
    assert learnt and all(set(folds.training_only_rows) <= rows for rows in learnt)
    assert found.logits.shape == (2, len(folds.evaluated_rows), 3)


def test_units_of_several_classes_leave_no_fold_without_its_share_of_each() -> None:
    units = np.repeat(np.arange(10), 2)
    labels = np.where(np.arange(20) % 2 == 0, 0, 1 + units % 2)  # a 0 in each, and a 1 or a 2
    for seed in range(20):
        folds = stratified_folds(labels, np.random.default_rng(seed), units)
        for row in folds.fold_of_record:
            for fold in range(folds.fold_count):
                assert np.bincount(labels[row == fold]).tolist() == [2, 1, 1]


def test_of_thousands_of_records_the_units_that_are_judged_stay_whole() -> None:
    rng = np.random.default_rng(3)
    units, labels = (
        rng.integers(0, 900, 3 * MOST_EVALUATED_RECORDS),
        rng.integers(0, 3, 3 * MOST_EVALUATED_RECORDS),
    )
    folds = stratified_folds(labels, rng, units)
    assert len(folds.evaluated_rows) <= 1.1 * MOST_EVALUATED_RECORDS
    shares = [
        np.bincount(labels[folds.evaluated_rows][row == f])
        for row in folds.fold_of_record
        for f in (0, 1, 2)
    ]
    assert np.ptp(np.array(shares), axis=0).max() <= 3


def _constant(best: int, configurations: int, y: NDArray[np.int64]) -> ConfigurationsPredictor:
    def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[NDArray[np.float64]]:
        right = np.eye(3)[y[held]] * 4
        rng = np.random.default_rng(len(train))
        return [
            right if index == best else rng.normal(size=right.shape)
            for index in range(configurations)
        ]

    return predict


def _configurations(predict: ConfigurationsPredictor, prior: NDArray[np.float64]) -> Configurations:
    return Configurations(predict, lambda train, held, choice: predict(train, held)[choice], prior)


def test_the_best_configuration_is_found_unless_the_prior_forbids() -> None:
    y = np.arange(60) % 3
    folds = stratified_folds(y, np.random.default_rng(1))
    predict = _constant(3, 5, y)
    found = cross_validate_nested(_configurations(predict, np.zeros(5)), y, folds)
    assert found.chosen_index == 3 and (found.fold_choices == 3).all()
    assert (found.logits.argmax(axis=2) == y).all()
    prior = np.array([0.0, 0, 0, 1e6, 0])
    assert cross_validate_nested(_configurations(predict, prior), y, folds).chosen_index != 3


def test_choosing_among_noise_does_not_look_better_than_chance() -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 40)
    folds = stratified_folds(y, rng)

    def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[NDArray[np.float64]]:
        noise = np.random.default_rng(7 + int(train.sum()))
        return [noise.normal(size=(len(held), 2)) for _ in range(100)]

    found = cross_validate_nested(_configurations(predict, np.zeros(100)), y, folds)
    # 80 out-of-fold predictions: outside of 0.5 +- 0.25 with probability below 1e-4
    assert abs((found.logits.argmax(axis=2) == y).mean() - 0.5) < 0.25


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_no_label_of_a_fold_has_a_part_in_what_is_said_of_it(seed: int) -> None:
    """Labels of one fold change; out-of-fold and inner logits of that fold do not, to the bit."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(3), 6)
    x = np.eye(3)[y] + rng.normal(size=(len(y), 3))
    folds = stratified_folds(y, rng)
    fold = int(rng.integers(folds.fold_count))
    own = folds.fold_of_record[0] == fold
    changed = y.copy()
    changed[own] = (y[own] + 1) % 3

    def found(labels: NDArray[np.int64]) -> NestedSelection:
        def predict(train: NDArray[np.intp], held: NDArray[np.intp]) -> list[NDArray[np.float64]]:
            heads = (fit_lda(x[train], labels[train], 3, c) for c in (0.1, 0.9))
            return [head.logits(x[held]) for head in heads]

        return cross_validate_nested(_configurations(predict, np.zeros(2)), labels, folds)

    one, two = found(y), found(changed)
    np.testing.assert_array_equal(one.logits[0, own], two.logits[0, own])
    np.testing.assert_array_equal(one.inner_logits[0, fold], two.inner_logits[0, fold])
    assert not np.array_equal(one.logits[0, ~own], two.logits[0, ~own])


def test_of_thousands_some_are_judged_of_every_class_and_units_whole() -> None:
    rng = np.random.default_rng(3)
    y = np.concatenate([np.zeros(7000, dtype=np.int64), np.ones(40, dtype=np.int64)])
    units = np.arange(len(y)) // 4
    folds = stratified_folds(y, rng, units)
    assert (
        folds.fold_of_record.shape == (1, len(folds.evaluated_rows))
        and len(folds.evaluated_rows) <= MOST_EVALUATED_RECORDS + 4
    )
    assert set(y[folds.evaluated_rows]) == {0, 1}
    whole = np.bincount(units[folds.evaluated_rows])
    assert set(whole) <= {0, 4}
