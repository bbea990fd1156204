"""Generation: from releases to candidates.

The server holds no data, so nothing here measures accuracy. Candidates come in the order in which
the server would try them; the plant chooses among them on its own records.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT, CandidateSource
from wg_common.inference.posterior import SiteEvidence, no_evidence
from wg_common.nets import family_network
from wg_core import atomic
from wg_core.errors import DataError, VerificationError
from wg_core.privacy.statistics import NoisyStatistics
from wg_core.wire import canonical
from wg_server.generator.families import heads as operator_heads
from wg_server.generator.prior import blup, influence, retrieval
from wg_server.generator.prior.blup import Head, Prediction
from wg_server.generator.prior.conditioning import Condition, condition
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights import sampler
from wg_server.generator.weights.head_denoiser import collate, decode
from wg_server.generator.weights.head_package import PACKAGE_LIMIT, Parts, unpack
from wg_server.generator.weights.makers import GeneratedCandidate, Tensors, candidates

OTHER_SITES_LIMIT = 8
"""Other sites that condition one generation; those with most labels in common come first."""

LENGTH_BOUND = 10.0  # Longest row of generated weights, over the prior head's mean length

POSTERIOR_CLASSES = 256
"""Most classes of a posterior that is sent: its tensors grow with their square (17 MB here)."""


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """A loaded generator.

    Attributes:
        id: SHA-256 of its package, hex.
        parts: What it consists of.
    """

    id: str
    parts: Parts


@dataclass(frozen=True, slots=True, eq=False)
class SiteRelease:
    """Another site's release, kept by the server. Using it again is post-processing, and free.

    Attributes:
        site: Name of the site.
        statistics: What it released.
    """

    site: str
    statistics: NoisyStatistics


@dataclass(frozen=True, slots=True)
class Report:
    """What the server can say of a generation without data.

    Attributes:
        other_sites: Sites whose releases were used.
        unseen_labels: Labels of which neither the site nor the others know anything.
        alarms: Sentences on what looks wrong; empty when nothing does.
    """

    other_sites: tuple[str, ...]
    unseen_labels: tuple[str, ...]
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the releases come to.

    Attributes:
        condition: Tokens.
        estimate: T-BLUP's prediction.
        plain: The same without what class names foretell.
        others: Evidence of the other sites that were used.
        sites: Other sites whose releases were used.
        unseen: Labels of which no site knows anything.
        alarms: Sentences on what is amiss with the evidence.
    """

    condition: Condition
    estimate: Prediction
    plain: Prediction
    others: tuple[SiteEvidence, ...]
    sites: tuple[str, ...]
    unseen: tuple[str, ...]
    alarms: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """Candidates, and what is known of them."""

    candidates: tuple[GeneratedCandidate, ...]
    report: Report


def load_generator(path: Path) -> Generator:
    """Read a generator package.

    Raises:
        ConfigError: The file is missing; run ``wg-server train``.
        DecodeError: It is no generator package.
    """
    data = atomic.read_bytes(path, limit=PACKAGE_LIMIT)
    return Generator(canonical.sha256_hex(data), unpack(data))


def generate(
    generator: Generator,
    plant_release: NoisyStatistics | None,
    other_releases: Sequence[SiteRelease],
    labels: tuple[str, ...],
) -> Generated:
    """Make candidates for one site.

    Args:
        generator: From ``load_generator``.
        plant_release: The site's release, if it made one.
        other_releases: Other sites' releases; classes are matched by label name.
        labels: The site's label domain, in the order of class rows.

    Raises:
        DataError: No labels, or statistics of another encoder.
        VerificationError: Weights came out that are not finite, or out of bounds.
    """
    parts = generator.parts
    evidence = read_releases(parts, plant_release, other_releases, labels)
    report = Report(evidence.sites, evidence.unseen, evidence.alarms)
    return Generated(candidates(HeadMaking(parts, evidence, labels)), report)


