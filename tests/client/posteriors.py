"""Posteriors of class means that other sites' releases might give."""

from __future__ import annotations

import numpy as np

from wg_client.fitting.linear_head import Floats
from wg_common.inference.posterior import Posterior


def posterior(precision: Floats, weighted: Floats) -> Posterior:
    """A posterior ``[D, K + 1, K + 1]`` over unit scales, of classes that nine sites have."""
    d, k = len(precision), weighted.shape[1] - 1
    ones = np.ones(d)
    return Posterior(
        np.eye(d), ones, 0.1 * ones, ones, np.eye(d), precision, weighted, np.full(k, 9.0)
    )


def posterior_of_means(means: Floats, weight: float) -> Posterior:
    """Other sites know these class means, as if from ``weight`` records of each."""
    k, d = means.shape
    inner = np.arange(1, k + 1)
    precision = np.zeros((d, k + 1, k + 1))
    precision[:, 0, 0] = 0.1
    precision[:, inner, inner] = 1 + weight
    deviations = means - means.mean(axis=0)
    return posterior(precision, np.concatenate([np.zeros((d, 1)), weight * deviations.T], axis=1))
