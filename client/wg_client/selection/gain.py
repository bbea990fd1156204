"""Gain of a model over local-only on new records, with its standard error, and the decision rule.

Let ``d_i`` be the out-of-fold log loss of local-only on evaluated record i minus the model's, in
nats, averaged over repeats of cross-validation; K the number of declared classes, U of them without
a local record; and ``m = U / K`` the expected share of future records of those. Local-only knows
nothing of the U classes: it gives them the probability m in total, evenly, and so loses
``log 1 / (1 - m)`` on the other classes. If U > 0, each class c with records is left out in turn
(``fitting.leave_class_out``), and ``u_c = log(U / m)`` minus the log loss of the model on its
records. To the C classes left out one with ``u = 0`` is added, of which nothing is known::

    gain = (1 - m) * (mean d_i + log 1 / (1 - m)) + m * sum_c u_c / (C + 1)

``d_i`` and ``u_c`` are assumed independent: the variances of both means add up. The variance of the
mean of d is clustered by privacy units (Liang and Zeger 1986, *Biometrika* 73(1)), and multiplied
by ``1 + k / (k - 1)``, since the training sets of k folds overlap (Nadeau and Bengio 2003, *Machine
Learning* 52(3)).

The gain in accuracy is estimated in the same way: classes left out have the recall that
leave-class-out measured, and the added class recall 0.

*Rule* (after the one-standard-error rule; Breiman et al. 1984, section 3.4.3): local-only is kept
unless a delivered model's gain in log loss is more than a required number of standard errors above
zero, and its accuracy is higher; accuracy counts as well, since a model that is never sure has a
lower log loss than one that is sometimes surely wrong. Among such models, the one with the largest
margin is kept. The required number (``ModelComparison.required_standard_errors``) depends on prior
evidence: two for models from other sites' noisy releases (``standard_errors``), half of it if some
classes have no record, since local-only never predicts them, and none for models made for this kind
of plant. For the latter, the accuracy must only be no lower: ten records that both get right cannot
show more. If the rule allows their fine-tuned model, it is kept in place of the delivered one.

*A network made for the declared machine* needs no label, and stays unless labels show otherwise,
by a rule of its own (``precedence``).

Not guaranteed: that a model of positive gain is better on every future record.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, ndtri, stdtrit

from wg_client.fitting.fitted_model import OutOfFoldPredictions
from wg_client.fitting.leave_class_out import LeaveClassOutResult
from wg_client.fitting.linear_head import Floats, Ints
from wg_client.fitting.network_replacement import clustered_standard_error
from wg_client.methods.base import PlantRecords

SITE_VARIANCE_SHARE = 0.03
"""Variability of a model's accuracy between a site's labelled records and later ones.

It is a beta-binomial correlation: the accuracy on new records has the variance
``SITE_VARIANCE_SHARE * p * (1 - p)`` about the accuracy p on old ones. Measured on development
sites."""
INTERVAL_COVERAGE = 0.95
NEW_RECORD_COUNT = 1000  # Number of new records for which accuracies are reported


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedGain:
    """Gain of a model over local-only on a future record.

    Attributes:
        log_loss: Log loss of local-only minus the model's, nats, by which the rule decides.
        log_loss_se: Standard error of ``log_loss``.
        accuracy_gain: Gain in accuracy; 0.01 is one point.
        accuracy_gain_se: Standard error of ``accuracy_gain``.
        unseen_recall: Estimated recall on classes without local records.
    """

    log_loss: float
    log_loss_se: float
    accuracy_gain: float
    accuracy_gain_se: float
    unseen_recall: float

    def log_loss_margin(self, standard_errors: float) -> float:
        """Return the gain in log loss minus a number of its standard errors."""
        return self.log_loss - standard_errors * self.log_loss_se

    def is_significant(self, standard_errors: float) -> bool:
        """Return whether the gain and the accuracy suffice for the model to be kept.

        Args:
            standard_errors: Required number of standard errors by which the gain in log loss must
                be above zero.
        """
        return self.log_loss_margin(standard_errors) > 0 and self.has_enough_accuracy_gain(
            standard_errors
        )

    def has_enough_accuracy_gain(self, standard_errors: float) -> bool:
        """Return whether accuracy rises, or does not fall if no standard errors are required."""
        return self.accuracy_gain > (1e-9 if standard_errors > 0 else -1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnseenClassShare:
    """Declared classes without local records, and the share of records expected in them.

    Attributes:
        share: Expected share m of future records that are of these classes.
        class_count: Number U of these classes.
    """

    share: float = 0.0
    class_count: int = 0


UNKNOWN_GAIN = EstimatedGain(
    log_loss=math.nan,
    log_loss_se=math.nan,
    accuracy_gain=math.nan,
    accuracy_gain_se=math.nan,
    unseen_recall=math.nan,
)
"""Gain without any labelled record."""


@dataclass(frozen=True, slots=True)
class PairedDifferences:
    """Differences of a model from local-only, or from another one, on each evaluated record.

    Attributes:
        loss_reductions: Log loss of the other model minus that of the model, nats, ``[m]``.
        accuracy_gains: Share of correct predictions of the model minus the other's, ``[m]``.
        unit_indices: Index of each record's privacy unit, ``[m]``.
    """

    loss_reductions: Floats
    accuracy_gains: Floats
    unit_indices: Ints


def estimate_gain(
    differences: PairedDifferences,
    fold_count: int,
    unseen: UnseenClassShare,
    leave_class_out: LeaveClassOutResult,
) -> EstimatedGain:
    """Estimate the gain of a model over local-only on new records, with its standard error.

    Args:
        fold_count: Number of folds k of cross-validation.
        unseen: Classes without records.
        leave_class_out: Log losses and recalls of the model on classes left out of its training.
    """
    losses, right, groups = (
        differences.loss_reductions,
        differences.accuracy_gains,
        differences.unit_indices,
    )
    overlap = math.sqrt(1 + fold_count / (fold_count - 1))
    loss, se = float(losses.mean()), overlap * clustered_standard_error(losses, groups)
    gain, sd = float(right.mean()), overlap * clustered_standard_error(right, groups)
    mass, recall = unseen.share, 0.0
    if mass:
        unseen_gains = np.append(np.log(unseen.class_count / mass) - leave_class_out.losses, 0.0)
        recalls = np.append(leave_class_out.recalls, 0.0)
        recall, tried_classes = float(recalls.mean()), len(recalls)
        loss = (1 - mass) * (loss - float(np.log(1 - mass))) + mass * float(unseen_gains.mean())
        se = float(np.hypot((1 - mass) * se, mass * unseen_gains.std() / np.sqrt(tried_classes)))
        gain = (1 - mass) * gain + mass * recall
        sd = float(np.hypot((1 - mass) * sd, mass * recalls.std() / np.sqrt(tried_classes)))
    return EstimatedGain(
        log_loss=loss, log_loss_se=se, accuracy_gain=gain, accuracy_gain_se=sd, unseen_recall=recall
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedAccuracy:
    """Estimated accuracy on new records of the site, over classes that have records here.

    Attributes:
        mean: Estimate.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def standard_error(self) -> float:
        """Standard error of the accuracy, computed from the width of its 95 % interval."""
        return (self.high - self.low) / (2 * 1.96)


