"""The condition of a whole network: what the releases say, and what the zoo's neighbours offer.

Two priors are offered to the denoiser, and it learns the share of each: the mean of the most
similar zoo networks (``neighbours``), and for head rows the closed form of ``feature_regression``.
Both come from the same T-BLUP estimate as heads on the encoder, hence with known noise. The weight
that neighbours begin with is measured on the zoo (``evaluation.retrieval_weight``).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.inference.family_head import TENSORS, NetworkHead
from wg_server.generator.families.match import (
    SHIFT_LIKELY,
    FamilyMatch,
    Spread,
    match_own_first,
)
from wg_server.generator.prior.blup import SITE_RATIO, Prediction, Priors
from wg_server.generator.prior.conditioning import Condition
from wg_server.generator.weights import neighbours
from wg_server.generator.weights.feature_regression import FeatureRegression
from wg_server.generator.weights.neighbours import Found, RetrievalIndex

SEEN = 8
"""Neighbours that the denoiser sees, one token each; ``neighbours.NEIGHBOURS`` are averaged."""

ROW_UNIT = 8.0
"""Rows are in units of the regression's scale over this, so that their entries are about 1."""

SIMILAR = 5
CLASS_SCALARS = 5 + SIMILAR

_OUT_OF_FAMILY = 0.02
"""Probability of a family below which nothing of its networks is taken over."""
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FamilyMean:
    """The mean of the networks that the zoo has of the plant's family, as trained.

    Attributes:
        share: Probability that the plant is of this family.
        rows: Head rows, ``[K, F + 1]``, in row units.
        latents: ``[P, l]``.
        residual: The networks' deltas beyond their latents, the codec residual, ``[S]``.
        site_head: For plants that standardise norms and features; None if the networks have none.
    """

    share: float
    rows: Array
    latents: Array
    residual: Array
    site_head: NetworkHead | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NetworkCondition:
    """Arrays of one plant. K classes, P parts, latent size l, M neighbours.

    Attributes:
        retrieved_rows: Mean head rows of the neighbours, ``[K, F + 1]``, in row units.
        regression_rows: The closed form's, ``[K, F + 1]``, likewise.
        regression_share: Share of the closed form in each row of the prior head, ``[K]``: 0 to a
            half under the full retrieval weight, by how much of a class's prior variance the
            evidence explains; more under less, up to 1.
        retrieval_weight: Of the neighbours, 0 to 1.
        retrieved_latents: Mean latents of the neighbours, ``[P, l]``.
        class_vectors: T-BLUP's row and scaled deviation, ``[K, 2, d]``.
        class_scalars: Uncertainty, presence, counts, likeness of matches, ``[K, CLASS_SCALARS]``.
        neighbour_latents: ``[M, P, l]``.
        likeness: Of the neighbours, ``[M]``.
        domain: The site's predicted mean, ``[d]``.
        centre: The base's predicted mean feature, ``[F]``.
        family: Networks of the family that the plant is most likely of; None for an out-of-family
            site.
    """

    retrieved_rows: Array
    regression_rows: Array
    regression_share: Array
    retrieval_weight: float
    retrieved_latents: Array
    class_vectors: Array
    class_scalars: Array
    neighbour_latents: Array
    likeness: Array
    domain: Array
    centre: Array
    family: FamilyMean | None = None

    @property
    def prior_head_rows(self) -> Array:
        """Head rows that the denoiser starts from, ``[K, F + 1]``."""
        share = self.regression_share[:, None]
        return np.asarray((1 - share) * self.retrieved_rows + share * self.regression_rows)


