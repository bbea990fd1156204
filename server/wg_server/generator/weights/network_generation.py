"""Generation of whole networks: from the same releases as heads, for an architecture on demand.

Candidates in the order in which the server would try them: ``network`` (deterministic; nearly the
family's networks where the plant is of a family of the zoo, and its source says so; behind another
camera with the family's head on features that the plant standardises),
``sample-mean``, ``closed-form`` (the regression's head on the base), ``sample-i`` (diffusion),
``retrieval`` (mean of the five most similar zoo networks) and ``base`` (the public base under a
head without a preference, from which the plant can always start alone).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT, SAME_FAMILY, CandidateSource
from wg_common.inference import family_head
from wg_common.nets import network as whole_networks
from wg_common.nets import tensor_set
from wg_core import atomic
from wg_core.errors import ConfigError, VerificationError
from wg_core.privacy.statistics import NoisyStatistics
from wg_core.wire import canonical
from wg_server.generator.families.match import LIKELY
from wg_server.generator.weights import head_generation as generate
from wg_server.generator.weights import makers, sampler
from wg_server.generator.weights.makers import GeneratedCandidate
from wg_server.generator.weights.network_condition import (
    ROW_UNIT,
    FinalWeights,
    NetworkCondition,
    NetworkPriors,
    closed_form,
    final_weights,
    network_condition,
    retrieved,
)
from wg_server.generator.weights.network_denoiser import NetworkBatch, Weights, collate, named_noise
from wg_server.generator.weights.network_package import (
    PACKAGE_LIMIT,
    ArchitectureBundle,
    NetworkParts,
    unpack,
)

LENGTH_BOUND = 20.0
"""Longest head row or part latent of a generated network, in the zoo's typical lengths.

Networks of the zoo that were trained for longer, or seen through more cameras, may be longer than
that. What is made from these alone may be as long as they are.
"""

_ROUNDING = 1e-5
"""Of a mean in single precision."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkGenerator:
    """A loaded generator of whole networks, and the generator of heads that it stands on.

    Attributes:
        id: SHA-256 of its package, hex.
        parts: What it consists of.
        heads: The generator of heads.
    """

    id: str
    parts: NetworkParts
    heads: generate.Generator


def load_networks(path: Path, heads: generate.Generator) -> NetworkGenerator:
    """Read a package of networks.

    Raises:
        ConfigError: The file is missing; the zoo has no whole networks, or ``train`` has not run.
        DecodeError: It is no such package.
        VerificationError: It stands on another generator of heads.
    """
    if not path.is_file():
        raise ConfigError(
            f"{path}: no generator of whole networks; build a zoo whose plan has 'networks', then"
            " run 'wg-server train'"
        )
    data = atomic.read_bytes(path, limit=PACKAGE_LIMIT)
    parts = unpack(data, heads.parts.priors)
    if parts.heads != heads.id:
        raise VerificationError(
            f"{path}: stands on generator {parts.heads[:16]}, the home's is {heads.id[:16]}"
        )
    return NetworkGenerator(canonical.sha256_hex(data), parts, heads)


def generate_networks(
    generator: NetworkGenerator,
    architecture: str,
    plant_release: NoisyStatistics | None,
    other_releases: Sequence[generate.SiteRelease],
    labels: tuple[str, ...],
    *,
    samples: int,
    seed: int,
) -> generate.Generated:
    """Make candidates for one site.

    Args:
        generator: From ``load_networks``.
        architecture: One that it has.
        plant_release: The site's release, if it made one.
        other_releases: Other sites' releases; classes are matched by label name.
        labels: The site's label domain, in the order of class rows.
        samples: Number of diffusion samples.
        seed: Of the samples.

    Raises:
        ConfigError: The generator has no such architecture.
        DataError: No labels, or statistics of another encoder.
        VerificationError: Weights came out that are not finite, or out of bounds.
    """
    bundles = generator.parts.bundles
    if architecture not in bundles:
        raise ConfigError(
            f"architecture {architecture!r}: the generator has {', '.join(sorted(bundles))}"
        )
    bundle = bundles[architecture]
    condition, evidence = _condition(
        generator, bundle.fitted_priors, plant_release, other_releases, labels
    )
    making = NetworkMaking(generator.parts, architecture, condition, labels, samples, seed)
    pairs = itertools.combinations(making.drawn.latents.flatten(1).numpy(), 2)
    distances = [float(np.linalg.norm(sample_a - sample_b)) for sample_a, sample_b in pairs]
    candidates = makers.candidates(making)
    return generate.Generated(candidates, generate.report(evidence, distances, bundle.nearest))


