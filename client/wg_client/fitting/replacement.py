"""When labels put one model in the place of another; the delivered one is the first, if any is.

Let ``g`` be the mean over records of what another of A models gains in log loss, and ``s`` its
standard error with U units as clusters (Liang and Zeger 1986, *Biometrika* 73(1)). It replaces the
delivered one only where ::

    g > t(1 - RISK / A; U - 1) * s

with Student's quantile (Student 1908, *Biometrika* 6(1)), and the share of each model as of
Bonferroni. What was delivered then gives way to models that are no better at one plant in
``1 / RISK`` at most. Labels of one recording are one unit, however many they are.

What was delivered has that place only where its log loss is below that of the shares of classes
among the labels (``is_above_shares``): one at chance is compared like any other model. A bound is
not asked for that, since few units show little of a good network, too.
"""

import math

import numpy as np
from scipy.special import stdtrit

from wg_client.fitting.linear_head import Floats, Ints

RISK = 0.05
"""Chance that what was delivered gives way to models that are no better."""


def replacement_errors(units: int, alternatives: int) -> float:
    """Return how many standard errors a model must gain to replace the delivered one.

    Args:
        units: Number U of units.
        alternatives: Number A of models that may replace it.
    """
    return float(stdtrit(units - 1, 1 - RISK / alternatives)) if units > 1 else math.inf


def standard_error(values: Floats, groups: Ints) -> float:
    """Standard error of the mean of values ``[m]`` that are dependent within groups; inf of one."""
    deviations = np.bincount(groups, weights=values - values.mean())
    count = int((np.bincount(groups) > 0).sum())
    if count < 2:
        return float("inf")
    return float(np.sqrt(np.sum(deviations**2) * count / (count - 1)) / len(values))


def replacing(losses: Floats, groups: Ints) -> int:
    """Return the place of the model to take: the first, unless another is shown to be better.

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


def is_above_shares(losses: Floats, judged: Ints, labels: Ints) -> bool:
    """Tell whether a model has a lower log loss than the shares of classes among all labels.

    Labels of one class say nothing against a model: their share is all, and no model beats it. Nor
    do those where some class has too few units to be judged.

    Args:
        losses: Log loss of the model among the classes that have labels, nats, ``[m]``.
        judged: Label of each judged record, ``[m]``.
        labels: All labels, ``[n]``: which classes are judged depends on their units.
    """
    counts = np.bincount(labels)
    surprises = -np.log(counts[judged] / len(labels))
    classes = int(np.count_nonzero(counts))
    if classes < 2 or len(np.unique(judged)) < classes:
        return True
    return float(losses.mean()) < float(surprises.mean())