@dataclass(frozen=True, slots=True, eq=False)
class FinalWeights:
    """A network as it is delivered or judged.

    Attributes:
        rows: Head rows, ``[K, F + 1]``, in row units.
        latents: ``[P, l]``; zero is the base's trunk.
        residual: Delta beyond the latents, ``[S]``, or None.
    """

    rows: Tensor
    latents: Tensor
    residual: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class NetworkPriors:
    """What conditions are made with, for one architecture.

    Attributes:
        priors: Of the generator of heads.
        regression: To heads on the base.
        index: Networks of the zoo.
        spread: How sites of one family in the index differ.
        everywhere: Whether ``augmented`` serve behind the operator's own camera or sensors too.
        retrieval_weight: Of neighbours, for out-of-family sites, 0 to 1: at 0 the prior is the
            closed form on the base.
        augmented: Networks of tasks of the index that have seen the records through other sites'
            cameras too (domain-shift augmentation); None if there are none.
        site_heads: Of these, on features that a site standardises, by their task's key.
    """

    priors: Priors
    regression: FeatureRegression
    index: RetrievalIndex
    spread: Spread
    everywhere: bool
    retrieval_weight: float = 1.0
    augmented: RetrievalIndex | None = None
    site_heads: Mapping[str, NetworkHead] = field(default_factory=dict)


def network_condition(
    fitted_priors: NetworkPriors,
    heads: Condition,
    estimate: Prediction,
    labels: Sequence[str],
    *,
    without: Collection[int] = (),
) -> tuple[NetworkCondition, Found]:
    """Make the condition of one plant.

    Args:
        fitted_priors: Of the architecture wanted.
        heads: The condition of heads on the encoder, from the same evidence.
        estimate: T-BLUP's prediction, from the same evidence.
        labels: The plant's class names.
        without: Entries of the index that may not be found.
    """
    nearest_networks = neighbours.find(
        fitted_priors.index,
        fitted_priors.priors,
        estimate,
        labels,
        count=SEEN,
        without=without,
    )
    unit = fitted_priors.regression.scale / ROW_UNIT
    rows, latents = nearest_networks.mean()
    matched = np.zeros((len(labels), SIMILAR))
    best = nearest_networks.matched[:SIMILAR].T
    matched[:, : best.shape[1]] = best
    return (
        NetworkCondition(
            retrieved_rows=_single(rows / unit),
            regression_rows=_single(fitted_priors.regression.rows(estimate) / unit),
            regression_share=_single(
                1
                - fitted_priors.retrieval_weight
                * (1 - _regression_share(fitted_priors.priors, estimate))
            ),
            retrieval_weight=fitted_priors.retrieval_weight,
            retrieved_latents=_single(latents),
            class_vectors=heads.class_vectors[:, [1, 0]],
            class_scalars=_single(np.concatenate([heads.class_scalars, matched], axis=1)),
            neighbour_latents=_single(nearest_networks.latents),
            likeness=_single(nearest_networks.likeness),
            domain=heads.centre,
            centre=_single(fitted_priors.regression.centre_of(estimate)),
            family=_family(fitted_priors, estimate, labels, without),
        ),
        nearest_networks,
    )


def final_weights(condition: NetworkCondition, rows: Tensor, latents: Tensor) -> FinalWeights:
    """Weights made for a plant, mixed with those of its family by how sure the family is.

    Args:
        condition: Of the plant.
        rows: ``[K, F + 1]``, row units; what is padded beyond is left away.
        latents: ``[P, l]``, likewise.
    """
    rows = rows[:, : condition.regression_rows.shape[1]]
    latents = latents[: len(condition.retrieved_latents)]
    family = condition.family
    if family is None:
        return FinalWeights(rows, latents, None)
    generated_share = 1 - family.share
    return FinalWeights(
        generated_share * rows + family.share * torch.from_numpy(family.rows),
        generated_share * latents + family.share * torch.from_numpy(family.latents),
        family.share * torch.from_numpy(family.residual),
    )


def closed_form(condition: NetworkCondition) -> FinalWeights:
    """The head of the feature-space regression, on the base as it is."""
    nothing = torch.zeros(condition.retrieved_latents.shape)
    return FinalWeights(torch.from_numpy(condition.regression_rows), nothing)


def retrieved(condition: NetworkCondition) -> FinalWeights:
    """The mean of the most similar zoo networks."""
    return FinalWeights(
        torch.from_numpy(condition.retrieved_rows), torch.from_numpy(condition.retrieved_latents)
    )


