"""Sure calls: predictions above a probability threshold, and an upper limit of probabilities.

At most ``LARGEST_WRONG_SHARE`` of the sure calls are wrong, with confidence ``BOUND_CONFIDENCE``.
With so few labels that one wrong call would exceed this bound, the bound is the one that n labels
with one wrong call support. Probabilities are limited to 1 - 1 / (n + 2), the estimate after n
correct calls (Laplace's rule of succession).
"""

import numpy as np
from scipy.special import betaincinv, softmax

from wg_client.fitting.linear_head import Floats, Ints

LARGEST_WRONG_SHARE = 0.1  # Largest share of sure calls that may be wrong
BOUND_CONFIDENCE = 0.9  # Confidence of that bound, for records like these
LARGEST_SURE_CALL_BOUND = 1 / 3  # Largest bound on wrong sure calls; above it none is sure
UNREACHABLE_THRESHOLD = 2.0  # Threshold that no probability reaches: no call is sure


def provable_wrong_share(label_count: int) -> float:
    """Return the bound on the share of wrong sure calls that so many labels can support."""
    if label_count < 2:
        return 1.0
    return max(LARGEST_WRONG_SHARE, float(betaincinv(2, label_count - 1, BOUND_CONFIDENCE)))


def largest_supported_probability(label_count: int) -> float:
    """Return the largest probability that ``label_count`` labelled records can support."""
    return 1 - 1 / (label_count + 2)


def cap_probabilities(logits: Floats, probability_limit: float) -> Floats:
    """Return class probabilities ``[..., K]``, none of them above a limit.

    The excess goes to the other classes, in proportion to their probabilities.
    """
    best = logits.argmax(axis=-1, keepdims=True)
    others_logits = logits.copy()
    np.put_along_axis(others_logits, best, -np.inf, axis=-1)
    if logits.shape[-1] == 1:
        return np.ones_like(logits)
    top = np.minimum(np.take_along_axis(softmax(logits, axis=-1), best, axis=-1), probability_limit)
    chances = softmax(others_logits, axis=-1) * (1 - top)
    np.put_along_axis(chances, best, top, axis=-1)
    return np.asarray(chances)


def sure_call_threshold(
    logits: Floats, labels: Ints, wrong_share_limit: float, unseen_mass: float = 0.0
) -> float:
    """Return the lowest probability threshold of a sure call.

    Args:
        logits: Out-of-fold logits, ``[repeats, n, K]``; the first repeat is used.
        labels: Labels of the records, ``[n]``, n at least 1.
        wrong_share_limit: Largest share of sure calls that may be wrong, as the exact upper bound
            at a threshold (Clopper and Pearson 1934). The lowest threshold that meets it is used,
            so the confidence is nominal.
        unseen_mass: Expected share of future records of classes without records. Nothing is known
            of their calls, so all of them count as sure and wrong.

    Returns:
        ``UNREACHABLE_THRESHOLD`` if no threshold meets the bound.
    """
    chances = cap_probabilities(logits[0], largest_supported_probability(len(labels)))
    best = chances.max(axis=1)
    order = np.argsort(-best, kind="stable")
    errors = np.cumsum(chances.argmax(axis=1)[order] != labels[order])
    counts = np.arange(1, len(order) + 1)
    unseen = unseen_mass * len(labels) / (1 - unseen_mass)  # in records
    bounds = betaincinv(errors + unseen + 1, counts - errors, BOUND_CONFIDENCE)
    descending = best[order]
    # No threshold separates equal probabilities.
    ends = np.append(descending[1:] < descending[:-1], True)
    good = np.flatnonzero((bounds <= wrong_share_limit) & ends)
    return float(descending[good[-1]]) if len(good) else UNREACHABLE_THRESHOLD
