"""The even mean of two heads, where each was learnt in its own way.

Two models that err on different records are better together than the better of them: no choice has
to be made from a handful of labels. Both have logits at their best temperature, so that an even
mean is one of log odds (a logarithmic opinion pool; Heskes 1998, NIPS 10). It is a linear head.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wg_client.fitting.linear_head import Ints, LinearHead, best_temperature, log_loss
from wg_client.fitting.local_models import Fitted


def blend(one: Fitted, two: Fitted, labels: Ints) -> Fitted | None:
    """Average two fitted heads, and judge the average out of fold; None if nothing was held out.

    Args:
        one: Every class occurs in it.
        two: Likewise, on the same folds; its settings are kept.
        labels: ``[n]``.
    """
    if one.logits is None or two.logits is None:
        return None
    logits = (one.logits + two.logits) / 2
    repeats = len(logits)
    factor = best_temperature(np.concatenate(logits), np.tile(labels, repeats))
    first, second = one.head.scaled(one.factor), two.head.scaled(two.factor)
    mean = LinearHead((first.weight + second.weight) / 2, (first.bias + second.bias) / 2)
    return replace(
        two,
        head=mean.scaled(factor),
        predictions=logits.argmax(axis=2),
        losses=np.stack([log_loss(each * factor, labels) for each in logits]),
        factor=1.0,
        held_out=None,
        logits=logits * factor,
    )
