"""The strongest model that the plant can make alone, at no cost in privacy.

A mean of three learners: shrunk linear discriminants and a ridge regression on the classes,
each on every block of the frozen features by itself, and a logistic regression on all blocks
together. It was ahead of a choice among strengths, and of one learner, on development sets of
windows, texts and images alike, so that there is one rule. On one trunk the mean is even, and
nothing but temperatures is chosen; of several each has the same share, and what errs out of fold
counts less (``averages``): plants differ widely in which trunk tells their classes apart. It is the
bar that delivered weights must pass; a weak bar would be self-deception.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wg_client.fitting.averages import average_models, mean_head
from wg_client.fitting.fitted import Fitted, cross_validated
from wg_client.fitting.folds import Folds, RowIndex
from wg_client.fitting.learners import (
    DISCRIMINANTS,
    LOGISTIC_REGRESSION,
    RIDGE_REGRESSION,
    Learner,
    fit_parts,
)
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, spread
from wg_common.inference.discriminants import principal


def fit_local(
    features: Floats,
    labels: Ints,
    classes: int,
    folds: Folds,
    blocks: Sequence[int] = (),
    trunk_blocks: Sequence[int] = (),
) -> Fitted:
    """Fit the local-only model.

    Args:
        features: Float64 ``[n, d]`` of labelled records, n at least 1.
        labels: ``[n]`` in 0..classes-1.
        classes: Size K of the declared label domain.
        folds: From ``folds.stratified``; where they are not usable, discriminants are averaged as
            they are, since no temperature brings others to their scale.
        blocks: Sizes of the blocks of features, the last of the features, that two learners see
            one by one and the third together; none: they see all.
        trunk_blocks: Number of blocks of each trunk; none: all are of one.
    """
    sizes = np.array(tuple(blocks) or (features.shape[1],))
    ends = features.shape[1] - sizes.sum() + np.cumsum(sizes)
    # A block in which the plant's records do not vary has no columns.
    varied_columns = np.flatnonzero(sizes)
    trunks = np.repeat(np.arange(len(trunk_blocks) or 1), trunk_blocks or len(sizes))[
        varied_columns
    ]
    columns = [slice(ends[i] - sizes[i], ends[i]) for i in varied_columns] or [slice(None)]
    learners = [DISCRIMINANTS]
    if folds.usable:
        learners.append(RIDGE_REGRESSION)
    members = [
        _member(learner, features, block, labels, classes, folds)
        for block in columns
        for learner in learners
    ]
    trunk_of_member = trunks.repeat(len(learners))
    if folds.usable:
        learners.append(LOGISTIC_REGRESSION)
        all_columns = slice(columns[0].start, None)
        together = _member(LOGISTIC_REGRESSION, features, all_columns, labels, classes, folds)
        members += [together] * len(columns)  # it counts as much as either of the others
        trunk_of_member = np.append(trunk_of_member, trunks)
    one_trunk = len(np.unique(trunks)) < 2
    shares = None if one_trunk else 1 / np.bincount(trunk_of_member)[trunk_of_member]
    average = average_models(members, folds, shares)
    if average is None:
        average = replace(members[0], head=mean_head([member.head for member in members], shares))
    return replace(average, settings={"learner": "+".join(learner.name for learner in learners)})


def _member(
    learner: Learner, features: Floats, block: slice, labels: Ints, classes: int, folds: Folds
) -> Fitted:
    """One learner on some columns of the features, as a head on all."""

    def refit(rows: RowIndex | slice, choice: int = 0) -> LinearHead:
        part, present = _in_span(learner, features[rows, block], labels[rows])
        weight = np.zeros((len(present), features.shape[1]))
        weight[:, block] = part.weight
        return spread(LinearHead(weight, part.bias), present, classes)

    def predict(train: RowIndex, test: RowIndex) -> list[Floats]:
        return [refit(train).logits(features[test])]

    return cross_validated(predict, refit, features, labels, folds, np.zeros(1))[0]


def _in_span(learner: Learner, x: Floats, labels: Ints) -> tuple[LinearHead, RowIndex]:
    """Fit in the directions in which records vary.

    A strength is a share of their variance in one of these: others must not count, whose number
    says how many further records the plant has.
    """
    mean = x.mean(axis=0)
    values, vectors = principal(x - mean, min(x.shape))
    directions = vectors[:, values >= 1e-9 * values.max(initial=0.0)]
    (part,), present = fit_parts((learner,), (x - mean) @ directions, labels)
    weight = part.weight @ directions.T
    return LinearHead(weight, part.bias - weight @ mean), present
