"""Pools: sums of sites' evidence about classes, to which sites can be added and removed exactly.

In the mixed model of ``wg_common.inference.posterior`` sites are coupled only through the class
deviations. Once a site's own mean is eliminated, the site adds to the equations of every other site
one matrix and one right-hand side per direction (a Schur complement). The contributions of several
sites add up. A *kind* is the set of all sites that released the same classes under one encoder. Its
``EvidencePool`` is the sum of their contributions, so that its use costs the same with ten sites as
with ten thousand.

Sums are stored as 64-bit integers in units of ``2**-36`` of the largest contribution that the model
allows one site, so that removing a site leaves exactly the sum of the others, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.posterior import Posterior, SiteEvidence
from wg_core.errors import DecodeError
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_server.generator.prior import blup, influence_bound
from wg_server.generator.prior.blup import ClassDeviationPrior, ModelVariances
from wg_server.generator.prior.site_statistics import site_evidence

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SITES_LIMIT = 1 << 20  # Largest number of sites in a pool, so that sums stay below 2**63
CLASS_MEAN_ENTRY_LIMIT = 64.0  # Largest entry of a class mean; features are clipped far below

_FIXED_POINT_UNIT = 2.0**-36


@dataclass(frozen=True, slots=True, eq=False)
class EvidencePool:
    """Sum of the contributions of several sites to the equations of K class deviations.

    Attributes:
        labels: Names of the K classes, sorted.
        site_count: Number of sites in the sum.
        precision: Upper triangle of the equations' matrix in each of d directions, in fixed-point
            units, ``[d, K (K + 1) / 2]``.
        right_sides: Right-hand sides of the equations, in fixed-point units, ``[d, K]``.
    """

    labels: tuple[str, ...]
    site_count: int
    precision: Integers
    right_sides: Integers

    def __add__(self, pool: EvidencePool) -> EvidencePool:
        """Return the sum of two pools; ``ValueError`` if they have different classes."""
        return self._add_signed(pool, 1)

    def __sub__(self, pool: EvidencePool) -> EvidencePool:
        """Return this pool without the sites of ``pool``, which were added before."""
        return self._add_signed(pool, -1)

    def _add_signed(self, pool: EvidencePool, sign: int) -> EvidencePool:
        if pool.labels != self.labels:
            raise ValueError(f"a pool of {pool.labels} is none of {self.labels}")
        sites = self.site_count + sign * pool.site_count
        if not 0 <= sites <= SITES_LIMIT:
            raise ValueError(f"{sites} sites in a pool, expected at most {SITES_LIMIT}")
        return EvidencePool(
            self.labels,
            sites,
            self.precision + sign * pool.precision,
            self.right_sides + sign * pool.right_sides,
        )

    def matrices_and_right_sides(self, priors: ModelVariances) -> tuple[Floats, Floats]:
        """Return matrices ``[d, K, K]`` and right-hand sides ``[d, K]`` of the pool's equations."""
        size, unit = len(self.labels), _FIXED_POINT_UNIT / priors.ratio
        rows, columns = np.triu_indices(size)
        full = np.zeros((len(unit), size, size))
        full[:, rows, columns] = full[:, columns, rows] = self.precision * unit[:, None]
        return full, self.right_sides * unit[:, None]


@dataclass(frozen=True, slots=True)
class PooledReleases:
    """Pools with the releases of all other sites that share classes with a site.

    Attributes:
        pools: Pools with a class of the site, without the site's own release.
        merkle_root: Merkle tree hash (RFC 6962, section 2.1) over the sorted ids of all releases in
            these pools, including the site's own if one has it; empty if there are no releases.
        release_count: Number of releases in the Merkle tree.
        supporting_sites: Number of other sites that agree on each class (``influence_bound``), by
            class name.
    """

    pools: tuple[EvidencePool, ...]
    merkle_root: str
    release_count: int
    supporting_sites: Mapping[str, int] = field(default_factory=dict)

    @property
    def other_site_count(self) -> int:
        """Number of other sites whose releases are pooled."""
        return sum(pool.site_count for pool in self.pools)


NO_POOLED_RELEASES = PooledReleases((), "", 0)


def empty_pool(labels: Iterable[str], dimension: int) -> EvidencePool:
    """Return a pool on these classes and ``dimension`` directions that contains no site."""
    names = tuple(sorted(labels))
    triangle = len(names) * (len(names) + 1) // 2
    zeros = np.zeros((dimension, triangle), np.int64), np.zeros((dimension, len(names)), np.int64)
    return EvidencePool(names, 0, *zeros)


def single_site_pool(
    priors: ModelVariances, labels: Sequence[str], site: SiteEvidence
) -> EvidencePool:
    """Return a pool with the evidence of a single site.

    Args:
        priors: Variances of the mixed model.
        labels: Names of the K classes of the evidence, sorted.
        site: Evidence on these classes; entries of class means count as at most
            ``CLASS_MEAN_ENTRY_LIMIT``.
    """
    precision, right_side = blup.site_equations(priors, site)
    rows, columns = np.triu_indices(len(labels))
    bound = CLASS_MEAN_ENTRY_LIMIT / _FIXED_POINT_UNIT
    units = priors.ratio[:, None] / _FIXED_POINT_UNIT
    return EvidencePool(
        tuple(labels),
        1,
        np.rint(precision[:, rows, columns] * units).astype(np.int64),
        np.rint(np.clip(right_side * units, -bound, bound)).astype(np.int64),
    )


