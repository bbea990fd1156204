"""Local-only: the strongest model that the plant can train alone, at no cost in privacy.

The model is the mean of three learners: shrunk linear discriminants and ridge regression on the
classes, each fitted on every block of the frozen features separately, and logistic regression on
all blocks together. On development sets of windows, texts and images this mean was better than one
learner and than selection among strengths. On one trunk the weights are equal, and only
temperatures are selected. On several trunks each trunk has the same share, and members with a
higher out-of-fold loss count less (``model_averages``), since plants differ in which trunk
separates their classes. This is the baseline that delivered weights must beat.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wg_client.fitting.fitted_model import FittedModel, select_and_fit
from wg_client.fitting.folds import Folds, RowIndices, single_configuration
from wg_client.fitting.learners import (
    DISCRIMINANT_LEARNER,
    LOGISTIC_LEARNER,
    RIDGE_LEARNER,
    Learner,
    fit_learners,
)
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, extend_to_classes
from wg_client.fitting.model_averages import average_heads, average_models
from wg_common.inference.discriminants import principal_components


def fit_local_only(
    features: Floats,
    labels: Ints,
    class_count: int,
    folds: Folds,
    block_sizes: Sequence[int] = (),
    trunk_block_counts: Sequence[int] = (),
) -> FittedModel:
    """Fit the local-only model on a plant's labelled records.

    Args:
        features: Features of labelled records, float64 ``[n, d]``, n at least 1.
        labels: Labels of the records, ``[n]`` in 0..classes-1.
        class_count: Size K of the declared label domain.
        folds: From ``folds.stratified_folds``; if they are not usable, only discriminants are
            averaged, since no temperature can be selected for the other learners.
        block_sizes: Sizes of the blocks, which are the last columns of ``features``: two learners
            are fitted on each block, the third on all; empty: all learners use all features.
        trunk_block_counts: Number of blocks of each trunk of the encoder; empty: one trunk.
    """
    sizes = np.array(tuple(block_sizes) or (features.shape[1],))
    ends = features.shape[1] - sizes.sum() + np.cumsum(sizes)
    # A block in which the plant's records do not vary has no columns.
    varied_columns = np.flatnonzero(sizes)
    block_counts = trunk_block_counts or len(sizes)
    trunks = np.repeat(np.arange(len(trunk_block_counts) or 1), block_counts)[varied_columns]
    columns = [slice(ends[i] - sizes[i], ends[i]) for i in varied_columns] or [slice(None)]

    def member(learner: Learner, block: slice) -> FittedModel:
        """Fit one learner on some columns of the features, as a head on all."""

        def refit(rows: RowIndices | slice, choice: int = 0) -> LinearHead:
            part, present = _fit_in_varying_directions(learner, features[rows, block], labels[rows])
            weight = np.zeros((len(present), features.shape[1]))
            weight[:, block] = part.weight
            return extend_to_classes(LinearHead(weight, part.bias), present, class_count)

        def predict(train: RowIndices, test: RowIndices) -> Floats:
            return refit(train).logits(features[test])

        return select_and_fit(single_configuration(predict), refit, labels, folds)[0]

    learners = [DISCRIMINANT_LEARNER]
    if folds.is_usable:
        learners.append(RIDGE_LEARNER)
    members = [member(learner, block) for block in columns for learner in learners]
    trunk_of_member = trunks.repeat(len(learners))
    if folds.is_usable:
        learners.append(LOGISTIC_LEARNER)
        all_columns = slice(columns[0].start, None)
        together = member(LOGISTIC_LEARNER, all_columns)
        members += [together] * len(columns)  # so that all three learners have equal weight
        trunk_of_member = np.append(trunk_of_member, trunks)
    one_trunk = len(np.unique(trunks)) < 2
    shares = None if one_trunk else 1 / np.bincount(trunk_of_member)[trunk_of_member]
    average = average_models(members, folds, shares)
    if average is None:
        head = average_heads([member.head for member in members], shares)
        average = replace(members[0], head=head)
    return replace(average, settings={"learner": "+".join(learner.name for learner in learners)})


def _fit_in_varying_directions(
    learner: Learner, features: Floats, labels: Ints
) -> tuple[LinearHead, RowIndices]:
    """Fit a learner in the directions in which records vary; return head and classes that occur.

    A learner's strength is relative to the variance per direction: directions without variance must
    not count, since their number would change the penalty.
    """
    mean = features.mean(axis=0)
    values, vectors = principal_components(features - mean, min(features.shape))
    directions = vectors[:, values >= 1e-9 * values.max(initial=0.0)]
    (part,), present = fit_learners((learner,), (features - mean) @ directions, labels)
    weight = part.weight @ directions.T
    return LinearHead(weight, part.bias - weight @ mean), present
