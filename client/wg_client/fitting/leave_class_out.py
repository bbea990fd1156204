"""Leave-class-out: quality on classes without local records, estimated on classes with records.

Each class with records in turn is treated as if it had none: a model is fitted without its records
and predicts them, with all other classes without records as alternatives. Around a base head,
classes without records keep the base head's rows and get one common bias: ``LearnerEvaluation``
selects this bias and returns its loss, from any subset of the records.

With fewer than three classes with records no class can be left out. The estimate is then the
delivered head's quality on these classes, before training on any local record.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from wg_client.fitting.folds import Folds
from wg_client.fitting.learners import LEARNERS_AROUND_BASE, fit_learners
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, log_loss, robust_log_loss

_CANDIDATE_BIASES = np.concatenate([[-50.0], np.linspace(-10, 10, 41)])
"""Candidate biases of classes without records; with the first they are never predicted."""
_MOST_HELD_OUT_CLASSES = 8  # Most classes that are left out in turn
_SMALL, _FEW = 500, 4
"""Number of records above which only so few classes are left out, on one fold."""

BaseHeadFitter = Callable[[Floats, Ints], LinearHead]
"""(features, labels) of training records -> the base head over all K classes for fine-tuning.

For zero records it returns the head as delivered.
"""
Mask = NDArray[np.bool_]


def _empty_array() -> Floats:
    return np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False)
class LeaveClassOutResult:
    """Quality on classes that were left out of training; empty if no class was left out.

    Attributes:
        losses: Log loss on the records of each class left out, nats, ``[C]``.
        recalls: Recall of each class left out, ``[C]``.
    """

    losses: Floats = field(default_factory=_empty_array)
    recalls: Floats = field(default_factory=_empty_array)


def evaluate_logits(logits: Floats, labels: Ints) -> LeaveClassOutResult:
    """Evaluate logits ``[n, K]`` of models that were trained without the record's class."""
    losses, right = log_loss(logits, labels), logits.argmax(axis=1) == labels
    return LeaveClassOutResult(mean_by_class(losses, labels), mean_by_class(right, labels))


def mean_by_class(values: NDArray[np.generic], labels: Ints) -> Floats:
    """Return the mean of values ``[n]`` over the records of each class, for classes that occur."""
    return np.array([values[labels == label].mean() for label in np.unique(labels)])


def held_out_classes(labels: Ints, class_limit: int = _MOST_HELD_OUT_CLASSES) -> Ints:
    """Return at most ``class_limit`` classes to leave out in turn, evenly from those that occur."""
    classes = np.unique(labels)
    places = np.linspace(0, len(classes) - 1, min(class_limit, len(classes))).round()
    return classes[places.astype(np.intp)]


@dataclass(frozen=True, slots=True, eq=False)
class _HeldOutPredictions:
    """Predictions of one learner for r records, evaluated with one class left out; arrays ``[r]``.

    Attributes:
        record_indices: Index of each record among all evaluated records.
        held_out_mask: Mask of the records of the class left out.
        true_logits: Logit of the record's class.
        seen_log_sum: Log-sum-exp of the logits of classes with records.
        absent_log_sum: Log-sum-exp of the logits of classes without records, with the class left
            out.
        seen_margin: Logit of the record's class minus the largest logit of classes with records.
        is_largest_absent: Mask of records whose class has the largest logit of classes without
            records.
    """

    record_indices: Ints
    held_out_mask: Mask
    true_logits: Floats
    seen_log_sum: Floats
    absent_log_sum: Floats
    seen_margin: Floats
    is_largest_absent: Mask

    def mixture_losses(self, in_training: Mask, unseen_mass: float, class_count: int) -> Floats:
        """Return the mean log loss at each bias, nats, ``[len(_CANDIDATE_BIASES)]``.

        Args:
            in_training: Mask of the evaluated records to use.
            unseen_mass: Weight of the records of the class left out; the others have the rest.
            class_count: Number K of classes.
        """
        total = np.zeros(len(_CANDIDATE_BIASES))
        for of_held_out, share in ((True, unseen_mass), (False, 1 - unseen_mass)):
            rows = in_training[self.record_indices] & (self.held_out_mask == of_held_out)
            if rows.any():
                total += share * self._record_losses(rows, of_held_out, class_count).mean(axis=0)
        return total

    def held_out_loss(self, bias: float, class_count: int) -> float:
        """Return a learner's mean log loss on records of the class left out, at one bias."""
        return float(
            self._record_losses(self.held_out_mask, True, class_count, np.array([bias])).mean()
        )

    def recall(self, bias: float) -> float:
        """Return a learner's recall of the class left out, at one bias."""
        is_right = self.is_largest_absent & (self.seen_margin + bias > 0)
        return float(is_right[self.held_out_mask].mean())

    def _record_losses(
        self,
        record_mask: Mask,
        is_held_out_class: bool,
        class_count: int,
        biases: Floats = _CANDIDATE_BIASES,
    ) -> Floats:
        total = np.logaddexp(
            self.seen_log_sum[record_mask, None], self.absent_log_sum[record_mask, None] + biases
        )
        return robust_log_loss(
            np.exp(self.true_logits[record_mask, None] + is_held_out_class * biases - total),
            class_count,
        )


