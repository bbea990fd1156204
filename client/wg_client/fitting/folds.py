"""Nested cross-validation: no figure of a record comes from a choice that its label had a part in.

Records are dealt into folds. To judge those of fold a, a configuration and its temperature are
chosen by models that saw neither fold a nor the records they predict: one model without folds a and
b serves the choice for a on the records of b, and the choice for b on those of a, so that k folds
ask for k (k - 1) / 2 fits of all configurations. The configuration chosen is then fitted without
fold a, and predicts it. (Stone 1974, *JRSS B* 36(2); Varma and Simon 2006, *BMC Bioinformatics* 7.)

Not guaranteed: that out-of-fold figures are those of the final model, which has seen more records.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.linear_head import Floats, Ints, best_temperature, log_loss

RowIndex = NDArray[np.intp]
LEAST_UNITS = 3
"""Units of a class below which its records are not judged: with one held out, and one for the
choice, no other would be left to learn the class from."""
JUDGED = 2000
"""Records that are judged, at most: more would change no choice, and time grows with them."""


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Fold of each judged record in each repeat.

    Attributes:
        assignment: int64 ``[repeats, m]`` in 0..count-1.
        count: Number of folds.
        rows: Place of the judged records among the labelled ones, ``[m]``, rising.
        training_only: Place of records that are in every training part and never judged, rising:
            those of units with a class of which there are too few units.
    """

    assignment: Ints
    count: int
    rows: RowIndex
    training_only: RowIndex = field(default_factory=lambda: np.zeros(0, dtype=np.intp))

    @property
    def usable(self) -> bool:
        """True if every repeat has records in three folds at least: choices are nested."""
        return all(len(np.unique(row)) > 2 for row in self.assignment)

    def training(self, among: NDArray[np.bool_]) -> RowIndex:
        """Return the place of records that a model learns from, among the labelled ones.

        Args:
            among: Judged records that are among them, ``[m]``.
        """
        return np.concatenate([self.rows[among], self.training_only])


def shape(records: int) -> tuple[int, int]:
    """Repeats, and folds of each, for so many labelled records."""
    return (2, 5) if records < 200 else (1, 5) if records < 1000 else (1, 3)


def stratify(
    labels: Ints, rng: np.random.Generator, units: NDArray[np.intp] | None = None
) -> Folds:
    """Folds that spread each class evenly and split no unit.

    Five folds twice below 200 records, once below 1,000; three once beyond. A class with fewer than
    ``LEAST_UNITS`` units is not judged, nor is any other record of these units: all are learnt from
    in every fold.

    Args:
        labels: ``[n]``.
        rng: Source of the assignment.
        units: Index of each record's unit, or None: each record is its own.
    """
    n = len(labels)
    repeats, count = shape(n)
    group = np.arange(n) if units is None else units
    groups, representatives, sizes = np.unique(group, return_index=True, return_counts=True)
    position = np.searchsorted(groups, group)
    of_class = [np.flatnonzero(labels[representatives] == label) for label in np.unique(labels)]
    pool = np.ones(len(groups), dtype=bool) if units is None else _judgeable(labels, position)
    training_only = np.flatnonzero(~pool[position])
    if n > JUDGED:
        for members in of_class:
            order = rng.permutation(members[pool[members]])
            room = JUDGED * sizes[order].sum() / n
            pool[order[1:]] = np.cumsum(sizes[order])[1:] <= room
    rows = []
    for _ in range(repeats):
        if units is not None:
            rows.append(_deal(labels, position, pool, count, rng)[position])
            continue
        of_group = np.empty(len(groups), dtype=np.int64)
        turn = int(rng.integers(count))
        for members in of_class:
            members = members[pool[members]]
            of_group[rng.permutation(members)] = (turn + np.arange(len(members))) % count
            turn += len(members)
        rows.append(of_group[position])
    judged_rows = np.flatnonzero(pool[position])
    return Folds(np.stack(rows)[:, judged_rows], count, judged_rows, training_only)


