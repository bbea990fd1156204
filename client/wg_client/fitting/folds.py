"""Stratified, repeated cross-validation folds, and out-of-fold selection without self-praise.

Picking the best of many configurations by their out-of-fold score, and then reporting that score,
praises oneself. ``select`` therefore also gives *cross-fitted* predictions: for the records of a
fold the configuration is chosen by the other folds' scores only. What remains is the slight
dependence through training sets; see Tsamardinos et al. (2018), Machine Learning 107, on the bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.linear_head import Floats, Ints, best_temperature, log_loss


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Fold of each record in each repeat.

    Attributes:
        assignment: int64 ``[repeats, n]`` in 0..count-1.
        count: Number of folds.
    """

    assignment: Ints
    count: int

    @property
    def usable(self) -> bool:
        """Whether every repeat has records in two folds at least."""
        return all(len(np.unique(row)) > 1 for row in self.assignment)


def shape(records: int) -> tuple[int, int]:
    """Repeats, and folds of each, for so many labelled records."""
    return (3, 4) if records < 200 else (2, 4) if records < 1000 else (1, 3)


def stratified(
    labels: Ints, rng: np.random.Generator, units: NDArray[np.intp] | None = None
) -> Folds:
    """Folds that spread each class evenly and never split a privacy unit.

    Four folds; three repeats below 200 records, two below 1,000, else three folds once.

    Args:
        labels: ``[n]``.
        rng: Source of the assignment.
        units: Index of each record's unit, or None: each record is its own.
    """
    n = len(labels)
    repeats, count = shape(n)
    group = np.arange(n) if units is None else units
    groups, first = np.unique(group, return_index=True)
    position = np.searchsorted(groups, group)
    rows = []
    for _ in range(repeats):
        of_group = np.empty(len(groups), dtype=np.int64)
        turn = int(rng.integers(count))
        for label in np.unique(labels[first]):
            members = np.flatnonzero(labels[first] == label)
            of_group[rng.permutation(members)] = (turn + np.arange(len(members))) % count
            turn += len(members)
        rows.append(of_group[position])
    return Folds(np.stack(rows), count)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What cross-validation chose, and what it predicted.

    Attributes:
        chosen: Index of the configuration chosen on all folds.
        predictions: Cross-fitted out-of-fold class of each record, int64 ``[repeats, n]``.
        logits: Their logits at the configuration's temperature, ``[repeats, n, K]``.
        record_losses: Their log loss, nats, ``[repeats, n]``.
        losses: Nats of each configuration, prior included, ``[configurations]``.
        factors: Factor on each configuration's logits with the least loss, ``[configurations]``.
        choices: Configuration chosen without each fold, int64 ``[repeats, folds]``.
    """

    chosen: int
    predictions: Ints
    logits: Floats
    record_losses: Floats
    losses: Floats
    factors: Floats
    choices: Ints


Predict = Callable[[NDArray[np.intp], NDArray[np.intp]], Sequence[Floats]]
"""(training rows, held-out rows) -> for each configuration the logits ``[held out, K]``."""


def select(predict: Predict, labels: Ints, folds: Folds, prior: Floats) -> Selection:
    """Choose a configuration by out-of-fold log loss plus a prior in nats.

    At a handful of records a vote among configurations is mostly noise: ``prior`` says how many
    nats of evidence a configuration must show beyond the default's. Logits of each configuration
    get one temperature, so that families with and without a scale of their own compare.

    Args:
        predict: Fits all configurations on some rows and predicts others.
        labels: ``[n]``.
        folds: Folds to use.
        prior: Penalty of each configuration, nats, ``[configurations]``.
    """
    repeats, n = folds.assignment.shape
    logits: list[list[Floats]] = [[] for _ in range(repeats)]
    for repeat in range(repeats):
        table: list[Floats] = []
        for fold in range(folds.count):
            held = np.flatnonzero(folds.assignment[repeat] == fold)
            train = np.flatnonzero(folds.assignment[repeat] != fold)
            if not len(held) or not len(train):
                continue
            for index, value in enumerate(predict(train, held)):
                if index == len(table):
                    table.append(np.zeros((n, value.shape[1])))
                table[index][held] = value
        logits[repeat] = table
    configurations = len(prior)
    losses = np.zeros((configurations, repeats, n))
    factors = np.ones(configurations)
    choices = np.zeros((repeats, folds.count), dtype=np.int64)
    for index in range(configurations):
        stacked = np.concatenate([logits[repeat][index] for repeat in range(repeats)])
        factor = factors[index] = best_temperature(stacked, np.tile(labels, repeats))
        for repeat in range(repeats):
            losses[index, repeat] = log_loss(logits[repeat][index] * factor, labels)
    found = np.zeros((repeats, n, logits[0][0].shape[1]))
    record_losses = np.zeros((repeats, n))
    for repeat in range(repeats):
        for fold in range(folds.count):
            held = folds.assignment[repeat] == fold
            if not held.any():
                continue
            others = losses[:, repeat, ~held].sum(axis=1) * n / max(int((~held).sum()), 1)
            best = choices[repeat, fold] = int(np.argmin(others + prior))
            found[repeat, held] = logits[repeat][best][held] * factors[best]
            record_losses[repeat, held] = losses[best, repeat, held]
    total = losses.mean(axis=1).sum(axis=1) + prior
    chosen = int(np.argmin(total))
    return Selection(chosen, found.argmax(axis=2), found, record_losses, total, factors, choices)