class LearnerEvaluation:
    """Quality of learners on classes that are left out of training.

    Every learner adds its fit to the logits of a base head. All fits are made once, at
    creation.
    """

    def __init__(
        self,
        fit_base_head: BaseHeadFitter,
        features: Floats,
        labels: Ints,
        folds: Folds,
        unseen_mass: float,
    ) -> None:
        """Fit each learner around a base head, once without each class.

        Args:
            features: Features of labelled records, ``[n, d]``, of at least three classes.
            labels: Labels of the records, ``[n]``.
            unseen_mass: Expected share of future records of classes without records.
        """
        self._base, self._unseen_mass = fit_base_head, unseen_mass
        self._evaluated_count = len(folds.evaluated_rows)
        x, y = features[folds.evaluated_rows], labels[folds.evaluated_rows]
        self._classes = len(fit_base_head(x, y).bias)
        self._unseen = np.setdiff1d(np.arange(self._classes), labels)
        small = len(y) <= _SMALL
        self._held_out_predictions = [
            self._predict_held_out(x, y, list(splits))
            for splits in _class_out_splits(
                y, folds, *((_MOST_HELD_OUT_CLASSES, folds.fold_count) if small else (_FEW, 1))
            )
        ]

    def __call__(self, in_training: Mask) -> tuple[Floats, Floats]:
        """Return logits to add, ``[learners, K]``, and log losses, nats, ``[learners]``.

        The logits to add are each learner's best bias in classes without records, otherwise 0.

        Args:
            in_training: Mask of the evaluated records to use.
        """
        bias, losses = self._best_biases_and_losses(self._loss_table(in_training))
        class_bias = np.zeros((len(bias), self._classes))
        class_bias[:, self._unseen] = bias[:, None]
        return class_bias, losses

    def evaluate_learner(self, learner_index: int) -> LeaveClassOutResult:
        """Evaluate a learner on each class left out, with the bias selected on the others."""
        by_class = self._loss_table(np.ones(self._evaluated_count, dtype=bool))
        losses, recalls = [], []
        for index, by_learner in enumerate(self._held_out_predictions):
            remaining = np.delete(by_class, index, axis=0) if len(by_class) > 1 else by_class
            bias = float(self._best_biases_and_losses(remaining)[0][learner_index])
            losses.append(by_learner[learner_index].held_out_loss(bias, self._classes))
            recalls.append(by_learner[learner_index].recall(bias))
        return LeaveClassOutResult(np.array(losses), np.array(recalls))

    def _loss_table(self, in_training: Mask) -> Floats:
        """Return mean log losses, nats, ``[classes left out, learners, biases]``."""
        mass, classes = self._unseen_mass, self._classes
        return np.array(
            [
                [
                    predictions.mixture_losses(in_training, mass, classes)
                    for predictions in by_learner
                ]
                for by_learner in self._held_out_predictions
            ]
        )

    def _predict_held_out(
        self, features: Floats, labels: Ints, class_splits: Sequence[tuple[int, Mask, Mask]]
    ) -> list[_HeldOutPredictions]:
        """Fit each learner without one class, and predict the held-out records of its splits."""
        by_learner: list[list[tuple[NDArray[np.generic], ...]]] = [[] for _ in LEARNERS_AROUND_BASE]
        for label, train, test in class_splits:
            if not train.any() or not test.any():
                continue
            offset = self._base(features[train], labels[train]).logits(features)
            parts, rows = fit_learners(
                LEARNERS_AROUND_BASE, features[train], labels[train], offset[train]
            )
            y, record = labels[test], np.flatnonzero(test)
            members, absent_classes = y == label, np.append(self._unseen, label)
            for learner, part, chunks in zip(LEARNERS_AROUND_BASE, parts, by_learner, strict=True):
                logits = learner.unseen_scale * offset[test]
                logits[:, rows] = learner.base_scale * offset[test][:, rows] + part.logits(
                    features[test]
                )
                true = logits[np.arange(len(y)), y]
                marks = logits[:, absent_classes]
                seen_mass = logsumexp(logits[:, rows], axis=1)
                margin = true - logits[:, rows].max(axis=1)
                best = true >= marks.max(axis=1)
                chunks.append(
                    (record, members, true, seen_mass, logsumexp(marks, axis=1), margin, best)
                )
        return [
            _HeldOutPredictions(*(np.concatenate(c) for c in zip(*chunks, strict=True)))
            for chunks in by_learner
        ]

    def _best_biases_and_losses(self, loss_table: Floats) -> tuple[Floats, Floats]:
        mean = loss_table.mean(axis=0)
        return _CANDIDATE_BIASES[mean.argmin(axis=1)], mean.min(axis=1)


def _class_out_splits(
    labels: Ints, folds: Folds, class_limit: int, fold_count: int
) -> Iterator[Iterator[tuple[int, Mask, Mask]]]:
    """Yield for each class left out its folds: the class, training mask and evaluation mask.

    With one fold all records of the class are evaluated, since none was used for training.
    """
    for label in held_out_classes(labels, class_limit):
        members = labels == label
        in_fold = (folds.fold_of_record[0] == fold for fold in range(fold_count))
        yield (
            (int(label), ~out & ~members, (out | members) if fold_count == 1 else out)
            for out in in_fold
        )
