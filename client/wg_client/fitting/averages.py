"""Means of fitted heads: models that err on different records, judged out of fold.

Two models that err on different records are better together than the better of them, and no choice
has to be made from a handful of labels. Logits of each are at their best temperature, so that a
mean is one of log odds (a logarithmic opinion pool; Heskes 1998, NIPS 10). It is a linear head.
Where shares are given, each counts by its share times ``exp(-LOSS_WEIGHT * log loss)``: the mean
out of fold, and for the records of a fold of what is known without that fold.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wg_client.fitting.fitted import Fitted, OutOfFold
from wg_client.fitting.folds import Folds, temper
from wg_client.fitting.linear_head import Floats, LinearHead, log_loss

LOSS_WEIGHT = 6.0


def mean_head(heads: Sequence[LinearHead], weights: Floats | None = None) -> LinearHead:
    """The head whose logits are the mean of those of heads, some on further features behind."""
    widest = max(head.weight.shape[1] for head in heads)
    return LinearHead(
        np.average([head.pad_features(widest).weight for head in heads], axis=0, weights=weights),
        np.average([head.bias for head in heads], axis=0, weights=weights),
    )


def average_models(
    members: Sequence[Fitted], folds: Folds, shares: Floats | None = None
) -> Fitted | None:
    """Average fitted heads, and judge the average out of fold; None if nothing was held out.

    Args:
        members: At least one, on the same folds; settings of the last are kept. Heads of some may
            stand on further features behind those of others.
        folds: These.
        shares: Shares of each member, ``[members]``; None: an even mean.
    """
    judged_members = [member.out_of_fold for member in members if member.out_of_fold is not None]
    if len(judged_members) < len(members):
        return None
    logits = np.array([member.logits for member in judged_members])  # [members, repeats, m, K]
    inner = np.array([member.inner for member in judged_members])  # [members, repeats, folds, m, K]
    labels, weights = judged_members[0].labels, None
    if shares is not None:
        for repeat, fold in enumerate(folds.assignment):
            for out in range(folds.count):
                train = fold != out
                losses = [log_loss(part, labels[train]) for part in inner[:, repeat, out, train]]
                factors = len(judged_members) * _weights(shares, losses)[:, None, None]
                inner[:, repeat, out] *= factors
                logits[:, repeat, ~train] *= factors
        weights = _weights(shares, [member.losses for member in judged_members])
    logits, inner, factor = temper(logits.mean(axis=0), inner.mean(axis=0), labels, folds)
    return replace(
        members[-1],
        head=mean_head([member.head for member in members], weights).scale_logits(factor),
        out_of_fold=OutOfFold(logits=logits, inner=inner, labels=labels),
    )


def _weights(shares: Floats, losses: Sequence[Floats]) -> Floats:
    """Weigh members, ``[members]``, by the losses of each; weights add up to one."""
    weights = shares * np.exp([-LOSS_WEIGHT * float(loss.mean()) for loss in losses])
    return np.asarray(weights / weights.sum())
