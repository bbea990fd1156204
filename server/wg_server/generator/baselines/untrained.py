"""Baselines without training, and what any baseline may use.

A random head and the public base; closed forms of the releases; zoo rows (retrieval, averages, and
training weights with noise); prototypes: class sums pooled over sites, as rows of unit length
(Snell et al., NeurIPS 2017).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.discriminants import unit_rows
from wg_common.inference.posterior import SiteEvidence
from wg_server.generator.prior import blup, conditioning, retrieval
from wg_server.generator.prior.blup import Prediction, Priors
from wg_server.generator.prior.fitted import FittedPriors
from wg_server.generator.prior.retrieval import ZooIndex

Floats = NDArray[np.float64]
Head = tuple[Floats, Floats]  # Weight [K, d] and bias [K] of `features - centre`

NOISE = 0.1
"""Length of the noise over that of a row: it costs training weights about a point of accuracy."""


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a baseline may use.

    Attributes:
        priors: Variances of the mixed model.
        sites: Evidence, own site first.
        estimate: BLUP of all sites.
        zoo_index: Heads and class deviations of the zoo.
        rng: Of baselines that draw.
    """

    priors: Priors
    sites: Sequence[SiteEvidence]
    estimate: Prediction
    zoo_index: ZooIndex
    rng: np.random.Generator


Baseline = Callable[[Context], Head]


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


def prior_mixture(context: Context) -> Head:
    """BLUP and the nearest zoo rows: the prior head, from which the generator starts."""
    fitted = FittedPriors(context.priors, context.zoo_index)
    return conditioning.prior_mixture(fitted, context.estimate)


def closed_form_own(context: Context) -> Head:
    """BLUP of the plant's own release only."""
    own = blup.predict(context.priors, context.sites[:1])
    return own.weight, own.bias + own.weight @ (context.estimate.centre - own.centre)


def weights_plus_noise(context: Context) -> Head:
    """The nearest zoo row of each class, with a tenth of its length in noise.

    A generator that is no better than this has learnt to copy (Zeng et al., CVPR 2026).
    """
    weight, bias = retrieved(context, 1)
    noise = context.rng.normal(0, NOISE / np.sqrt(weight.shape[1]), weight.shape)
    return weight + noise, bias


def retrieved(context: Context, neighbours: int) -> Head:
    """The mean of so many of the nearest zoo rows of each class."""
    deviations = context.estimate.deviations
    return retrieval.retrieve(context.zoo_index, context.priors, deviations, neighbours)


def pooled_cosine(context: Context) -> Head:
    """Cosine prototypes of all sites' class sums pooled, weighted by inferred counts."""
    rows, centre = _pooled(context)
    return rows, rows @ (context.estimate.centre - centre)


def pooled_moved(context: Context) -> Head:
    """Pooled prototypes moved to the site's own mean of all records, labelled or not."""
    rows, centre = _pooled(context)
    own = context.sites[0]
    if np.isfinite(own.domain_noise):
        centre = own.domain
    return rows, rows @ (context.estimate.centre - centre)


def cosine_without_counts(context: Context) -> Head:
    """Cosine prototypes of the sums' directions: every site counts alike, no count is asked.

    Sums are brought to the site's own mean sum before their directions are added up.
    """
    shape = context.estimate.weight.shape
    total = np.zeros(shape)
    for site in context.sites:
        sums = site.means * site.counts[:, None]
        known = site.present > 1e-3
        if known.sum() < 2:
            continue
        away = np.where(known[:, None], sums - sums[known].mean(axis=0), 0.0)
        total += away / (np.linalg.norm(away) + 1e-12)
    rows = unit_rows(total)
    return rows, np.zeros(shape[0])


def _pooled(context: Context) -> tuple[Floats, Floats]:
    """Unit rows of class sums about their mean, and that mean."""
    sums = sum(
        site.means * (site.counts * (site.present > 1e-3))[:, None] for site in context.sites
    )
    total = sum(site.counts * (site.present > 1e-3) for site in context.sites)
    means = sums / np.maximum(total, 1.0)[:, None]
    known = np.asarray(total) > 0
    centre = means[known].mean(axis=0) if known.any() else np.zeros(means.shape[1])
    away = np.where(known[:, None], means - centre, 0.0)
    return unit_rows(away), centre
