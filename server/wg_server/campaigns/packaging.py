"""Production of a weights package for one site: its candidates, manifest and signature.

Besides zoo and training, this is the only part of the server that needs torch; it is imported when
the first package is made, so that serving starts fast.
"""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wg_common import catalogue, weights_package
from wg_common.weights_package import Candidate, GeneratorCondition, WeightsManifest
from wg_core.errors import ConfigError, DataError, VerificationError
from wg_core.wire import canonical, signing
from wg_server.campaigns import machine_networks
from wg_server.campaigns.release import PackageRecipient
from wg_server.generator import versions
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.prior.evidence_pools import NO_POOLED_RELEASES, PooledReleases
from wg_server.generator.versions import GeneratorVersion
from wg_server.site.home import ServerHome

if TYPE_CHECKING:
    from wg_server.generator.weights.candidates import GeneratedCandidate, NumpyTensors
    from wg_server.generator.weights.head_generation import HeadGenerator

PACKAGE_LIFETIME = datetime.timedelta(days=30)


class ReleasePools(Protocol):
    """Source of the other sites' releases for a package; ``release_pools.StoredReleasePools``."""

    def pooled_releases(
        self, generator_sha256: str, priors: ModelVariances, plant: PackageRecipient
    ) -> PooledReleases:
        """Return the pooled releases of other sites for a plant's classes.

        Args:
            generator_sha256: SHA-256 of the generator's package, hex.
            priors: Variances of class means between tasks and sites, from the generator.
        """


PackageMaker = Callable[[ServerHome, ReleasePools, PackageRecipient, str, str], bytes]
"""Function that makes the signed bytes of a ``.wgw`` file for a plant, as ``make_package`` does."""


def make_package(
    home: ServerHome,
    pools: ReleasePools,
    plant: PackageRecipient,
    request_id: str,
    generator_version_id: str,
) -> bytes:
    """Generate candidates for a plant, and pack and sign them.

    The candidates are networks for the machine that the plant declares and the machine statistics
    that it released, if the generator supports them; heads of known kinds; and a posterior, from
    which the plant computes heads on the encoder. The posterior is post-processing of other sites'
    releases of its classes, and costs no privacy. If networks were made and no other site released
    any of its classes, the posterior is left out, as it would add nothing to the class names. A
    soft sensor is the only candidate of its package.

    Args:
        pools: Pools of the other sites' releases.
        plant: Recipient of the package.
        request_id: Logical id of the delivery; it also seeds the samples.
        generator_version_id: Id of the generator version.

    Raises:
        ConfigError: The generator is missing, or has no usable candidate for this plant.
        DecodeError: The generator cannot be read.
        VerificationError: The generator is damaged.
        DataError: The generator is for another encoder than the plant's.
    """
    version = versions.read_version(home, generator_version_id)
    condition, candidates, releases = _make_candidates(
        version, pools, plant, seed=int(request_id[:8], 16)
    )
    tensors = weights_package.pack_tensors({c.name: values for c, values in candidates.items()})
    current_time = int(time.time())
    manifest = WeightsManifest(
        package_id=secrets.token_hex(16),
        request_id=request_id,
        site=plant.site,
        encoder=plant.encoder_sha256,
        generator=version.summary.generator,
        condition=condition,
        labels=plant.labels,
        own_release=plant.release_id,
        pool_root=releases.merkle_root,
        pool_releases=releases.other_site_count,
        candidates=tuple(candidates),
        tensors_sha256=canonical.sha256_hex(tensors),
        created=current_time,
        expires=current_time + int(PACKAGE_LIFETIME.total_seconds()),
    )
    return weights_package.encode_package(manifest, tensors, signing.load(home.signing_key))


def _make_candidates(
    version: GeneratorVersion, pools: ReleasePools, plant: PackageRecipient, *, seed: int
) -> tuple[GeneratorCondition, dict[Candidate, NumpyTensors], PooledReleases]:
    """Return the networks' condition, all candidates with tensors, and the pooled releases."""
    networks = machine_networks.make_machine_networks(version, plant, seed=seed)
    condition, architecture, for_machine = networks or (GeneratorCondition(), "", ())
    heads: tuple[GeneratedCandidate, ...] = ()
    releases = NO_POOLED_RELEASES
    # A soft sensor predicts numbers, so that heads for classes are of no use.
    if version.uses_heads and architecture != catalogue.PROCESS_SENSOR_NETWORK:
        heads, releases = _generate_heads(version, pools, plant)
    candidates = _tensors_by_manifest_entry(architecture, for_machine)
    if candidates and not releases.other_site_count:
        heads = tuple(head for head in heads if head.source != catalogue.POSTERIOR_SOURCE)
        releases = NO_POOLED_RELEASES
    elif not candidates and not version.uses_heads:
        raise ConfigError(
            f"package for {plant.site}: it states no machine of which there are networks, and the"
            " generator's heads fail their model card; train on a larger zoo"
        )
    candidates |= _tensors_by_manifest_entry(version.summary.architecture, heads)
    return condition, candidates, releases


def _tensors_by_manifest_entry(
    architecture: str, candidates: Iterable[GeneratedCandidate]
) -> dict[Candidate, NumpyTensors]:
    """Return the tensors of candidates of one architecture, by their manifest entries."""
    return {
        Candidate(
            name=candidate.name,
            source=candidate.source,
            architecture=architecture,
            inputs=candidate.input_scaling,
            privacy=candidate.privacy,
        ): candidate.tensors
        for candidate in candidates
    }


def _generate_heads(
    version: GeneratorVersion, pools: ReleasePools, plant: PackageRecipient
) -> tuple[tuple[GeneratedCandidate, ...], PooledReleases]:
    from wg_server.generator.weights.head_generation import (
        generate_heads,  # torch is slow to import
    )

    if plant.encoder_sha256 != version.summary.encoder:
        raise DataError(
            f"package for {plant.site}: of encoder {plant.encoder_sha256[:16]}, the generator's is"
            f" {version.summary.encoder[:16]}"
        )
    generator = load_head_generator_cached(version.heads_path, version.summary.generator)
    releases = pools.pooled_releases(generator.id, generator.package.priors, plant)
    candidates = generate_heads(generator, releases.pools, plant.labels, releases.supporting_sites)
    return candidates, releases


@lru_cache(1)
def load_head_generator_cached(path: Path, generator_sha256: str) -> HeadGenerator:
    """Load a generator's package by its SHA-256, hex; the last one stays cached."""
    from wg_server.generator.weights.head_generation import load_head_generator

    loaded_generator = load_head_generator(path)
    if loaded_generator.id != generator_sha256:
        raise VerificationError(f"{path}: not the package that its model card names")
    return loaded_generator
