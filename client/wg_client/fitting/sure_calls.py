"""Which calls of a model are sure: by their probability, as predictions out of fold show it."""

import numpy as np
from scipy.special import betaincinv, softmax

from wg_client.fitting.linear_head import Floats, Ints

WRONG = 0.1  # Share of calls said to be sure that may be wrong
CONFIDENCE = 0.9  # That no more are, of records like these
NEVER = 2.0  # Instead of a probability: no call is sure


def sure_above(logits: Floats, labels: Ints, wrong: float, unseen_mass: float = 0.0) -> float:
    """Least probability of a sure call.

    Args:
        logits: Out of fold, ``[repeats, n, K]``; the first repeat is used.
        labels: ``[n]``, n at least 1.
        wrong: Share of sure calls that may be wrong: the exact upper bound of it, at a threshold
            (Clopper and Pearson 1934). Of thresholds that do the lowest is taken, so that the
            confidence is nominal.
        unseen_mass: Share of future records of classes without any here. Nothing tells how they
            are called, so that all of them count as sure and wrong.

    Returns:
        ``NEVER`` if no threshold does it.
    """
    chances = softmax(logits[0], axis=1)
    best = chances.max(axis=1)
    order = np.argsort(-best, kind="stable")
    errors = np.cumsum(chances.argmax(axis=1)[order] != labels[order])
    counts = np.arange(1, len(order) + 1)
    unseen = unseen_mass * len(labels) / (1 - unseen_mass)  # in records
    bounds = betaincinv(errors + unseen + 1, counts - errors, CONFIDENCE)
    good = np.flatnonzero(bounds <= wrong)
    return float(best[order][good[-1]]) if len(good) else NEVER
