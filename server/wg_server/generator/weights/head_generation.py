"""Generation of heads for a plant's classes, from pooled releases and the operator's families.

The server has no records of plants, so it measures no accuracy here. It lists candidates in its
order of preference; the plant completes them, and selects one on its own records.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from wg_common.catalogue import POSTERIOR_SOURCE
from wg_common.inference.posterior import Posterior
from wg_core import atomic
from wg_core.errors import DataError
from wg_core.wire import canonical
from wg_server.generator.families import heads as families
from wg_server.generator.prior import evidence_pools
from wg_server.generator.prior.evidence_pools import EvidencePool
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.head_package import PACKAGE_LIMIT, HeadPackage, unpack_heads

MAX_POSTERIOR_CLASSES = 256
"""Largest number of classes of a posterior in a package: its tensors, 17 MB for this number, grow
with the square of the number."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadGenerator:
    """Loaded generator of heads for plants.

    Attributes:
        id: SHA-256 of its package, hex.
        package: Content of its package.
    """

    id: str
    package: HeadPackage


CandidateMaker = Callable[[HeadPackage, tuple[str, ...], Posterior], Iterable[GeneratedCandidate]]
"""Function that makes candidates from a generator's package, a plant's class names, and the
posterior given other sites and these names. A new one needs an entry in ``CANDIDATE_MAKERS``, and
its source a name in ``wg_common.catalogue``."""


def family_head_candidates(
    package: HeadPackage, labels: tuple[str, ...], posterior: Posterior
) -> Iterator[GeneratedCandidate]:
    """Yield heads of the operator's families, on inputs standardised by the plant's records."""
    if package.operator_families is not None:
        offers = families.family_candidates(package.operator_families, labels)
        for number, (source, tensors, privacy) in enumerate(offers):
            name = f"{source}-{number + 1}" if number else source
            yield GeneratedCandidate(name, source, tensors, privacy=privacy)


def posterior_candidates(
    package: HeadPackage, labels: tuple[str, ...], posterior: Posterior
) -> Iterator[GeneratedCandidate]:
    """Yield the posterior of class means given other sites, unless it has too many classes."""
    if len(labels) <= MAX_POSTERIOR_CLASSES:
        yield GeneratedCandidate(POSTERIOR_SOURCE, POSTERIOR_SOURCE, posterior.tensors())


CANDIDATE_MAKERS: tuple[CandidateMaker, ...] = (family_head_candidates, posterior_candidates)
"""All functions that make candidates, in the server's order of preference."""


def load_head_generator(path: Path) -> HeadGenerator:
    """Read the package of a generator of heads.

    Raises:
        ConfigError: The file is missing; run ``wg-server train``.
        DecodeError: The file is not a generator package.
    """
    data = atomic.read_bytes(path, limit=PACKAGE_LIMIT)
    return HeadGenerator(canonical.sha256_hex(data), unpack_heads(data))


def generate_heads(
    generator: HeadGenerator,
    pools: Sequence[EvidencePool],
    labels: tuple[str, ...],
    supporting_sites: Mapping[str, int] = MappingProxyType({}),
) -> tuple[GeneratedCandidate, ...]:
    """Return the candidates for one plant, made without the plant's own release.

    Args:
        generator: Generator from ``load_head_generator``.
        pools: Pools of other sites' releases, without the plant's own one.
        labels: Class names of the plant, in the order of a head's rows.
        supporting_sites: Number of other sites that agree on each class, by class name.

    Raises:
        DataError: There are too few or too many labels, or one is repeated.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise DataError(f"labels: {len(labels)} names, expected at least two different ones")
    parts = generator.package
    name_prior = parts.fitted_priors.class_prior(labels)
    pooled_posterior = evidence_pools.posterior_from_pools(parts.priors, pools, labels, name_prior)
    sites = np.array([supporting_sites.get(name, 0) for name in labels], dtype=np.float64)
    pooled_posterior = replace(pooled_posterior, sites=sites)
    candidates = tuple(
        candidate
        for maker in CANDIDATE_MAKERS
        for candidate in maker(parts, labels, pooled_posterior)
    )
    if not candidates:
        raise DataError(f"labels: {len(labels)} names, expected at most {MAX_POSTERIOR_CLASSES}")
    return candidates
