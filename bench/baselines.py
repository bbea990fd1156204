"""Baseline heads computed from the server's knowledge of a plant.

The baselines are closed forms of the releases, and prototypes without counts (Snell et al., NeurIPS
2017). A head is rows and biases for ``features - centre``, where ``centre`` is the mean that BLUP
predicts for the site.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wg_common.inference.discriminants import centre_over_classes
from wg_common.inference.posterior import (
    PredictedMeans,
    SiteEvidence,
    equal_length_discriminants,
    no_evidence,
)
from wg_server.generator.prior import blup
from wg_server.generator.prior.blup import Floats, ModelVariances

Head = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Inputs of a baseline.

    Attributes:
        priors: Variances of the mixed model.
        sites: Evidence of each site, the plant's own first.
        estimate: Means of the plant's classes, predicted by BLUP from all sites.
    """

    priors: ModelVariances
    sites: Sequence[SiteEvidence]
    estimate: PredictedMeans


Baseline = Callable[[Context], Head]


def closed_form(context: Context) -> Head:
    """Compute linear discriminants from BLUP's class deviations of all sites."""
    return centre_over_classes(
        *equal_length_discriminants(context.estimate.deviations, context.priors.whitener)
    )


def closed_form_own(context: Context) -> Head:
    """Compute linear discriminants from BLUP of the plant's own release only."""
    own = blup.predict_class_means(context.priors, context.sites[:1])
    weight, bias = centre_over_classes(
        *equal_length_discriminants(own.deviations, context.priors.whitener)
    )
    return weight, bias + weight @ (context.estimate.centre - own.centre)


def closed_form_others(context: Context) -> Head:
    """Compute linear discriminants from BLUP of the other sites' releases only."""
    plant = no_evidence(*context.sites[0].means.shape)
    others = blup.predict_class_means(context.priors, [plant, *context.sites[1:]])
    weight, bias = centre_over_classes(
        *equal_length_discriminants(others.deviations, context.priors.whitener)
    )
    return weight, bias + weight @ (context.estimate.centre - others.centre)


def cosine_without_counts(context: Context) -> Head:
    """Compute cosine prototypes from the directions of class sums, each site with the same weight.

    Sums are shifted to the site's own mean sum before their directions are added.
    """
    shape = context.estimate.deviations.shape
    total = np.zeros(shape)
    for site in context.sites:
        sums = site.means * site.record_counts[:, None]
        known = site.presence_probabilities > 1e-3
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
