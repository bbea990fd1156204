"""What generation is conditioned on: tokens of classes, other sites and domains; a prior head.

The prior head is where denoising starts: a mixture of the BLUP estimate's head and the nearest zoo
heads. Vectors are in feature space, so that an orthogonal change of basis acts on all of them alike
(a training augmentation); scalars say how noisy each vector is. Class tokens carry no position:
permuting the classes permutes the rows of the head, and changes nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.discriminants import scaled
from wg_common.inference.posterior import SiteEvidence
from wg_server.generator.prior import blup, retrieval
from wg_server.generator.prior.blup import Prediction
from wg_server.generator.prior.fitted import FittedPriors

Array = NDArray[np.float32]

ZOO_SHARE = 0.2  # Share of the zoo in the prior head

CLASS_VECTORS = 4
CLASS_SCALARS = 5
OTHER_VECTORS = 2
OTHER_SCALARS = 4
DOMAIN_VECTORS = 1
DOMAIN_SCALARS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """Numbers for the network. K classes, M other sites, d features.

    Attributes:
        weight: Rows of the prior head, mean length 1, ``[K, d]``.
        bias: Its biases, of ``features - centre``, ``[K]``.
        centre: The site's predicted mean, ``[d]``.
        class_vectors: Predicted deviation, BLUP's row, the prior head's row, own mean:
            ``[K, 4, d]``.
        class_scalars: ``[K, 5]``.
        other_vectors: Class mean at another site, and that site's distance: ``[M, K, 2, d]``.
        other_scalars: ``[M, K, 4]``.
        other_mask: Whether the other site has the class, bool ``[M, K]``.
        domain_vectors: Own site first, ``[1 + M, 1, d]``.
        domain_scalars: ``[1 + M, 4]``.
    """

    weight: Array
    bias: Array
    centre: Array
    class_vectors: Array
    class_scalars: Array
    other_vectors: Array
    other_scalars: Array
    other_mask: NDArray[np.bool_]
    domain_vectors: Array
    domain_scalars: Array


def condition(
    fitted_priors: FittedPriors, sites: Sequence[SiteEvidence], labels: Sequence[str] = ()
) -> tuple[Condition, Prediction]:
    """Turn evidence into tokens; weights are made for the first site, of classes ``labels``."""
    priors = fitted_priors.priors
    estimate = blup.predict(priors, sites, fitted_priors.named(labels) if labels else None)
    weight, bias = prior_mixture(fitted_priors, estimate)
    d = len(estimate.centre)
    energy = float(priors.between.mean())
    unit = 1 / np.sqrt(energy * d)
    plant, other_sites = sites[0], sites[1:]
    centres = [_centre(site) for site in other_sites]
    keep = _keep(plant, energy, d)
    class_vectors = np.stack(
        [
            estimate.deviations * unit,
            estimate.weight,
            weight,
            (plant.means - estimate.centre) * (keep * unit)[:, None],
        ],
        axis=1,
    )
    class_scalars = np.stack(
        [
            _log(estimate.variance / energy),
            keep,
            plant.present,
            _log(plant.noise / energy) * plant.present,
            np.log(plant.counts) / 3 * plant.present,
        ],
        axis=1,
    )
    other_vectors = np.zeros((len(other_sites), len(estimate.bias), OTHER_VECTORS, d))
    other_scalars = np.zeros((len(other_sites), len(estimate.bias), OTHER_SCALARS))
    other_mask = np.zeros((len(other_sites), len(estimate.bias)), dtype=bool)
    for row, (site, centre) in enumerate(zip(other_sites, centres, strict=True)):
        keep = _keep(site, energy, d)
        other_vectors[row, :, 0] = (site.means - centre) * (keep * unit)[:, None]
        other_vectors[row, :, 1] = (centre - estimate.centre) * unit
        other_scalars[row] = np.stack(
            [keep, site.present, _log(site.noise / energy), np.log(site.counts) / 3], axis=1
        )
        other_mask[row] = site.present > 1e-3
    domain_vectors = np.stack([estimate.centre, *centres])[:, None]
    domain_scalars = np.stack([_domain_scalars(site, energy) for site in sites])
    return (
        Condition(
            weight=_single(weight),
            bias=_single(bias),
            centre=_single(estimate.centre),
            class_vectors=_single(class_vectors),
            class_scalars=_single(class_scalars),
            other_vectors=_single(other_vectors),
            other_scalars=_single(other_scalars),
            other_mask=other_mask,
            domain_vectors=_single(domain_vectors),
            domain_scalars=_single(domain_scalars),
        ),
        estimate,
    )


def prior_mixture(
    fitted_priors: FittedPriors, estimate: Prediction
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The prior head: BLUP's head mixed with the mean of the nearest zoo rows of each class.

    BLUP knows this plant; the zoo knows how trained rows differ from discriminants. Their errors
    have little in common.

    Returns:
        Weight ``[K, d]``, centred, mean length 1, and bias ``[K]`` of ``features - centre``.
    """
    weight, bias = retrieval.retrieve(
        fitted_priors.zoo_index, fitted_priors.priors, estimate.deviations, retrieval.NEIGHBOURS
    )
    return scaled(
        (1 - ZOO_SHARE) * estimate.weight + ZOO_SHARE * weight,
        (1 - ZOO_SHARE) * estimate.bias + ZOO_SHARE * bias,
    )


def _single(values: NDArray[np.float64]) -> Array:
    return np.asarray(values, dtype=np.float32)


def _keep(site: SiteEvidence, energy: float, d: int) -> NDArray[np.float64]:
    """Share of signal in each class mean, ``[K]``, by which its vector is shrunk."""
    return site.present * energy * 2 / (energy * 2 + site.noise + 0.5 / (d * site.counts))


def _centre(site: SiteEvidence) -> NDArray[np.float64]:
    """Mean of a site ``[d]``, of its classes or its records, whichever is less noisy; shrunk."""
    weight = site.present / (site.noise + 1e-6)
    total = float(weight.sum())
    if total > 0:
        classes = (site.means * weight[:, None]).sum(axis=0) / total
        noise = 1 / total
    else:
        classes, noise = np.zeros_like(site.domain), np.inf
    if np.isfinite(site.domain_noise) and site.domain_noise < noise:
        classes, noise = site.domain, site.domain_noise
    return np.asarray(classes * (0.01 / (0.01 + noise) if np.isfinite(noise) else 0.0))


def _domain_scalars(site: SiteEvidence, energy: float) -> NDArray[np.float64]:
    is_observed = float(np.isfinite(site.domain_noise))
    noise = site.domain_noise if is_observed else 1.0
    return np.array(
        [
            is_observed,
            is_observed * float(_log(np.array(noise / energy))),
            float(np.mean(site.present)),
            float(np.log(site.domain_count)) / 5,
        ]
    )


def _log(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(value, 1e-4)) / 5)
