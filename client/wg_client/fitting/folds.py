"""Nested cross-validation: no record is evaluated by a model that its label helped to select.

To evaluate the records of fold a, a configuration and its temperature are selected with models that
were trained neither on fold a nor on the records they predict. One model without folds a and b
serves the selection for a on the records of b, and the selection for b on the records of a, so k
folds need k (k - 1) / 2 fits of all configurations. The selected configuration is then fitted
without fold a, and predicts it. (Stone 1974, *JRSS B* 36(2); Varma and Simon 2006, *BMC
Bioinformatics* 7.)

Not guaranteed: that out-of-fold figures equal those of the final model, which is trained on more
records.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.linear_head import Floats, Ints, best_inverse_temperature, log_loss

RowIndices = NDArray[np.intp]
LEAST_UNITS_PER_CLASS = 3
"""Fewest units of a class for its records to be evaluated: one is held out, one is used for
selection, and one is needed for training."""
MOST_EVALUATED_RECORDS = 2000
"""Most records that are evaluated: more would change no selection, and take more time."""


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Cross-validation folds: the fold of each evaluated record, in each repeat.

    Attributes:
        fold_of_record: Fold of each evaluated record in each repeat, int64 ``[repeats, m]``, from
            0 to ``fold_count`` - 1.
        fold_count: Number of folds.
        evaluated_rows: Indices of the evaluated records among the labelled records, ``[m]``,
            increasing.
        training_only_rows: Indices of the labelled records that are in every training set and never
            evaluated, increasing: records of units with a class of which there are too few units.
    """

    fold_of_record: Ints
    fold_count: int
    evaluated_rows: RowIndices
    training_only_rows: RowIndices = field(default_factory=lambda: np.zeros(0, dtype=np.intp))

    @property
    def is_usable(self) -> bool:
        """True if every repeat has records in at least three folds, as nested selection needs."""
        return all(len(np.unique(row)) > 2 for row in self.fold_of_record)

    def training_rows(self, evaluated_mask: NDArray[np.bool_]) -> RowIndices:
        """Return the indices of the training records among the labelled records.

        Args:
            evaluated_mask: Mask of the evaluated records that are used for training, ``[m]``.
        """
        return np.concatenate([self.evaluated_rows[evaluated_mask], self.training_only_rows])


def repeat_and_fold_counts(record_count: int) -> tuple[int, int]:
    """Return the numbers of repeats and of folds for a number of labelled records."""
    return (2, 5) if record_count < 200 else (1, 5) if record_count < 1000 else (1, 3)


def stratified_folds(
    labels: Ints, rng: np.random.Generator, unit_of_record: NDArray[np.intp] | None = None
) -> Folds:
    """Assign records to folds that spread each class evenly and split no unit.

    Below 200 records there are five folds, repeated twice; below 1,000 five folds once; else three
    folds once. Units with a class that occurs in fewer than ``LEAST_UNITS_PER_CLASS`` units are not
    evaluated: all their records are used for training in every fold.

    Args:
        labels: Labels of the records, ``[n]``.
        rng: Source of the assignment.
        unit_of_record: Index of each record's unit; None: each record is its own unit.
    """
    n = len(labels)
    repeats, count = repeat_and_fold_counts(n)
    group = np.arange(n) if unit_of_record is None else unit_of_record
    groups, representatives, sizes = np.unique(group, return_index=True, return_counts=True)
    position = np.searchsorted(groups, group)
    of_class = [np.flatnonzero(labels[representatives] == label) for label in np.unique(labels)]
    pool = (
        np.ones(len(groups), dtype=bool)
        if unit_of_record is None
        else _evaluable_unit_mask(labels, position)
    )
    training_only = np.flatnonzero(~pool[position])
    if n > MOST_EVALUATED_RECORDS:
        for members in of_class:
            order = rng.permutation(members[pool[members]])
            room = MOST_EVALUATED_RECORDS * sizes[order].sum() / n
            pool[order[1:]] = np.cumsum(sizes[order])[1:] <= room
    rows = []
    for _ in range(repeats):
        if unit_of_record is not None:
            rows.append(_assign_groups_to_folds(labels, position, pool, count, rng)[position])
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


def _assign_groups_to_folds(
    labels: Ints,
    group_of_record: RowIndices,
    evaluated_groups: NDArray[np.bool_],
    fold_count: int,
    rng: np.random.Generator,
) -> Ints:
    """Assign groups to folds so that every fold has its share of every class, as far as possible.

    A unit may have records of several classes. If it were assigned by one of them, folds would lack
    the others, and a class would be rarer in training the more of it is held out: figures of
    local-only models would fall below chance. The largest groups come first; each goes to the fold
    where the squared class shares grow least, and among equal folds to the one with the fewest
    records.

    Args:
        labels: Labels of the records, ``[n]``.
        group_of_record: Group of each record, ``[n]``.
        evaluated_groups: Mask of the groups that are evaluated; the others stay in fold 0.
        rng: Source of the order of groups of one size, and of folds.
    """
    classes, dense = np.unique(labels, return_inverse=True)
    table = np.zeros((len(evaluated_groups), len(classes)))
    np.add.at(table, (group_of_record, dense), 1.0)
    table[~evaluated_groups] = 0
    shares, sizes = table / np.maximum(table.sum(axis=0), 1), table.sum(axis=1)
    class_counts, records = np.zeros((fold_count, len(classes))), np.zeros(fold_count)
    fold_of, names = np.zeros(len(evaluated_groups), dtype=np.int64), rng.permutation(fold_count)
    order = rng.permutation(np.flatnonzero(evaluated_groups))
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        fold = int(np.lexsort((records, (class_counts @ shares[group]).round(12)))[0])
        class_counts[fold] += shares[group]
        records[fold] += sizes[group]
        fold_of[group] = names[fold]
    return fold_of


