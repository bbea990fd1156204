"""Baselines made of zoo rows: retrieval, averages, and training weights with noise."""

import numpy as np

from wg_server.generator.baselines.context import Context, Head
from wg_server.generator.prior import retrieval

NOISE = 0.1
"""Length of the noise over that of a row: it costs training weights about a point of accuracy."""


def nearest_rows(context: Context) -> Head:
    """The five nearest zoo rows of each class."""
    return _retrieve(context, 5)


def weights_plus_noise(context: Context) -> Head:
    """The nearest zoo row of each class, with a tenth of its length in noise.

    A generator that is no better than this has learnt to copy (Zeng et al., CVPR 2026).
    """
    weight, bias = _retrieve(context, 1)
    noise = context.rng.normal(0, NOISE / np.sqrt(weight.shape[1]), weight.shape)
    return weight + noise, bias


def average_weights(context: Context) -> Head:
    """The mean of the fifty nearest zoo rows of each class: averaging without selection."""
    return _retrieve(context, 50)


def _retrieve(context: Context, neighbours: int) -> Head:
    deviations = context.estimate.deviations
    return retrieval.retrieve(context.zoo_index, context.priors, deviations, neighbours)
