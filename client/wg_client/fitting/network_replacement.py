"""Decision rule by which labels replace the first of several delivered networks by another.

Let ``g`` be the mean gain in log loss of one of A alternative networks over the first one, and
``s`` its standard error with U units as clusters (Liang and Zeger 1986, *Biometrika* 73(1)). The
alternative replaces the first network only if ::

    g > t(1 - REPLACEMENT_RISK / A; U - 1) * s

with Student's quantile (Student 1908, *Biometrika* 6(1)) and a Bonferroni correction. The first
network is then replaced by one that is no better at one plant in ``1 / REPLACEMENT_RISK`` at most.
All labels of one recording are one unit. There may be dozens of networks, so labels choose among
them by a bound; ``selection.precedence`` compares the chosen one with the plant's own model.
"""

import math

import numpy as np
from scipy.special import stdtrit

from wg_client.fitting.linear_head import Floats, Ints

REPLACEMENT_RISK = 0.05
"""Probability that the first network is replaced by one that is no better."""


def required_standard_errors(unit_count: int, alternative_count: int) -> float:
    """Return the number of standard errors that a network must gain to replace the first one.

    Args:
        unit_count: Number U of units.
        alternative_count: Number A of networks that may replace it.
    """
    return (
        float(stdtrit(unit_count - 1, 1 - REPLACEMENT_RISK / alternative_count))
        if unit_count > 1
        else math.inf
    )


def clustered_standard_error(values: Floats, cluster_of_value: Ints) -> float:
    """Return the standard error of the mean of values ``[m]``, with groups ``[m]`` as clusters.

    It is infinite if there is only one group.
    """
    deviations = np.bincount(cluster_of_value, weights=values - values.mean())
    count = int((np.bincount(cluster_of_value) > 0).sum())
    if count < 2:
        return float("inf")
    return float(np.sqrt(np.sum(deviations**2) * count / (count - 1)) / len(values))


def choose_network_index(losses: Floats, unit_of_record: Ints) -> int:
    """Return the index of the network to use: the first, unless another is shown to be better.

    Args:
        losses: Log loss of each network on each record, nats, ``[1 + A, m]``, m at least 1.
        unit_of_record: Index of each record's unit, ``[m]``.
    """
    if len(losses) == 1:
        return 0
    errors = required_standard_errors(len(np.unique(unit_of_record)), len(losses) - 1)
    gains = losses[0] - losses[1:]
    above = [
        float(gain.mean()) - errors * error
        if (error := clustered_standard_error(gain, unit_of_record)) < math.inf
        else -math.inf
        for gain in gains
    ]
    best = int(np.argmax(above))
    return best + 1 if above[best] > 0 else 0