@dataclass(frozen=True, eq=False)
class NetworkMaking:
    """A generation of whole networks: a ``Making`` whose weights are head rows and latents.

    Attributes:
        parts: Of the generator.
        architecture: One that it has.
        condition: What the networks are made of.
        labels: The site's label domain.
        count: Samples that are delivered.
        seed: Of the samples.
    """

    parts: NetworkParts
    architecture: str
    condition: NetworkCondition
    labels: tuple[str, ...]
    count: int
    seed: int

    prior = None

    @property
    def _bundle(self) -> ArchitectureBundle:
        return self.parts.bundles[self.architecture]

    def _batch(self, count: int) -> NetworkBatch:
        number = sorted(self.parts.bundles).index(self.architecture)
        config = self.parts.denoiser.config
        return collate([self.condition] * count, [number] * count, config)

    @property
    def answer_source(self) -> CandidateSource:
        """See ``Making``."""
        return SAME_FAMILY if _of_family(self.condition) else "network"

    @property
    def answer(self) -> FinalWeights:
        """See ``Making``."""
        with torch.inference_mode():
            prediction = sampler.deterministic(self.parts.denoiser, self._batch(1))
        return final_weights(self.condition, prediction.rows[0], prediction.latents[0])

    @cached_property
    def drawn(self) -> Weights:
        """Samples, one at least."""
        count, denoiser = max(self.count, 1), self.parts.denoiser
        names = self._bundle.decoder.codec.parts
        with torch.inference_mode():
            noise = named_noise(self.labels, names, denoiser.config, count, self.seed)
            return Weights(*sampler.sample(denoiser, self._batch(count), noise))

    @property
    def mean(self) -> FinalWeights:
        """See ``Making``."""
        return final_weights(self.condition, *(x.mean(dim=0) for x in self.drawn))

    @property
    def samples(self) -> list[FinalWeights]:
        """See ``Making``."""
        drawn = list(zip(*self.drawn, strict=True))[: self.count]
        return [final_weights(self.condition, *sample) for sample in drawn]

    @property
    def closed_form(self) -> FinalWeights:
        """See ``Making``."""
        return closed_form(self.condition)

    @property
    def retrieved(self) -> FinalWeights:
        """See ``Making``."""
        return retrieved(self.condition)

    @property
    def base(self) -> FinalWeights:
        """See ``Making``."""
        return replace(self.closed_form, rows=torch.zeros_like(self.closed_form.rows))

    def candidate(
        self, name: str, source: CandidateSource, weights: FinalWeights
    ) -> GeneratedCandidate:
        """See ``Making``; with the head of the plant's family for a plant that standardises."""
        candidate = _candidate(
            self.architecture, self._bundle, self.condition, name, source, weights
        )
        family = self.condition.family
        if source != SAME_FAMILY or family is None or family.site_head is None:
            return candidate
        return replace(
            candidate, tensors=candidate.tensors | family_head.site_tensors(family.site_head)
        )

    def of_family(self) -> None:
        """The answer has the family's networks in it."""

    def of_others(self) -> None:
        """No posterior is of a network's features."""


def _condition(
    generator: NetworkGenerator,
    priors: NetworkPriors,
    plant_release: NoisyStatistics | None,
    other_releases: Sequence[generate.SiteRelease],
    labels: tuple[str, ...],
) -> tuple[NetworkCondition, generate.Evidence]:
    """What networks are made of, and the evidence.

    A plant with labels judges them. So where other sites have released, its own class sums say of
    which family it is, and have no other part in it: the rest is of others, and of the mean of all
    of its records. Where none has, a network of its family is of that alone.
    """
    parts = generator.heads.parts
    evidence = generate.read_releases(parts, plant_release, other_releases, labels)
    condition, _ = network_condition(priors, evidence.condition, evidence.estimate, labels)
    if plant_release is None:
        return condition, evidence
    if not other_releases:
        if condition.family is not None and _of_family(condition):
            condition = replace(condition, family=replace(condition.family, share=1.0))
        return condition, evidence
    unlabelled_evidence = generate.read_releases(
        parts, plant_release, other_releases, labels, own_classes=False
    )
    unlabelled_condition, _ = network_condition(
        priors, unlabelled_evidence.condition, unlabelled_evidence.estimate, labels
    )
    return replace(unlabelled_condition, family=condition.family), evidence


def _of_family(condition: NetworkCondition) -> bool:
    """Whether the plant is likely of a family whose networks the zoo has."""
    return condition.family is not None and condition.family.share >= LIKELY


def _candidate(
    architecture: str,
    bundle: ArchitectureBundle,
    condition: NetworkCondition,
    name: str,
    source: CandidateSource,
    network: FinalWeights,
) -> GeneratedCandidate:
    rows, latents = network.rows.numpy(), network.latents.numpy()
    if not (np.isfinite(rows).all() and np.isfinite(latents).all()):
        raise VerificationError(f"generator: candidate {name} is not finite")
    longest, allowed = _length(rows, latents), _allowed(condition)
    if longest > allowed:
        raise VerificationError(
            f"generator: candidate {name} is {longest:.3g} times as long as the zoo's networks, at"
            f" most {allowed:.3g} is allowed"
        )
    unit = bundle.fitted_priors.regression.scale / ROW_UNIT
    weight = (rows[:, :-1] * unit).astype(np.float32)
    bias = (rows[:, -1] * unit - weight @ condition.centre).astype(np.float32)
    tensors = whole_networks.own(
        architecture, bundle.decoder.trunk(network.latents, network.residual)
    )
    tensors |= {HEAD_WEIGHT: weight, HEAD_BIAS: bias}
    tensor_set.check_tensors(architecture, tensors, len(rows), weight.shape[1])
    return GeneratedCandidate(name, source, tensors, bundle.novelty(latents))


def _length(rows: NDArray[np.float32], latents: NDArray[np.float32]) -> float:
    """Longest head row or part latent, in the zoo's typical lengths."""
    return max(
        float(np.linalg.norm(rows[:, :-1], axis=1).max()) / ROW_UNIT,
        float(np.sqrt(np.mean(latents**2, axis=1)).max(initial=0.0)),
    )


def _allowed(condition: NetworkCondition) -> float:
    """The bound, or the longest network of the zoo that a candidate is a mean of."""
    lengths = [_length(condition.retrieved_rows, condition.retrieved_latents)]
    if condition.family is not None:
        lengths.append(_length(condition.family.rows, condition.family.latents))
    return (1 + _ROUNDING) * max(LENGTH_BOUND, *lengths)
