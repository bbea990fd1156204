"""Baselines that make a head of what the server knows of a plant.

Closed forms of the releases, and prototypes without counts (Snell et al., NeurIPS 2017). Heads are
rows and biases of ``features - centre``, where ``centre`` is the mean that BLUP predicts for the
site.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wg_common.inference.discriminants import centre_over_classes
from wg_common.inference.posterior import (
    PredictedMeans,
    SiteEvidence,
    no_evidence,
    posterior_discriminant,
)
from wg_server.generator.prior import blup
from wg_server.generator.prior.blup import Floats, ModelVariances

Head = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What a baseline may use.

    Attributes:
        priors: Variances of the mixed model.
        sites: Evidence, own site first.
        estimate: BLUP of all sites.
    """

    priors: ModelVariances
    sites: Sequence[SiteEvidence]
    estimate: PredictedMeans


Baseline = Callable[[Context], Head]


def closed_form(context: Context) -> Head:
    """Linear discriminants of BLUP's class deviations."""
    return centre_over_classes(
        *posterior_discriminant(context.estimate.deviations, context.priors.whitener)
    )


def closed_form_own(context: Context) -> Head:
    """The same of the plant's own release only."""
    own = blup.predict_class_means(context.priors, context.sites[:1])
    weight, bias = centre_over_classes(
        *posterior_discriminant(own.deviations, context.priors.whitener)
    )
    return weight, bias + weight @ (context.estimate.centre - own.centre)


def closed_form_others(context: Context) -> Head:
    """The same of what the other sites have released."""
    plant = no_evidence(*context.sites[0].means.shape)
    others = blup.predict_class_means(context.priors, [plant, *context.sites[1:]])
    weight, bias = centre_over_classes(
        *posterior_discriminant(others.deviations, context.priors.whitener)
    )
    return weight, bias + weight @ (context.estimate.centre - others.centre)


def cosine_without_counts(context: Context) -> Head:
    """Cosine prototypes of the sums' directions: every site counts alike, no count is asked.

    Sums are brought to the site's own mean sum before their directions are added up.
    """
    shape = context.estimate.deviations.shape
    total = np.zeros(shape)
    for site in context.sites:
        sums = site.means * site.counts[:, None]
        known = site.present > 1e-3
        if known.sum() < 2:
            continue
        away = np.where(known[:, None], sums - sums[known].mean(axis=0), 0.0)
        total += away / (np.linalg.norm(away) + 1e-12)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return total / (length + 1e-12), np.zeros(shape[0])


BASELINES: Mapping[str, Baseline] = {
    "closed-form-own": closed_form_own,
    "closed-form": closed_form,
    "closed-form-others": closed_form_others,
    "cosine-no-counts": cosine_without_counts,
}
