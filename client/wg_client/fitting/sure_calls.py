"""Sure calls of a model, by their probability, and the most that a probability can be.

Of sure calls at most ``WRONG`` are wrong, with a confidence of ``CONFIDENCE``; where labels are so
few that one wrong call would rule that out, as many as n labels with one wrong call show. No
probability is above what n right calls leave to expect (Laplace's rule of succession): 1 - 1 / (n +
2).
"""

import numpy as np
from scipy.special import betaincinv, softmax

from wg_client.fitting.linear_head import Floats, Ints

WRONG = 0.1  # Share of calls said to be sure that may be wrong
CONFIDENCE = 0.9  # That no more are, of records like these
WRONG_LIMIT = 1 / 3  # Largest share of sure calls that may be wrong; with more nothing is said
NEVER = 2.0  # Instead of a probability: no call is sure


def wrong_share(labels: int) -> float:
    """Share of sure calls that may be wrong, which ``labels`` out-of-fold calls can show."""
    if labels < 2:
        return 1.0
    return max(WRONG, float(betaincinv(2, labels - 1, CONFIDENCE)))


def probability_limit(labels: int) -> float:
    """Largest probability that ``labels`` labelled records can stand for."""
    return 1 - 1 / (labels + 2)


def bound_probabilities(logits: Floats, limit: float) -> Floats:
    """Probabilities of classes, ``[..., K]``, none of them above a limit.

    What is above it goes to the other classes, in proportion to theirs.
    """
    best = logits.argmax(axis=-1, keepdims=True)
    others_logits = logits.copy()
    np.put_along_axis(others_logits, best, -np.inf, axis=-1)
    if logits.shape[-1] == 1:
        return np.ones_like(logits)
    top = np.minimum(np.take_along_axis(softmax(logits, axis=-1), best, axis=-1), limit)
    chances = softmax(others_logits, axis=-1) * (1 - top)
    np.put_along_axis(chances, best, top, axis=-1)
    return np.asarray(chances)


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
    chances = bound_probabilities(logits[0], probability_limit(len(labels)))
    best = chances.max(axis=1)
    order = np.argsort(-best, kind="stable")
    errors = np.cumsum(chances.argmax(axis=1)[order] != labels[order])
    counts = np.arange(1, len(order) + 1)
    unseen = unseen_mass * len(labels) / (1 - unseen_mass)  # in records
    bounds = betaincinv(errors + unseen + 1, counts - errors, CONFIDENCE)
    descending = best[order]
    ends = np.append(
        descending[1:] < descending[:-1], True
    )  # equal probabilities are told apart by none
    good = np.flatnonzero((bounds <= wrong) & ends)
    return float(descending[good[-1]]) if len(good) else NEVER
