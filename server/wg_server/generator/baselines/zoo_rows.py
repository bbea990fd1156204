"""Baselines made of zoo rows: retrieval, averages, and training weights with noise."""

from __future__ import annotations

import numpy as np

from wg_server.generator.baselines.context import Context, Head
from wg_server.generator.prior import retrieval

NOISE = 0.1
"""Length of the noise over the length of a row: training weights lose about a point to it."""


def nearest_rows(context: Context) -> Head:
    """The five nearest zoo rows of each class."""
    return retrieval.retrieve(context.zoo_index, context.priors, context.estimate.deviations)


def weights_plus_noise(context: Context) -> Head:
    """The nearest zoo row of each class, with a tenth of its length in noise.

    Zeng et al. (CVPR 2026): a generator that cannot beat this has learnt to copy.
    """
    weight, bias = retrieval.retrieve(
        context.zoo_index, context.priors, context.estimate.deviations, neighbours=1
    )
    noise = context.rng.normal(0, NOISE / np.sqrt(weight.shape[1]), weight.shape)
    return weight + noise, bias


def average_weights(context: Context) -> Head:
    """The mean of the fifty nearest zoo rows of each class: averaging without selection."""
    return retrieval.retrieve(
        context.zoo_index, context.priors, context.estimate.deviations, neighbours=50
    )
