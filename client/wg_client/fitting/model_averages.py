"""Averages of fitted heads that err on different records, evaluated out of fold.

Such an average can be better than its best member, and no member has to be selected by a handful of
labels. The logits of each member are at their best temperature, and their mean is a logarithmic
opinion pool (Heskes 1998, NIPS 10). The average is again a linear head.

If shares are given, the weight of a member is its share times ``exp(-LOSS_WEIGHT * log loss)``,
with the mean out-of-fold loss; for the records of a fold, the loss on the other folds.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wg_client.fitting.fitted_model import FittedModel, OutOfFoldPredictions
from wg_client.fitting.folds import Folds, scale_by_best_temperatures
from wg_client.fitting.linear_head import Floats, LinearHead, log_loss

LOSS_WEIGHT = 6.0


def average_heads(heads: Sequence[LinearHead], weights: Floats | None = None) -> LinearHead:
    """Average heads' weights and biases; narrower heads are padded with zero weights."""
    widest = max(head.weight.shape[1] for head in heads)
    return LinearHead(
        np.average([head.pad_features(widest).weight for head in heads], axis=0, weights=weights),
        np.average([head.bias for head in heads], axis=0, weights=weights),
    )


def average_models(
    members: Sequence[FittedModel], folds: Folds, prior_shares: Floats | None = None
) -> FittedModel | None:
    """Average fitted heads, and evaluate the average out of fold; None if nothing was held out.

    Args:
        members: Fitted heads, at least one, on the same folds; the result has the settings of the
            last one. Some heads may use further features after those of the others.
        folds: Folds of all members.
        prior_shares: Share of each member, ``[members]``; None: equal weights.
    """
    judged_members = [member.out_of_fold for member in members if member.out_of_fold is not None]
    if len(judged_members) < len(members):
        return None
    # [members, repeats, m, K] and [members, repeats, folds, m, K]
    logits = np.array([member.logits for member in judged_members])
    inner = np.array([member.inner_logits for member in judged_members])
    labels, weights = judged_members[0].labels, None
    if prior_shares is not None:
        for repeat, fold in enumerate(folds.fold_of_record):
            for out in range(folds.fold_count):
                train = fold != out
                losses = [log_loss(part, labels[train]) for part in inner[:, repeat, out, train]]
                factors = len(judged_members) * _member_weights(prior_shares, losses)[:, None, None]
                inner[:, repeat, out] *= factors
                logits[:, repeat, ~train] *= factors
        weights = _member_weights(prior_shares, [member.losses for member in judged_members])
    logits, inner, factor = scale_by_best_temperatures(
        logits.mean(axis=0), inner.mean(axis=0), labels, folds
    )
    return replace(
        members[-1],
        head=average_heads([member.head for member in members], weights).scale_logits(factor),
        out_of_fold=OutOfFoldPredictions(logits=logits, inner_logits=inner, labels=labels),
    )


def _member_weights(prior_shares: Floats, losses: Sequence[Floats]) -> Floats:
    """Return the weights ``[members]`` of averaged heads, which sum to 1; see the module.

    Args:
        losses: Out-of-fold log loss of each member on each record, nats.
    """
    weights = prior_shares * np.exp([-LOSS_WEIGHT * float(loss.mean()) for loss in losses])
    return np.asarray(weights / weights.sum())
