"""Generation of whole networks: from the same releases as heads, for an architecture on demand.

Candidates in the order in which the server would try them: ``network`` (deterministic),
``network-other-view`` (where the plant's family has networks for its own camera and for others:
the kind that seems less likely),
``sample-mean``, ``closed-form`` (the bridge's head on the base), ``sample-i`` (diffusion),
``retrieval`` (mean of the five most similar zoo networks) and ``base`` (the public base under a
head without a preference, from which the plant can always start alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from wg_common import atomic
from wg_common.errors import ConfigError, VerificationError
from wg_common.nets import network as whole_networks
from wg_common.nets import registry
from wg_common.nets.registry import HEAD_BIAS, HEAD_WEIGHT
from wg_common.privacy.statistics import NoisyStatistics
from wg_common.wire import canonical
from wg_server.generator.heads.generate import (
    COLLAPSED,
    Generated,
    GeneratedCandidate,
    Generator,
    Report,
    SiteRelease,
    Source,
    read_releases,
)
from wg_server.generator.networks import sampler
from wg_server.generator.networks.condition import (
    ROW_UNIT,
    NetworkCondition,
    Settled,
    network_condition,
    settled,
)
from wg_server.generator.networks.denoiser import Weights, collate
from wg_server.generator.networks.package import (
    PACKAGE_LIMIT,
    ArchitectureBundle,
    NetworkParts,
    unpack,
)

LENGTH_BOUND = 20.0
"""Longest head row or part latent of a generated network, in the zoo's typical lengths."""


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
    heads: Generator


def load_networks(path: Path, heads: Generator) -> NetworkGenerator:
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
    own: NoisyStatistics | None,
    others: Sequence[SiteRelease],
    labels: tuple[str, ...],
    *,
    samples: int,
    seed: int,
) -> Generated:
    """Make candidates for one site.

    Args:
        generator: From ``load_networks``.
        architecture: One that it has.
        own: The site's release, if it made one.
        others: Other sites' releases; classes are matched by label name.
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
    evidence = read_releases(generator.heads.parts, own, others, labels)
    condition, _ = network_condition(
        bundle.fitted_priors, evidence.condition, evidence.estimate, labels
    )
    number = sorted(bundles).index(architecture)
    denoiser, count = generator.parts.denoiser, max(samples, 1)
    parts, config = bundle.decoder.codec.parts, denoiser.config
    with torch.inference_mode():
        one = sampler.deterministic(denoiser, collate([condition], [number], config))
        noise = sampler.named_noise(labels, parts, config, count, seed)
        many = collate([condition] * count, [number] * count, config)
        drawn = sampler.sample(denoiser, many, noise)
    nothing = torch.zeros(condition.retrieved_latents.shape)
    bridged, retrieved = (
        torch.from_numpy(rows) for rows in (condition.bridged_rows, condition.retrieved_rows)
    )
    single = one.rows[0], one.latents[0]
    mean = drawn.rows.mean(dim=0), drawn.latents.mean(dim=0)
    found: list[tuple[str, Source, Settled]] = [("network", "network", settled(condition, *single))]
    if condition.other is not None:
        otherwise = replace(condition, family_match=condition.other)
        found.append(("network-other-view", "network", settled(otherwise, *single)))
    found.append(("sample-mean", "diffusion", settled(condition, *mean)))
    found.append(("closed-form", "closed-form", Settled(bridged, nothing)))
    found += [
        (f"sample-{i}", "diffusion", settled(condition, drawn.rows[i], drawn.latents[i]))
        for i in range(samples)
    ]
    latents = torch.from_numpy(condition.retrieved_latents)
    found.append(("retrieval", "retrieval", Settled(retrieved, latents)))
    found.append(("base", "base", Settled(torch.zeros_like(bridged), nothing)))
    candidates = tuple(
        _candidate(architecture, bundle, condition, *candidate) for candidate in found
    )
    diversity = _diversity(bundle, drawn)
    alarms = list(evidence.alarms)
    if samples > 1 and diversity < 1e-3:
        alarms.append(COLLAPSED)
    return Generated(candidates, Report(evidence.sites, evidence.unseen, diversity, tuple(alarms)))


def _candidate(
    architecture: str,
    bundle: ArchitectureBundle,
    condition: NetworkCondition,
    name: str,
    source: Source,
    network: Settled,
) -> GeneratedCandidate:
    rows, latents = network.rows.numpy(), network.latents.numpy()
    if not (np.isfinite(rows).all() and np.isfinite(latents).all()):
        raise VerificationError(f"generator: candidate {name} is not finite")
    longest = max(
        float(np.linalg.norm(rows[:, :-1], axis=1).max()) / ROW_UNIT,
        float(np.sqrt(np.mean(latents**2, axis=1)).max(initial=0.0)),
    )
    if longest > LENGTH_BOUND:
        raise VerificationError(
            f"generator: candidate {name} is {longest:.3g} times as long as the zoo's networks, at"
            f" most {LENGTH_BOUND} is allowed"
        )
    unit = bundle.fitted_priors.regression.scale / ROW_UNIT
    weight = (rows[:, :-1] * unit).astype(np.float32)
    bias = (rows[:, -1] * unit - weight @ condition.centre).astype(np.float32)
    tensors = whole_networks.own(architecture, bundle.decoder.trunk(network.latents, network.more))
    tensors |= {HEAD_WEIGHT: weight, HEAD_BIAS: bias}
    registry.check_tensors(architecture, tensors, len(rows), weight.shape[1])
    return GeneratedCandidate(name, source, tensors, bundle.novelty(latents))


def _diversity(bundle: ArchitectureBundle, drawn: Weights) -> float:
    """Mean distance between samples' trunks, over the zoo's median between neighbours."""
    flat = drawn.latents.flatten(1).numpy()
    pairs = [np.linalg.norm(a - b) for i, a in enumerate(flat) for b in flat[i + 1 :]]
    return float(np.mean(pairs)) / bundle.nearest if pairs else 0.0