def _family(
    fitted_priors: NetworkPriors,
    estimate: Prediction,
    labels: Sequence[str],
    without: Collection[int],
) -> FamilyMean | None:
    """The networks of the plant's family: for the zoo's own views, or augmented by domain shift.

    The latter are no worse behind the operator's own camera or sensors, but for those of which few
    weights are trained: these come where the plant's are likely to be others.
    """
    index, augmented = fitted_priors.index, fitted_priors.augmented
    family_match = find_family(fitted_priors, estimate, labels, set(without))
    if family_match is None or family_match.share < _OUT_OF_FAMILY:
        return None
    keys = [index.keys[entry] for entry in family_match.entries]
    uses_augmented = fitted_priors.everywhere or family_match.shifted > SHIFT_LIKELY
    if uses_augmented and augmented and set(keys) <= set(augmented.keys):
        entries = np.array([augmented.keys.index(key) for key in keys])
        step = augmented.starts[entries] - index.starts[family_match.entries]
        matched = family_match.matched + step[:, None]
        index, family_match = augmented, replace(family_match, entries=entries, matched=matched)
    family_mean = _family_mean(fitted_priors.regression, index, family_match, estimate)
    if index is augmented:
        family_mean = replace(family_mean, site_head=_site_head(fitted_priors, index, family_match))
    return family_mean


def _site_head(
    fitted_priors: NetworkPriors, index: RetrievalIndex, family_match: FamilyMatch
) -> NetworkHead | None:
    """The mean head of a family for plants that standardise norms and features, for its classes."""
    heads = []
    for entry, matched in zip(family_match.entries, family_match.matched, strict=True):
        head = fitted_priors.site_heads.get(index.keys[entry])
        if head is None:
            return None
        heads.append(head.of_classes(matched - index.starts[entry]))
    return NetworkHead(
        *(family_match.mean(np.stack([getattr(head, name) for head in heads])) for name in TENSORS)
    )


def find_family(
    fitted_priors: NetworkPriors, estimate: Prediction, labels: Sequence[str], without: set[int]
) -> FamilyMatch | None:
    """The plant's family; the operator's own ones have networks with domain-shift augmentation."""
    index, augmented = fitted_priors.index, fitted_priors.augmented
    keys = () if augmented is None else augmented.keys
    return match_own_first(
        index,
        fitted_priors.spread,
        fitted_priors.priors,
        estimate,
        labels,
        own_entries=[n for n, key in enumerate(index.keys) if key in keys],
        without=without,
    )


def _family_mean(
    regression: FeatureRegression,
    index: RetrievalIndex,
    family_match: FamilyMatch,
    estimate: Prediction,
) -> FamilyMean:
    rows = index.rows[family_match.matched].copy()  # [E, K, F + 1]
    offsets = regression.centre_of(estimate) - index.origins[family_match.entries]  # [E, F]
    rows[:, :, -1] += np.einsum("ekd,ed->ek", rows[:, :, :-1], offsets)
    mean = family_match.mean(rows)
    unit = regression.scale / ROW_UNIT
    residuals = [index.residual_of(int(entry)) for entry in family_match.entries]
    return FamilyMean(
        share=family_match.share,
        rows=_single((mean - mean.mean(axis=0)) / unit),
        latents=_single(family_match.mean(index.latents[family_match.entries])),
        residual=_single(family_match.mean(np.array(residuals))),
    )


def _regression_share(priors: Priors, estimate: Prediction) -> NDArray[np.float64]:
    """Half of the share of prior variance that is explained; the other half is the neighbours'.

    Without evidence the closed form is noise, while neighbours still match by class names.
    """
    prior = float(priors.between.mean()) * (1 + SITE_RATIO)
    return np.asarray(0.5 * np.clip(1 - estimate.variance / prior, 0.0, 1.0))


def _single(values: NDArray[np.float64]) -> Array:
    return np.asarray(values, dtype=np.float32)
