"""How much better than local-only a model is on new records, and how sure that is.

Let ``d_i`` be the out-of-fold log loss of local-only on judged record i minus the model's, in nats,
averaged over repeats of cross-validation; K the declared classes, U of them without a local record;
and ``m = U / K`` the share of future records that is expected from those. Of classes that a plant
has never seen local-only knows nothing: it is given the share m for them, even between them, and
loses ``log 1 / (1 - m)`` on the others. Where classes have no record, each seen class c is left out
in turn (``fitting.leave_class_out``), and ``u_c = log(U / m)`` minus the log loss of the model on
its records. Beside the C classes tried stands one of which nothing is known, ``u = 0``::

    gain = (1 - m) * (mean d_i + log 1 / (1 - m)) + m * sum_c u_c / (C + 1)

``d_i`` and ``u_c`` are taken as independent: the standard error is the root of the summed variances
of both means. That of d has privacy units as clusters (Liang and Zeger 1986, *Biometrika* 73(1)),
and its variance is ``1 + k / (k - 1)`` times that of independent records, since the training sets
of k folds overlap (Nadeau and Bengio 2003, *Machine Learning* 52(3)).

What it means in right answers is estimated beside it: a class left out is recognised with the
recall that leave-class-out found, one more class never.

*The rule* (after the one-standard-error rule; Breiman et al. 1984, section 3.4.3): local-only is
kept unless a delivered model's gain is more than so many of its standard errors above zero, and it
has more right answers: a model that is never sure has a lower log loss than one that is sometimes
surely wrong. Of those the one furthest above is kept. How many errors depends on what was known
before: two of what others' noisy releases say of the classes (``standard_errors``), half where some
have no record, which local-only never names; none of what was made for this kind of plant
(``Comparison.errors_asked``).
Where none are asked, right answers must only be no fewer: ten records that both get right cannot
show more. Of that kind the model trained on stands for what was delivered, where it may be kept.

*What was made for a stated machine* was delivered without any label, and stays unless labels show
another model, local-only among them, to be better (``fitting.replacement``): by Student's bound
over units, at a chance of 5 % that it gives way to models that are no better. Labels of one
recording, or of damages that local-only has seen, are not enough for that. Its log
loss must be below that of the shares of classes: one at chance is compared like any other model.

Not guaranteed: that a model of positive gain is better on every future record.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaln, ndtri, stdtrit

from wg_client.fitting.fitted import OutOfFold
from wg_client.fitting.leave_class_out import LeaveClassOut
from wg_client.fitting.linear_head import Floats, Ints
from wg_client.fitting.replacement import standard_error
from wg_client.methods.base import LabelledRecords

BETWEEN = 0.03
"""Spread of a model's accuracy between what a site labelled and what it meets later.