def _evaluable_unit_mask(labels: Ints, unit_of_record: RowIndices) -> NDArray[np.bool_]:
    """Return a mask ``[u]`` of units whose classes are all in ``LEAST_UNITS_PER_CLASS`` units.

    Args:
        labels: Labels of the records, ``[n]``.
        unit_of_record: Unit of each record, ``[n]``.
    """
    classes, dense = np.unique(labels, return_inverse=True)
    occurs = np.zeros((unit_of_record.max(initial=-1) + 1, len(classes)), dtype=bool)
    occurs[unit_of_record, dense] = True
    eligible = np.ones(len(occurs), dtype=bool)
    while True:
        scarce = occurs[eligible].sum(axis=0) < LEAST_UNITS_PER_CLASS
        remaining = eligible & ~occurs[:, scarce].any(axis=1)
        if (remaining == eligible).all():
            return eligible
        eligible = remaining


UnseenClassCorrection = Callable[[NDArray[np.bool_]], tuple[Floats, Floats]]
"""Correction for classes without records, from a mask ``[m]`` of the evaluated records to use:
logits to add, ``[configurations, K]``, and expected loss in nats, ``[configurations]``."""
ConfigurationsPredictor = Callable[[RowIndices, RowIndices], Sequence[Floats]]
"""(training rows, held-out rows) -> logits of held-out rows by each configuration, each
``[held out, K]``."""
ConfigurationPredictor = Callable[[RowIndices, RowIndices, int], Floats]
"""(training rows, held-out rows, configuration) -> its logits ``[held out, K]``."""


@dataclass(frozen=True, slots=True, eq=False)
class Configurations:
    """Configurations of a model, among which cross-validation selects.

    Attributes:
        predict_all: Function that fits all configurations on some rows and predicts other rows.
        predict_one: Function that fits one configuration on some rows and predicts other rows.
        prior_penalties: Penalty of each configuration in selection, nats, ``[configurations]``.
    """

    predict_all: ConfigurationsPredictor
    predict_one: ConfigurationPredictor
    prior_penalties: Floats


def single_configuration(predict: Callable[[RowIndices, RowIndices], Floats]) -> Configurations:
    """Return ``Configurations`` with one member and no penalty.

    Args:
        predict: (training rows, held-out rows) -> logits ``[held out, K]``.
    """
    return Configurations(
        lambda train, held_out: [predict(train, held_out)],
        lambda train, held_out, choice: predict(train, held_out),
        np.zeros(1),
    )


@dataclass(frozen=True, slots=True, eq=False)
class NestedSelection:
    """Result of nested cross-validation: selected configurations and out-of-fold predictions.

    Attributes:
        chosen_index: Index of the configuration selected on all evaluated records.
        inverse_temperature: Factor on the logits of that configuration with the least log loss.
        fold_choices: Configuration selected without each fold, int64 ``[repeats, folds]``.
        fold_inverse_temperatures: Inverse temperature selected without each fold,
            ``[repeats, folds]``.
        logits: Out-of-fold logits, factors applied, ``[repeats, m, K]``.
        inner_logits: Logits of fits without a fold and without the record, factors applied,
            ``[repeats, folds, m, K]``; zeros for records of that fold.
    """

    chosen_index: int
    inverse_temperature: float
    fold_choices: Ints
    fold_inverse_temperatures: Floats
    logits: Floats
    inner_logits: Floats