@dataclass(frozen=True, eq=False)
class HeadMaking:
    """A generation of heads: a ``Making`` whose weights are rows and biases of centred features.

    Attributes:
        parts: Of the generator.
        evidence: What the releases come to.
        labels: The site's label domain.
    """

    parts: Parts
    evidence: Evidence
    labels: tuple[str, ...]

    @cached_property
    def answer(self) -> Head:
        """See ``Making``."""
        batch, denoiser = collate([self.evidence.condition]), self.parts.denoiser
        with torch.inference_mode():
            latents = sampler.deterministic(denoiser, batch)
            weight, bias = decode(self.parts.codec, batch, latents)
        return weight[0].numpy(), bias[0].numpy()

    @cached_property
    def _scale(self) -> float:
        """What logits are multiplied by: the network's temperature times the confidence."""
        temperature = math.exp(float(self.parts.denoiser.log_temperature.detach()))
        return temperature * blup.confidence(self.parts.priors, self.evidence.estimate)

    def candidate(self, name: str, source: CandidateSource, weights: Head) -> GeneratedCandidate:
        """See ``Making``."""
        centre = self.evidence.estimate.centre
        return _candidate(self.parts, name, source, weights, centre, self._scale)

    def of_family(self) -> tuple[Tensors, float] | None:
        """See ``Making``."""
        operator, estimate = self.parts.operator_families, self.evidence.plain
        if operator is None:
            return None
        match = operator_heads.head_for(operator, self.parts.priors, estimate, self.labels)
        if match is None:
            return None
        head, networks = match
        return head.tensors() | family_network.in_half(networks), 0.0

    def of_others(self) -> tuple[Tensors, float] | None:
        """See ``Making``; none where it would be too large."""
        parts, evidence, labels = self.parts, self.evidence, self.labels
        if len(labels) > POSTERIOR_CLASSES:
            return None
        named = parts.fitted_priors.named(labels)
        prior = blup.posterior(parts.priors, evidence.others, len(labels), named)
        return prior.tensors(), retrieval.novelty(parts.zoo_index, evidence.estimate.weight)


def read_releases(
    parts: Parts,
    plant_release: NoisyStatistics | None,
    other_releases: Sequence[SiteRelease],
    labels: tuple[str, ...],
) -> Evidence:
    """Turn releases into the condition of a generation.

    Args:
        plant_release: The site's release, if it made one.

    Raises:
        DataError: No labels, or statistics of another encoder.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise DataError(f"labels: {len(labels)} names, expected at least two different ones")
    for release in ([plant_release] if plant_release is not None else []) + [
        m.statistics for m in other_releases
    ]:
        if release.schema.encoder != parts.encoder:
            raise DataError(
                f"statistics: of encoder {release.schema.encoder[:16]}, the generator's is"
                f" {parts.encoder[:16]}"
            )
    d = parts.denoiser.config.dimension
    chosen = _choose([m for m in other_releases if m.statistics.schema.dimension == d], labels)
    plant = (
        no_evidence(len(labels), d)
        if plant_release is None
        else site_evidence(plant_release, labels)
    )
    read = [site_evidence(m.statistics, labels) for m in chosen]
    weighed = influence.weighed(parts.priors, plant, read)
    sites = [plant, *weighed.others]
    tokens, estimate = condition(parts.fitted_priors, sites, labels)
    plain = estimate if parts.names is None else blup.predict(parts.priors, sites)
    is_present = np.max([site.present for site in sites], axis=0) > 1e-3
    alarms = []
    if not is_present.all():
        alarms.append(
            f"{int((~is_present).sum())} classes are known to no site: their rows are guesses"
        )
    alarms += [
        f"site {chosen[odd].site}: its classes are other ones than those of these names at other"
        " sites; its release is left out"
        for odd in weighed.odd
    ]
    unseen = tuple(name for name, present in zip(labels, is_present, strict=True) if not present)
    used = tuple(chosen[number].site for number in weighed.used)
    return Evidence(tokens, estimate, plain, tuple(sites[1:]), used, unseen, tuple(alarms))


def _choose(other_releases: Sequence[SiteRelease], labels: tuple[str, ...]) -> list[SiteRelease]:
    common = [(len(set(m.statistics.schema.labels) & set(labels)), m) for m in other_releases]
    useful = [pair for pair in common if pair[0] > 0]
    useful.sort(key=lambda pair: (-pair[0], pair[1].statistics.sigma, pair[1].site))
    return [m for _, m in useful[:OTHER_SITES_LIMIT]]


def _candidate(
    parts: Parts,
    name: str,
    source: CandidateSource,
    head: Head,
    centre: NDArray[np.floating],
    scale: float,
) -> GeneratedCandidate:
    w, b = (np.asarray(array, dtype=np.float64) for array in head)
    if not (np.isfinite(w).all() and np.isfinite(b).all()):
        raise VerificationError(f"generator: candidate {name} is not finite")
    longest = float(np.linalg.norm(w, axis=1).max())
    if longest > LENGTH_BOUND:
        raise VerificationError(
            f"generator: candidate {name} has a row of length {longest:.3g}, at most"
            f" {LENGTH_BOUND} is allowed"
        )
    far = 1 / parts.zoo_index.nearest if not w.any() else retrieval.novelty(parts.zoo_index, w)
    tensors = {
        HEAD_WEIGHT: (scale * w).astype(np.float32),
        HEAD_BIAS: (scale * (b - w @ centre)).astype(np.float32),
    }
    return GeneratedCandidate(name, source, tensors, far)
