"""The rivals, behind one interface: evidence in, a head out.

A rival sees what the generator sees and returns rows and biases of ``features - centre``, where
``centre`` is the mean that T-BLUP predicts for the site. None of them is trained on the site.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_server.generator import blup, condition
from wg_server.generator import memory as zoo_memory
from wg_server.generator.blup import Prediction, Priors
from wg_server.generator.evidence import SiteEvidence
from wg_server.generator.knowledge import Knowledge
from wg_server.generator.memory import Memory

Floats = NDArray[np.float64]
Head = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a rival may use.

    Attributes:
        priors: Public second moments.
        sites: Evidence, own site first.
        guess: T-BLUP of all sites.
        memory: The zoo.
        rng: For rivals that draw.
    """

    priors: Priors
    sites: Sequence[SiteEvidence]
    guess: Prediction
    memory: Memory
    rng: np.random.Generator


Rival = Callable[[Context], Head]


def random(context: Context) -> Head:
    """A random head."""
    shape = context.guess.weight.shape
    return context.rng.normal(size=shape), np.zeros(shape[0])


def closed_form(context: Context) -> Head:
    """T-BLUP with the memory of other sites."""
    return context.guess.weight, context.guess.bias


def blend(context: Context) -> Head:
    """T-BLUP and the nearest zoo rows: the generator's own skeleton."""
    return condition.blend(Knowledge(context.priors, context.memory), context.guess)


def closed_form_own(context: Context) -> Head:
    """T-BLUP of the site's own release only."""
    own = blup.predict(context.priors, context.sites[:1])
    return own.weight, own.bias + own.weight @ (context.guess.centre - own.centre)


def pooled_cosine(context: Context) -> Head:
    """Cosine prototypes of all sites' class sums pooled; no count is needed."""
    rows, centre = _pooled(context)
    return rows, rows @ (context.guess.centre - centre)


def pooled_moved(context: Context) -> Head:
    """Pooled prototypes moved to the site's own mean of all records, labelled or not."""
    rows, centre = _pooled(context)
    own = context.sites[0]
    if np.isfinite(own.domain_noise):
        centre = own.domain
    return rows, rows @ (context.guess.centre - centre)


def retrieval(context: Context) -> Head:
    """The five nearest zoo rows of each class."""
    return zoo_memory.retrieve(context.memory, context.priors, context.guess.deviations)


def weights_plus_noise(context: Context) -> Head:
    """The nearest zoo row of each class, with a tenth of its length in noise (Zeng et al. 2026)."""
    weight, bias = zoo_memory.retrieve(
        context.memory, context.priors, context.guess.deviations, neighbours=1
    )
    noise = context.rng.normal(0, 0.1 / np.sqrt(weight.shape[1]), weight.shape)
    return weight + noise, bias


def average_weights(context: Context) -> Head:
    """The mean of the fifty nearest zoo rows of each class: averaging without selection."""
    return zoo_memory.retrieve(
        context.memory, context.priors, context.guess.deviations, neighbours=50
    )


RIVALS: Mapping[str, Rival] = {
    "random": random,
    "closed-form-own": closed_form_own,
    "closed-form": closed_form,
    "blend": blend,
    "pooled-cosine": pooled_cosine,
    "pooled-moved": pooled_moved,
    "retrieval-5nn": retrieval,
    "average-weights": average_weights,
    "weights-plus-noise": weights_plus_noise,
}


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
    return away / (np.linalg.norm(away, axis=1, keepdims=True) + 1e-12), centre