def cross_validate_nested(
    configurations: Configurations,
    labels: Ints,
    folds: Folds,
    unseen_correction: UnseenClassCorrection | None = None,
) -> NestedSelection:
    """Select a configuration by out-of-fold log loss plus a prior, and evaluate the selection.

    With a handful of records, differences between configurations are mostly noise: a penalty is the
    evidence, in nats, that a configuration must show beyond the default one. The logits of each get
    one temperature, so that learners with and without calibrated logits compare.

    Args:
        labels: Labels of all labelled records, ``[n]``.
        unseen_correction: Correction for classes without records; None: every class has records.
    """
    prior = configurations.prior_penalties
    correction = unseen_correction or (lambda evaluated_mask: _NO_CORRECTION)
    y, rows = labels[folds.evaluated_rows], folds.evaluated_rows
    m, repeats = len(y), len(folds.fold_of_record)
    choices = np.zeros((repeats, folds.fold_count), dtype=np.int64)
    factors = np.ones((repeats, folds.fold_count))
    inner: Floats | None = None
    tables: list[Floats] = []
    for repeat, fold in enumerate(folds.fold_of_record):
        table = _inner_fit_logits(configurations.predict_all, fold, folds, len(prior))
        tables.append(table)
        if inner is None:
            inner = np.zeros((repeats, folds.fold_count, m, table.shape[3]))
        for out in range(folds.fold_count):
            train = fold != out
            class_bias, unseen = correction(train)
            training_logits = table[out][:, train] + class_bias[:, None]
            choice, factor = _select_index_and_temperature(
                training_logits, y[train], prior, unseen, m
            )
            choices[repeat, out], factors[repeat, out] = choice, factor
            inner[repeat, out, train] = training_logits[choice] * factor
    if inner is None:
        raise ValueError("no folds")
    logits = np.zeros((repeats, m, inner.shape[3]))
    for repeat, fold in enumerate(folds.fold_of_record):
        for out in range(folds.fold_count):
            train, choice = fold != out, int(choices[repeat, out])
            if train.all():
                continue
            class_bias, _ = correction(train)
            values = configurations.predict_one(folds.training_rows(train), rows[~train], choice)
            values = values + class_bias[min(choice, len(class_bias) - 1)]
            logits[repeat, ~train] = values * factors[repeat, out]
    class_bias, unseen = correction(np.ones(m, dtype=bool))
    pairs = [
        (table[out][:, fold != out] + class_bias[:, None], y[fold != out])
        for table, fold in zip(tables, folds.fold_of_record, strict=True)
        for out in range(folds.fold_count)
    ]
    all_logits = np.concatenate([x for x, _ in pairs], axis=1)
    all_labels = np.concatenate([t for _, t in pairs])
    best_trial, factor = _select_index_and_temperature(all_logits, all_labels, prior, unseen, m)
    return NestedSelection(best_trial, factor, choices, factors, logits, inner)


_NO_CORRECTION = np.zeros((1, 1)), np.zeros(1)


def _inner_fit_logits(
    predict_all: ConfigurationsPredictor,
    fold_of_record: Ints,
    folds: Folds,
    configuration_count: int,
) -> Floats:
    """Return logits ``[folds, configurations, m, K]`` of fits without the fold and the record.

    Args:
        fold_of_record: Fold of each evaluated record, ``[m]``.
        configuration_count: Number of configurations.
    """
    table: Floats | None = None
    for fold_a, fold_b in combinations(range(folds.fold_count), 2):
        in_training = (fold_of_record != fold_a) & (fold_of_record != fold_b)
        test, train = np.flatnonzero(~in_training), folds.training_rows(in_training)
        if not len(test) or not len(train):
            continue
        in_fold_a = fold_of_record[test] == fold_a
        for index, value in enumerate(predict_all(train, folds.evaluated_rows[test])):
            if table is None:
                table = np.zeros(
                    (folds.fold_count, configuration_count, len(fold_of_record), value.shape[1])
                )
            table[fold_b, index, test[in_fold_a]] = value[in_fold_a]
            table[fold_a, index, test[~in_fold_a]] = value[~in_fold_a]
    if table is None:
        raise ValueError("no folds")
    return table


def _select_index_and_temperature(
    logits: Floats, labels: Ints, prior_penalties: Floats, unseen_losses: Floats, record_count: int
) -> tuple[int, float]:
    """Return the index of the configuration with the least loss, and its inverse temperature.

    Args:
        logits: Logits of each configuration, ``[configurations, n, K]``.
        prior_penalties: Penalty of each configuration, nats.
        unseen_losses: Expected loss of each configuration on classes without records, nats per
            record.
        record_count: Number of records by which mean losses are multiplied.
    """
    factors = [best_inverse_temperature(candidate_logits, labels) for candidate_logits in logits]
    losses = [
        record_count * float(log_loss(candidate_logits * factor, labels).mean())
        for candidate_logits, factor in zip(logits, factors, strict=True)
    ]
    best_trial = int(np.argmin(np.array(losses) + record_count * unseen_losses + prior_penalties))
    return best_trial, factors[best_trial]


def scale_by_best_temperatures(
    logits: Floats, inner_logits: Floats, labels: Ints, folds: Folds
) -> tuple[Floats, Floats, float]:
    """Divide each fold's logits by the temperature that is best on the other folds.

    Args:
        logits: Out-of-fold logits, ``[repeats, m, K]``.
        inner_logits: Logits of fits without a fold and the record, ``[repeats, folds, m, K]``.
        labels: Labels of the evaluated records, ``[m]``.

    Returns:
        ``logits`` scaled, ``inner_logits`` scaled, and the final model's inverse temperature.
    """
    logits, inner_logits = logits.copy(), inner_logits.copy()
    final = best_inverse_temperature(np.concatenate(logits), np.tile(labels, len(logits)))
    for repeat, fold in enumerate(folds.fold_of_record):
        for out in range(folds.fold_count):
            train = fold != out
            factor = best_inverse_temperature(inner_logits[repeat, out, train], labels[train])
            inner_logits[repeat, out] *= factor
            logits[repeat, ~train] *= factor
    return logits, inner_logits, final