def _deal(
    labels: Ints, position: RowIndex, pool: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> Ints:
    """Fold of each group, so that every fold has its share of every class, as far as groups allow.

    A unit may have records of several classes. Were it dealt by one of them, folds would lack
    others, and a class is seldomer in training the more of it is held out: figures of what learns
    here alone fall below chance. The largest groups come first; each goes where the squared shares
    of classes grow least, among equals to the fold with the fewest records.

    Args:
        labels: ``[n]``.
        position: Group of each record, ``[n]``.
        pool: Groups that are judged; the others are in fold 0.
        rng: Source of the order of groups of one size, and of folds.
    """
    classes, dense = np.unique(labels, return_inverse=True)
    table = np.zeros((len(pool), len(classes)))
    np.add.at(table, (position, dense), 1.0)
    table[~pool] = 0
    shares, sizes = table / np.maximum(table.sum(axis=0), 1), table.sum(axis=1)
    class_counts, records = np.zeros((count, len(classes))), np.zeros(count)
    fold_of, names = np.zeros(len(pool), dtype=np.int64), rng.permutation(count)
    order = rng.permutation(np.flatnonzero(pool))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold = int(np.lexsort((records, (class_counts @ shares[group]).round(12)))[0])
        class_counts[fold] += shares[group]
        records[fold] += sizes[group]
        fold_of[group] = names[fold]
    return fold_of


def _judgeable(labels: Ints, position: RowIndex) -> NDArray[np.bool_]:
    """Units ``[u]`` all of whose classes occur in ``LEAST_UNITS`` units of this kind.

    Args:
        labels: ``[n]``.
        position: Unit of each record, ``[n]``.
    """
    classes, dense = np.unique(labels, return_inverse=True)
    occurs = np.zeros((position.max(initial=-1) + 1, len(classes)), dtype=bool)
    occurs[position, dense] = True
    eligible = np.ones(len(occurs), dtype=bool)
    while True:
        scarce = occurs[eligible].sum(axis=0) < LEAST_UNITS
        remaining = eligible & ~occurs[:, scarce].any(axis=1)
        if (remaining == eligible).all():
            return eligible
        eligible = remaining


Tilt = Callable[[NDArray[np.bool_]], tuple[Floats, Floats]]
"""What is known of classes without records when only these judged records ``[m]`` are used: added
logits ``[configurations, K]`` and nats ``[configurations]``."""
Predict = Callable[[RowIndex, RowIndex], Sequence[Floats]]
"""(training rows, held-out rows) -> for each configuration the logits ``[held out, K]``."""
Judge = Callable[[RowIndex, RowIndex, int], Floats]
"""(training rows, held-out rows, configuration) -> its logits ``[held out, K]``."""


@dataclass(frozen=True, slots=True, eq=False)
class Nested:
    """Choices of nested cross-validation, and its predictions.

    Attributes:
        chosen: Index of the configuration chosen on all judged records.
        factor: Factor on its logits with the least loss, its temperature's inverse.
        choices: Configuration chosen without each fold, int64 ``[repeats, folds]``.
        factors: Factors that were chosen, ``[repeats, folds]``.
        logits: Out-of-fold logits, factors applied, ``[repeats, m, K]``.
        inner: Logits of models that saw neither a fold nor the record, factors applied,
            ``[repeats, folds, m, K]``; zeros for records of that fold.
    """

    chosen: int
    factor: float
    choices: Ints
    factors: Floats
    logits: Floats
    inner: Floats


def cross_validate_nested(
    predict: Predict,
    judge: Judge,
    labels: Ints,
    folds: Folds,
    prior: Floats,
    tilt: Tilt | None = None,
) -> Nested:
    """Choose a configuration by out-of-fold log loss plus a prior in nats, and judge the choice.

    At a handful of records a vote among configurations is mostly noise: ``prior`` says how many
    nats of evidence a configuration must show beyond the default's. Logits of each configuration
    get one temperature, so that families with and without a scale of their own compare.

    Args:
        predict: Fits all configurations on some rows and predicts others.
        judge: Fits one.
        labels: Labels of all labelled records, ``[n]``.
        prior: Penalty of each configuration, nats, ``[configurations]``.
        tilt: Where classes have no records.
    """
    y, rows = labels[folds.rows], folds.rows
    m, repeats = len(y), len(folds.assignment)
    choices = np.zeros((repeats, folds.count), dtype=np.int64)
    factors = np.ones((repeats, folds.count))
    inner: Floats | None = None
    tables: list[Floats] = []
    for repeat, fold in enumerate(folds.assignment):
        table = _table(predict, fold, folds, len(prior))
        tables.append(table)
        if inner is None:
            inner = np.zeros((repeats, folds.count, m, table.shape[3]))
        for out in range(folds.count):
            train = fold != out
            class_bias, unseen = tilt(train) if tilt else _NOTHING
            training_logits = table[out][:, train] + class_bias[:, None]
            choice, factor = _best(training_logits, y[train], prior, unseen, m)
            choices[repeat, out], factors[repeat, out] = choice, factor
            inner[repeat, out, train] = training_logits[choice] * factor
    if inner is None:
        raise ValueError("no folds")
    logits = np.zeros((repeats, m, inner.shape[3]))
    for repeat, fold in enumerate(folds.assignment):
        for out in range(folds.count):
            train, choice = fold != out, int(choices[repeat, out])
            if train.all():
                continue
            class_bias, _ = tilt(train) if tilt else _NOTHING
            values = judge(folds.training(train), rows[~train], choice)
            values = values + class_bias[min(choice, len(class_bias) - 1)]
            logits[repeat, ~train] = values * factors[repeat, out]
    class_bias, unseen = tilt(np.ones(m, dtype=bool)) if tilt else _NOTHING
    pairs = [
        (table[out][:, fold != out] + class_bias[:, None], y[fold != out])
        for table, fold in zip(tables, folds.assignment, strict=True)
        for out in range(folds.count)
    ]
    all_losses = np.concatenate([x for x, _ in pairs], axis=1)
    best_trial, factor = _best(all_losses, np.concatenate([t for _, t in pairs]), prior, unseen, m)
    return Nested(best_trial, factor, choices, factors, logits, inner)


_NOTHING = np.zeros((1, 1)), np.zeros(1)


def _table(predict: Predict, fold: Ints, folds: Folds, configurations: int) -> Floats:
    """Logits ``[folds, configurations, m, K]`` of models without a fold and without the record."""
    table: Floats | None = None
    for fold_a, fold_b in combinations(range(folds.count), 2):
        in_training = (fold != fold_a) & (fold != fold_b)
        test, train = np.flatnonzero(~in_training), folds.training(in_training)
        if not len(test) or not len(train):
            continue
        in_fold_a = fold[test] == fold_a
        for index, value in enumerate(predict(train, folds.rows[test])):
            if table is None:
                table = np.zeros((folds.count, configurations, len(fold), value.shape[1]))
            table[fold_b, index, test[in_fold_a]] = value[in_fold_a]
            table[fold_a, index, test[~in_fold_a]] = value[~in_fold_a]
    if table is None:
        raise ValueError("no folds")
    return table


def _best(
    logits: Floats, labels: Ints, prior: Floats, unseen: Floats, records: int
) -> tuple[int, float]:
    """The best of configurations by logits ``[configurations, n, K]``, and its factor."""
    factors = [best_temperature(candidate_logits, labels) for candidate_logits in logits]
    losses = [
        records * float(log_loss(candidate_logits * factor, labels).mean())
        for candidate_logits, factor in zip(logits, factors, strict=True)
    ]
    best_trial = int(np.argmin(np.array(losses) + records * unseen + prior))
    return best_trial, factors[best_trial]


def temper(
    logits: Floats, inner: Floats, labels: Ints, folds: Folds
) -> tuple[Floats, Floats, float]:
    """Bring logits to their best temperature, chosen for each fold without it.

    Args:
        logits: As of ``Nested``.
        inner: Records of the inner fold, as indices.
        labels: Labels of the judged records, ``[m]``.

    Returns:
        Both with factors applied, and the factor for the final model.
    """
    logits, inner = logits.copy(), inner.copy()
    final = best_temperature(np.concatenate(logits), np.tile(labels, len(logits)))
    for repeat, fold in enumerate(folds.assignment):
        for out in range(folds.count):
            train = fold != out
            factor = best_temperature(inner[repeat, out, train], labels[train])
            inner[repeat, out] *= factor
            logits[repeat, ~train] *= factor
    return logits, inner, final
