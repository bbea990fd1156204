"""Which calls of a model are sure: by their probability, as predictions out of fold show it."""

import numpy as np
from scipy.special import softmax

from wg_client.fitting.linear_head import Floats, Ints

NEVER = 2.0  # Instead of a probability: no call is sure


def sure_above(
    logits: Floats,
    labels: Ints,
    wrong: float,
    unseen_mass: float = 0.0,
    mistaken: Floats | None = None,
) -> float:
    """Least probability of a sure call.

    Args:
        logits: Out of fold, ``[repeats, n, K]``; the first repeat is used.
        labels: ``[n]``, n at least 1.
        wrong: Share of sure calls that may be wrong. One wrong call more than was seen is counted,
            as for the next record (Angelopoulos et al. 2022, arXiv 2208.02814).
        unseen_mass: Share of future records of classes without any here, which are never called by
            their own label and sure.
        mistaken: With what probability records of classes left out were called by another label;
            None or empty: any of them may be called so with certainty.

    Returns:
        ``NEVER`` if no threshold does it.
    """
    chances = softmax(logits[0], axis=1)
    best, errors = chances.max(axis=1), chances.argmax(axis=1) != labels
    one = (1 - unseen_mass) / len(labels)
    weights = np.full(len(labels), one)
    if unseen_mass:
        unknown = np.ones(1) if mistaken is None or not len(mistaken) else mistaken
        best = np.concatenate([unknown, best])
        errors = np.concatenate([np.ones(len(unknown), dtype=bool), errors])
        share = np.full(len(unknown), unseen_mass / len(unknown))
        weights = np.concatenate([share, weights])
    order = np.argsort(-best, kind="stable")
    counts = np.cumsum(weights[order])
    good = np.flatnonzero(np.cumsum((weights * errors)[order]) + one <= wrong * (counts + one))
    return float(best[order][good[-1]]) if len(good) else NEVER
