"""Canaries: each alone in its class, in or out by a coin; can the release tell?

Scores are inner products of what was released with what the canary would add, in units of the
stated noise. If the release is mu-GDP as charged, scores with and without the canary are at most as
far apart as N(mu, 1) and N(0, 1) (Dong, Roth and Su 2022; many canaries in one release: Steinke,
Nasr and Jagielski 2023).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.audit import empirical
from wg_common.audit.installed.plant import Floats, Integers, Opened
from wg_common.privacy import centring
from wg_common.privacy.schema import StatisticsSchema

ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockScore:
    """What canaries say of one block, or of all.

    Attributes:
        block: Its name; ``all`` for the whole release.
        mu_claimed: Largest mu that the charge leaves to it.
        mu_measured: Distance of the scores of canaries that were in and of those that were not.
        mu_lower: Lower confidence bound on it, 99.9 %.
    """

    block: str
    mu_claimed: float
    mu_measured: float
    mu_lower: float

    @property
    def passed(self) -> bool:
        """The bound does not exceed the claim."""
        return self.mu_lower <= self.mu_claimed


def scores(chosen: NDArray[np.bool_], files: Sequence[Opened], q: Integers) -> Iterator[BlockScore]:
    """Scores of canaries for each block and for all blocks, from the files alone.

    Args:
        chosen: Which canary is in which data set, ``[data sets, classes]``.
        q: What each canary is on the grid, ``[classes, d]``.
    """
    blocks, schema = files[0].blocks(), files[0].manifest.schema
    vectors = [_vectors(file, q) for file in files]
    sigma = min(file.sigma for file in files)
    # Canaries of one release share its noise: what a mean of them is worth follows from how their
    # directions lie, and who was in.
    shares = np.where(chosen, 1 / chosen.sum(), -1 / (~chosen).sum())
    for name in (*blocks, ALL):
        part = blocks.get(name, slice(0, schema.length))
        found, means, spread = np.full(chosen.shape, np.nan), 0.0, 0.0
        for row, (file, vector) in enumerate(zip(files, vectors, strict=True)):
            mine = vector[:, part]
            directions = mine / np.linalg.norm(mine, axis=1, keepdims=True)
            others = directions @ mine.T
            np.fill_diagonal(others, 0.0)
            seen = directions @ file.integers[part].astype(np.float64)
            found[row] = (seen - others @ chosen[row]) / file.sigma
            means += float(((shares[row] @ directions) ** 2).sum())
            spread += float(((directions @ directions.T) ** 2).sum()) / (2 * chosen.size**2)
        measured, lower = empirical.lower_bound(found[chosen], found[~chosen], (means, spread))
        claimed = math.sqrt(_squared_reach(schema)[name]) / sigma
        yield BlockScore(block=name, mu_claimed=claimed, mu_measured=measured, mu_lower=lower)


def _squared_reach(schema: StatisticsSchema) -> dict[str, int]:
    """How far one record can move each block, and all of them, squared grid units."""
    s2 = 1 << 2 * schema.bits
    reach = {
        "counts": schema.count_weight**2,
        "sums": schema.sum_weight**2 * s2,
        "moments": schema.moment_weight**2 * s2,
    }
    return {**reach, ALL: sum(reach.values())}


def _vectors(file: Opened, q: Integers) -> Floats:
    """What each canary adds to the exact integers of a release, ``[classes, L]``."""
    schema, blocks = file.manifest.schema, file.blocks()
    first = file.integers[blocks["counts"]], file.integers[blocks["moments"]]
    return empirical.directions(schema, q, centring.centre(schema, *first, file.sigma))
