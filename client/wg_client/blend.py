"""The even mean of two heads, where each was learnt in its own way.

Two models that err on different records are better together than the better of them: no choice has
to be made from a handful of labels. Both have logits at their best temperature, so that an even
mean is one of log odds (a logarithmic opinion pool; Heskes 1998, NIPS 10). It is a linear head.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wg_client.baseline import Fitted
from wg_client.folds import Folds
from wg_client.heads import Floats, Ints, LinearHead, best_temperature, log_loss


def blend(one: Fitted, two: Fitted, features: Floats, labels: Ints, folds: Folds) -> Fitted:
    """Average two fitted heads, and judge the average out of fold.

    Args:
        one: With heads of each fold; every class occurs in it.
        two: Likewise; its settings are kept.
        features: ``[n, d]``.
        labels: ``[n]``.
        folds: Those of both.
    """
    if one.held_out is None or two.held_out is None:
        return two
    repeats, n = folds.assignment.shape
    logits = np.zeros((repeats, n, len(two.head.bias)))
    for repeat in range(repeats):
        for fold in np.unique(folds.assignment[repeat]):
            held = folds.assignment[repeat] == fold
            head = _mean(one.held_out(repeat, int(fold)), two.held_out(repeat, int(fold)))
            logits[repeat, held] = head.logits(features[held])
    factor = best_temperature(logits.reshape(repeats * n, -1), np.tile(labels, repeats))
    losses = np.stack([log_loss(each * factor, labels) for each in logits])
    head = _mean(one.head.scaled(one.factor), two.head.scaled(two.factor)).scaled(factor)
    return replace(
        two, head=head, predictions=logits.argmax(axis=2), losses=losses, factor=1.0, held_out=None
    )


def _mean(one: LinearHead, two: LinearHead) -> LinearHead:
    return LinearHead((one.weight + two.weight) / 2, (one.bias + two.bias) / 2)
