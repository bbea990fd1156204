"""Baselines without training: a random head, the public base, and closed forms of the releases."""

import numpy as np

from wg_server.generator.baselines.context import Context, Head
from wg_server.generator.prior import blup, conditioning
from wg_server.generator.prior.fitted import FittedPriors


def random(context: Context) -> Head:
    """A random head."""
    shape = context.estimate.weight.shape
    return context.rng.normal(size=shape), np.zeros(shape[0])


def base(context: Context) -> Head:
    """The public base as it is: a head of zeros, which prefers the first class.

    What local training makes of it (LP-FT; Kumar et al., ICLR 2022) is a method of the local
    comparison: for a linear head the probe and the fine-tuning are one convex problem.
    """
    shape = context.estimate.weight.shape
    return np.zeros(shape), np.zeros(shape[0])


def closed_form(context: Context) -> Head:
    """BLUP of the plant and the other sites."""
    return context.estimate.weight, context.estimate.bias


def prior_mixture(context: Context) -> Head:
    """BLUP and the nearest zoo rows: the prior head, from which the generator starts."""
    fitted = FittedPriors(context.priors, context.zoo_index)
    return conditioning.prior_mixture(fitted, context.estimate)


def closed_form_own(context: Context) -> Head:
    """BLUP of the plant's own release only."""
    own = blup.predict(context.priors, context.sites[:1])
    return own.weight, own.bias + own.weight @ (context.estimate.centre - own.centre)