As a correlation of right answers (beta-binomial): the accuracy on new records is spread with
variance ``BETWEEN * p * (1 - p)`` about that on old ones. Measured on development sites."""
COVERAGE = 0.95
NEW = 1000  # Records that people are told of: right answers among so many


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Gain of a model over local-only on a future record.

    Attributes:
        log_loss: Nats: what is decided by.
        log_loss_se: Standard error of the log loss.
        mean: Right answers, 0.01 = one point.
        sd: Standard error of the gain.
        unseen_recall: Estimated recall on classes without local records.
    """

    log_loss: float
    log_loss_se: float
    mean: float
    sd: float
    unseen_recall: float

    def above(self, standard_errors: float) -> float:
        """The gain in log loss less some of its standard errors."""
        return self.log_loss - standard_errors * self.log_loss_se

    def is_shown(self, standard_errors: float) -> bool:
        """Return whether the rule keeps the model: a gain is shown, with enough right answers."""
        return self.above(standard_errors) > 0 and self.enough(standard_errors)

    def opposite(self) -> "Gain":
        """Return the gain of the other model over this one, where both are known of all classes."""
        return replace(self, log_loss=-self.log_loss, mean=-self.mean)

    def enough(self, standard_errors: float) -> bool:
        """Return whether right answers are more, or no fewer where no errors are asked."""
        return self.mean > (1e-9 if standard_errors > 0 else -1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """Declared classes without local records.

    Attributes:
        mass: Share m of future records.
        classes: Their number U.
    """

    mass: float = 0.0
    classes: int = 0


UNKNOWN = Gain(
    log_loss=math.nan, log_loss_se=math.nan, mean=math.nan, sd=math.nan, unseen_recall=math.nan
)
"""Without any labelled record."""


def estimated_gain(
    losses: Floats,
    right: Floats,
    groups: Ints,
    folds: int,
    unseen: Unseen,
    leave_class_out: LeaveClassOut,
) -> Gain:
    """Estimate a gain; the module says how.

    Args:
        losses: Log loss of local-only minus the model's on each judged record, nats, ``[m]``.
        right: Right answers of the model minus local-only's, ``[m]``.
        groups: Index of each record's privacy unit, ``[m]``.
        folds: Number of folds k of cross-validation.
        unseen: Classes without records.
        leave_class_out: Figures of the model on classes left out.
    """
    overlap = math.sqrt(1 + folds / (folds - 1))
    loss, se = float(losses.mean()), overlap * standard_error(losses, groups)
    gain, sd = float(right.mean()), overlap * standard_error(right, groups)
    mass, recall = unseen.mass, 0.0
    if mass:
        unseen_gains = np.append(np.log(unseen.classes / mass) - leave_class_out.losses, 0.0)
        recalls = np.append(leave_class_out.recalls, 0.0)
        recall, tried = float(recalls.mean()), len(recalls)
        loss = (1 - mass) * (loss - float(np.log(1 - mass))) + mass * float(unseen_gains.mean())
        se = float(np.hypot((1 - mass) * se, mass * unseen_gains.std() / np.sqrt(tried)))
        gain = (1 - mass) * gain + mass * recall
        sd = float(np.hypot((1 - mass) * sd, mass * recalls.std() / np.sqrt(tried)))
    return Gain(log_loss=loss, log_loss_se=se, mean=gain, sd=sd, unseen_recall=recall)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Share of right answers among new records of the site, of classes that have records here.

    Attributes:
        mean: Estimate.
        low: Lower end of the 95 % interval.
        high: Upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Half the interval over 1.96: the standard error of a normal one as wide."""
        return (self.high - self.low) / (2 * 1.96)


def expected(
    records: LabelledRecords, fitted: OutOfFold, judged: OutOfFold | None = None, new: int = NEW
) -> Accuracy:
    """Accuracy of a model, as it was judged: with the choice of it, where it was chosen."""
    rise = fitted.rise(records.folds.assignment)
    return accuracy((judged or fitted).right, records.judged_groups, rise, new)


def accuracy(right: Floats, groups: Ints, rise: float = 0.0, new: int = NEW) -> Accuracy:
    """Estimate the accuracy on new records by out-of-fold answers.

    For classes that come as often as among these records. The rate is a beta variable: Jeffreys'
    prior (Brown, Cai and DasGupta 2001, *Statistical Science* 16(2)) and as many independent
    records as the answers are worth: fewer where those of a unit are alike, no more than
    ``1 / BETWEEN`` however many there are, since a site changes, and fewer by the squared ratio of
    the normal to Student's quantile where units are so few that their spread is uncertain. What is
    counted among new records is beta-binomial, and the interval is that of the count: where 99 in
    100 are expected, 50 may well all be right.
    The model in use has learnt from all records, those judged from all but a fold: the upper end is
    higher by what the last fold that was added has brought.

    Args:
        right: Share of repeats in which each judged record was right, ``[m]``.
        groups: Index of its privacy unit, ``[m]``.
        rise: Rise of accuracy, with a fold more to learn from.
        new: Number of new records.
    """
    p, m = float(right.mean()), len(right)
    alone = standard_error(right, np.arange(m))
    alike = standard_error(right, groups) / alone if alone > 0 else 1.0
    units = len(np.unique(groups)) if alone <= 0 or not np.isfinite(alike) else m
    worth = 1 / (max(alike, 1.0) ** 2 / units + BETWEEN) if np.isfinite(alike) else 1.0
    tail = (1 - COVERAGE) / 2
    freedom = max(len(np.unique(groups)) - 1, 1)
    worth *= (float(ndtri(tail)) / float(stdtrit(freedom, tail))) ** 2
    a, b, count = p * worth + 0.5, (1 - p) * worth + 0.5, np.arange(new + 1)
    ways = betaln(count + 1, new - count + 1) + np.log(new + 1)
    chances = np.exp(betaln(count + a, new - count + b) - betaln(a, b) - ways)
    low, high = np.searchsorted(np.cumsum(chances), (tail, 1 - tail)) / new
    return Accuracy(mean=p, low=min(p, float(low)), high=min(1.0, max(p, float(high)) + rise))
