"""Learners: linear heads fitted on labelled records, alone or around the logits of a base head.

Alone: shrunk linear discriminants, ridge regression on the classes, and logistic regression. Around
a base head with logits b, the head is ``s * b + fitted part``: a logistic regression with ``s * b``
as offset, whose penalty shrinks it towards the base, or separately fitted discriminants that are
added (a product of experts). At s = 0 the base head is ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wg_client.fitting.folds import RowIndices
from wg_client.fitting.linear_head import Floats, Ints, LinearHead, fit_ridge, fit_standardisation
from wg_client.fitting.logistic import fit_logistic_regressions
from wg_common.inference.discriminants import fit_ldas

LDA = "lda"
LOGISTIC = "logistic"
RIDGE = "ridge"


@dataclass(frozen=True, slots=True)
class Learner:
    """Configuration of one learner of linear heads: kind, strength and scale.

    Attributes:
        algorithm: ``LDA``, ``LOGISTIC`` or ``RIDGE``.
        strength: Shrinkage (LDA), C (logistic) or penalty (ridge).
        prior_penalty: Penalty in selection, nats: evidence to show beyond the default learner.
        base_scale: Factor s on the logits of the base head; 0 without a base head.
    """

    algorithm: str
    strength: float
    prior_penalty: float
    base_scale: float = 0.0

    @property
    def name(self) -> str:
        """Name of the learner in the manifest of a model."""
        return f"{self.algorithm}-{self.strength:g}"

    @property
    def unseen_scale(self) -> float:
        """Scale of the base head's rows of classes without records: s, or 1 if s is 0."""
        return self.base_scale or 1.0


DISCRIMINANT_LEARNER = Learner(LDA, 0.2, 0.0)
RIDGE_LEARNER = Learner(RIDGE, 0.1, 0.0)
LOGISTIC_LEARNER = Learner(LOGISTIC, 0.3, 0.0)

LEARNERS_AROUND_BASE = (
    *(
        Learner(LOGISTIC, c, p + q, s)
        for c, p in ((0.003, 0.5), (0.03, 0.0), (0.3, 0.5))
        for s, q in ((0.0, 1.0), (0.7, 0.0), (1.5, 0.0), (3.0, 0.5))
    ),
    *(
        Learner(LDA, shrinkage, 0.5 + q, s)
        for shrinkage in (0.2, 0.5)
        for s, q in ((0.0, 1.0), (1.5, 0.0), (3.0, 0.0), (6.0, 0.5))
    ),
)
"""Learners around a base head among which cross-validation selects."""


def fit_learners(
    learners: Sequence[Learner], features: Floats, labels: Ints, base_logits: Floats | None = None
) -> tuple[list[LinearHead], RowIndices]:
    """Fit each learner's head, whose logits are to be added to those of a base head.

    Args:
        features: Features of the records, ``[n, d]``, n at least 1.
        labels: Labels of the records, ``[n]`` in 0..K-1.
        base_logits: Logits of the base head, ``[n, K]``; None is zero.

    Returns:
        One head per learner, on ``features`` over the classes that occur; and these classes.
    """
    scaled_features = fit_standardisation(features)
    rows, inverse = np.unique(labels, return_inverse=True)
    x, dense, k = scaled_features.apply(features), inverse.astype(np.int64), len(rows)
    offset = np.zeros((len(x), k)) if base_logits is None else base_logits[:, rows]
    logistic = [learner for learner in learners if learner.algorithm == LOGISTIC]
    strengths = [learner.strength for learner in logistic]
    offsets = [learner.base_scale * offset for learner in logistic]
    fits = iter(fit_logistic_regressions(x, dense, k, strengths, offsets))
    # Discriminants are the same at every scale.
    shrinkages = sorted({learner.strength for learner in learners if learner.algorithm == LDA})
    discriminants = fit_ldas(x, dense, k, shrinkages) if shrinkages else []
    heads = {
        shrinkage: LinearHead(*lda)
        for shrinkage, lda in zip(shrinkages, discriminants, strict=True)
    }
    parts = []
    for learner in learners:
        if learner.algorithm == LOGISTIC:
            parts.append(next(fits))
        elif learner.algorithm == RIDGE:
            parts.append(fit_ridge(x, dense, k, learner.strength))
        else:
            parts.append(heads[learner.strength])
    return [scaled_features.to_unscaled_head(part) for part in parts], rows
