"""Decision rule by which labels replace the delivered model by another.

Let ``g`` be the mean gain in log loss of one of A alternative models over the delivered one, and
``s`` its standard error with U units as clusters (Liang and Zeger 1986, *Biometrika* 73(1)). The
alternative replaces the delivered model only if ::

    g > t(1 - RISK / A; U - 1) * s

with Student's quantile (Student 1908, *Biometrika* 6(1)) and a Bonferroni correction. The delivered
model is then replaced by a model that is no better at one plant in ``1 / RISK`` at most. All labels
of one recording are one unit.

The delivered model has this precedence only if its log loss is below that of the class shares among
the labels (``is_above_shares``); otherwise it is compared like any other model. That test has no
confidence bound, since few units show little even of a good network.
"""

import math

import numpy as np
from scipy.special import stdtrit

from wg_client.fitting.linear_head import Floats, Ints

RISK = 0.05
"""Probability that the delivered model is replaced by a model that is no better."""


def replacement_errors(units: int, alternatives: int) -> float:
    """Return the number of standard errors that a model must gain to replace the delivered one.

    Args:
        units: Number U of units.
        alternatives: Number A of models that may replace it.
    """
    return float(stdtrit(units - 1, 1 - RISK / alternatives)) if units > 1 else math.inf


def standard_error(values: Floats, groups: Ints) -> float:
    """Return the clustered standard error of the mean of values ``[m]``; inf with one group."""
    deviations = np.bincount(groups, weights=values - values.mean())
    count = int((np.bincount(groups) > 0).sum())
    if count < 2:
        return float("inf")
    return float(np.sqrt(np.sum(deviations**2) * count / (count - 1)) / len(values))


def replacing(losses: Floats, groups: Ints) -> int:
    """Return the index of the model to use: the first, unless another is shown to be better.

    Args:
        losses: Log loss of each model on each record, nats, ``[1 + A, m]``, m at least 1.
        groups: Index of each record's unit, ``[m]``.
    """
    if len(losses) == 1:
        return 0
    errors = replacement_errors(len(np.unique(groups)), len(losses) - 1)
    gains = losses[0] - losses[1:]
    above = [
        float(gain.mean()) - errors * error
        if (error := standard_error(gain, groups)) < math.inf
        else -math.inf
        for gain in gains
    ]
    best = int(np.argmax(above))
    return best + 1 if above[best] > 0 else 0


def is_above_shares(losses: Floats, judged_rows: Ints, labels: Ints) -> bool:
    """Return whether a model has a lower log loss than the class shares among all labels.

    True if the labels have one class only, since no model beats its share, or if some class has too
    few units to be evaluated.

    Args:
        losses: Log loss of the model among the classes that have labels, nats, ``[m]``.
        judged_rows: Label of each evaluated record, ``[m]``.
        labels: All labels, ``[n]``; classes with too few units are missing from ``judged``.
    """
    counts = np.bincount(labels)
    surprises = -np.log(counts[judged_rows] / len(labels))
    classes = int(np.count_nonzero(counts))
    if classes < 2 or len(np.unique(judged_rows)) < classes:
        return True
    return float(losses.mean()) < float(surprises.mean())
