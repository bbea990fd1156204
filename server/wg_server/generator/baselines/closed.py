"""Baselines without any learning: a coin, the base, and closed forms from the releases."""

from __future__ import annotations

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
    """T-BLUP of the plant and the other sites."""
    return context.estimate.weight, context.estimate.bias


def blend(context: Context) -> Head:
    """T-BLUP and the nearest zoo rows: the generator's own skeleton."""
    return conditioning.blend(FittedPriors(context.priors, context.zoo_index), context.estimate)


def closed_form_own(context: Context) -> Head:
    """T-BLUP of the site's own release only."""
    own = blup.predict(context.priors, context.sites[:1])
    return own.weight, own.bias + own.weight @ (context.estimate.centre - own.centre)
