"""The even mean of two models' logits: one of log odds, and again a linear head.

Two models that err on different records are better together than the better of them, and no choice
has to be made from a handful of labels (a logarithmic opinion pool; Heskes 1998, NIPS 10).
"""

from dataclasses import replace

from wg_client.fitting.fitted import Fitted, OutOfFold
from wg_client.fitting.folds import Folds, tempered
from wg_client.fitting.linear_head import LinearHead


def averaged(local: Fitted, fitted: Fitted, folds: Folds) -> Fitted | None:
    """Average two fitted heads, and judge the average out of fold; None if nothing was held out.

    Args:
        local: Every class occurs in it.
        fitted: Likewise, on the same folds; its settings are kept. Its head may stand on further
            features behind those of the other one.
        folds: These.
    """
    a, b = local.out_of_fold, fitted.out_of_fold
    if a is None or b is None:
        return None
    means = (a.logits + b.logits) / 2, (a.inner + b.inner) / 2
    logits, inner, factor = tempered(*means, a.labels, folds)
    return replace(
        fitted,
        head=_mean(local.head, fitted.head).scaled(factor),
        out_of_fold=OutOfFold(logits=logits, inner=inner, labels=a.labels),
        chosen_without=None,
    )


def _mean(local: LinearHead, fitted: LinearHead) -> LinearHead:
    local = local.padded(fitted.weight.shape[1])
    return LinearHead((local.weight + fitted.weight) / 2, (local.bias + fitted.bias) / 2)