def pools_of_releases(
    priors: ModelVariances,
    plant_release: NoisyStatistics | None,
    releases: Sequence[NoisyStatistics],
) -> list[EvidencePool]:
    """Pool the releases of a few sites by their class names.

    Each release is compared with all others: outliers are left out, and a release that disagrees
    has less weight (``influence_bound``).

    Args:
        priors: Variances of the mixed model.
        plant_release: Release of the plant that the pools are for, or None; the others are compared
            with it, but it is in no pool.
        releases: Releases of other sites; those of another dimension are left out.
    """
    pools: dict[tuple[str, ...], EvidencePool] = {}
    d = len(priors.between)
    for number, release in enumerate(releases):
        labels = tuple(sorted(release.schema.labels))
        if release.schema.dimension != d:
            continue
        neighbours = (plant_release, *releases[:number], *releases[number + 1 :])
        peers = [
            site_evidence(x, labels)
            for x in neighbours
            if x is not None and x.schema.dimension == d
        ]
        site = site_evidence(release, labels)
        agreement = influence_bound.compare_with_peers(priors, site, peers)
        if not agreement.is_outlier:
            part = single_site_pool(
                priors,
                labels,
                replace(site, noise_variances=site.noise_variances + agreement.extra_variance),
            )
            pools[labels] = pools.get(labels, empty_pool(labels, d)) + part
    return list(pools.values())


def posterior_from_pools(
    priors: ModelVariances,
    pools: Sequence[EvidencePool],
    labels: Sequence[str],
    name_prior: ClassDeviationPrior | None = None,
) -> Posterior:
    """Return the posterior of a plant's mean and of its class deviations, given all pooled sites.

    Classes of a pool that the plant does not have are marginalised out.

    Args:
        priors: Variances of the mixed model.
        pools: Pools on any classes, without the plant's own release.
        labels: Names of the plant's K classes.
        name_prior: Prior from class names; None: class deviations with prior mean 0.
    """
    d, size = len(priors.between), len(labels)
    matrices, right = np.zeros((d, size, size)), np.zeros((d, size))
    row_of = {name: row for row, name in enumerate(labels)}
    for pool in pools:
        is_shared = np.array([name in row_of for name in pool.labels])
        if not pool.site_count or not is_shared.any():
            continue
        addition = _eliminate_classes(priors, pool, ~is_shared)
        rows = np.array([row_of[name] for name in pool.labels if name in row_of])
        matrices[:, rows[:, None], rows] += addition[0]
        right[:, rows] += addition[1]
    return blup.mixed_model_equations(priors, matrices, right, name_prior)


def _eliminate_classes(
    priors: ModelVariances, pool: EvidencePool, dropped_classes: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return matrices and right-hand sides of a pool without the masked ``dropped_classes``."""
    matrices, right = pool.matrices_and_right_sides(priors)
    if not dropped_classes.any():
        return matrices, right
    inner = matrices[:, dropped_classes][:, :, dropped_classes]
    inner = inner + np.eye(int(dropped_classes.sum())) / priors.between[:, None, None]
    cross = matrices[:, ~dropped_classes][:, :, dropped_classes]
    gain = np.linalg.solve(inner, cross.transpose(0, 2, 1)).transpose(0, 2, 1)
    remaining = matrices[:, ~dropped_classes][:, :, ~dropped_classes] - gain @ cross.transpose(
        0, 2, 1
    )
    return remaining, right[:, ~dropped_classes] - np.einsum(
        "dkn,dn->dk", gain, right[:, dropped_classes]
    )


def encode_pool(pool: EvidencePool) -> bytes:
    """Encode the sums of a pool as little-endian 64-bit integers, ``precision`` first."""
    numbers = np.concatenate([pool.precision.ravel(), pool.right_sides.ravel()])
    return numbers.astype("<i8").tobytes()


def decode_pool(
    data: bytes, labels: Iterable[str], dimension: int, site_count: int
) -> EvidencePool:
    """Decode a pool from the bytes of ``encode_pool``.

    Raises:
        DecodeError: The size of the data does not fit the numbers of classes and directions.
    """
    bare = empty_pool(labels, dimension)
    size = bare.precision.size + bare.right_sides.size
    if len(data) != 8 * size:
        raise DecodeError(f"pool: {len(data)} bytes, expected {8 * size}")
    numbers = np.frombuffer(data, "<i8").astype(np.int64)
    precision, right_side = np.split(numbers, [bare.precision.size])
    return EvidencePool(
        bare.labels,
        site_count,
        precision.reshape(bare.precision.shape),
        right_side.reshape(bare.right_sides.shape),
    )