def estimate_model_accuracy(
    records: PlantRecords,
    model_predictions: OutOfFoldPredictions,
    selection_predictions: OutOfFoldPredictions | None = None,
    new_count: int = NEW_RECORD_COUNT,
) -> EstimatedAccuracy:
    """Estimate the accuracy of a model on new records from its out-of-fold predictions.

    Args:
        records: The plant's records.
        model_predictions: Out-of-fold predictions of the model alone.
        selection_predictions: Predictions for each record by the model that the rule selects
            without the record's fold, if this model was selected; None: it was not.
        new_count: Number of new records.
    """
    rise = model_predictions.full_training_gain(records.folds.fold_of_record)
    return estimate_accuracy(
        (selection_predictions or model_predictions).correct_share,
        records.evaluated_unit_indices,
        training_gain=rise,
        new_count=new_count,
    )


def estimate_accuracy(
    correct_share: Floats,
    unit_indices: Ints,
    training_gain: float = 0.0,
    new_count: int = NEW_RECORD_COUNT,
) -> EstimatedAccuracy:
    """Estimate the accuracy on new records from out-of-fold predictions.

    Classes are assumed as frequent as among these records. The accuracy is a beta variable with
    Jeffreys' prior (Brown, Cai and DasGupta 2001, *Statistical Science* 16(2)) and an effective
    number of independent records. This number is lower if records of a unit are alike; it is at
    most ``1 / SITE_VARIANCE_SHARE``, since later records of a site differ from earlier ones; and it
    is reduced by the squared ratio of the normal to Student's quantile, since the spread over few
    units is uncertain. The number of correct predictions among new records is beta-binomial, and
    the interval is the quantiles of this number. The final model is trained on all records, but
    the evaluated models on all but a fold: ``training_gain`` is added to the interval's upper end.

    Args:
        correct_share: Share of repeats with a correct prediction, per evaluated record, ``[m]``.
        unit_indices: Index of each record's privacy unit, ``[m]``.
        training_gain: Gain in accuracy from one more fold of training records.
        new_count: Number of new records.
    """
    p, m = float(correct_share.mean()), len(correct_share)
    single_error = clustered_standard_error(correct_share, np.arange(m))
    inflation = (
        clustered_standard_error(correct_share, unit_indices) / single_error
        if single_error > 0
        else 1.0
    )
    units = len(np.unique(unit_indices)) if single_error <= 0 or not np.isfinite(inflation) else m
    worth = (
        1 / (max(inflation, 1.0) ** 2 / units + SITE_VARIANCE_SHARE)
        if np.isfinite(inflation)
        else 1.0
    )
    tail = (1 - INTERVAL_COVERAGE) / 2
    freedom = max(len(np.unique(unit_indices)) - 1, 1)
    worth *= (float(ndtri(tail)) / float(stdtrit(freedom, tail))) ** 2
    a, b, count = p * worth + 0.5, (1 - p) * worth + 0.5, np.arange(new_count + 1)
    ways = betaln(count + 1, new_count - count + 1) + np.log(new_count + 1)
    chances = np.exp(betaln(count + a, new_count - count + b) - betaln(a, b) - ways)
    low, high = np.searchsorted(np.cumsum(chances), (tail, 1 - tail)) / new_count
    return EstimatedAccuracy(
        mean=p, low=min(p, float(low)), high=min(1.0, max(p, float(high)) + training_gain)
    )
