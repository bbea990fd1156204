"""Even means of fitted heads: models that err on different records, judged out of fold.

Two models that err on different records are better together than the better of them, and no choice
has to be made from a handful of labels. Logits of each are at their best temperature, so that an
even mean is one of log odds (a logarithmic opinion pool; Heskes 1998, NIPS 10). It is a linear
head.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wg_client.fitting.fitted import Fitted, OutOfFold
from wg_client.fitting.folds import Folds, tempered
from wg_client.fitting.linear_head import LinearHead


def mean_head(heads: Sequence[LinearHead]) -> LinearHead:
    """The head whose logits are the mean of those of heads, some on further features behind."""
    widest = max(head.weight.shape[1] for head in heads)
    return LinearHead(
        np.mean([head.padded(widest).weight for head in heads], axis=0),
        np.mean([head.bias for head in heads], axis=0),
    )


def averaged(members: Sequence[Fitted], folds: Folds) -> Fitted | None:
    """Average fitted heads, and judge the average out of fold; None if nothing was held out.

    Args:
        members: At least one, on the same folds; settings of the last are kept. Heads of some may
            stand on further features behind those of others.
        folds: These.
    """
    judged = [member.out_of_fold for member in members if member.out_of_fold is not None]
    if len(judged) < len(members):
        return None
    logits, inner, factor = tempered(
        np.mean([member.logits for member in judged], axis=0),
        np.mean([member.inner for member in judged], axis=0),
        judged[0].labels,
        folds,
    )
    return replace(
        members[-1],
        head=mean_head([member.head for member in members]).scaled(factor),
        out_of_fold=OutOfFold(logits=logits, inner=inner, labels=judged[0].labels),
    )
