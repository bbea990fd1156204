"""Noisy statistics in natural units, with the noise that is known to be on them.

This is what the server works with. Everything computed from it is post-processing and free.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.errors import DecodeError
from wg_common.privacy import centring
from wg_common.privacy.centring import Centre
from wg_common.privacy.schema import (
    SECOND_DIAGONAL,
    SECOND_OFF_DIAGONAL,
    Block,
    StatisticsSchema,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoisyStatistics:
    """One release.

    Attributes:
        schema: Layout, grid and weights.
        integers: int64 [schema.length], as released.
        sigma: Standard deviation of the noise on each entry, grid units; 0 without noise.
    """

    schema: StatisticsSchema
    integers: NDArray[np.int64]
    sigma: float

    def __post_init__(self) -> None:
        expected = (self.schema.length,)
        if self.integers.shape != expected or self.integers.dtype != np.int64:
            raise DecodeError(
                f"statistics: {self.integers.dtype} of shape {self.integers.shape}, "
                f"expected int64 of shape {expected}"
            )
        if not 0 <= self.sigma < np.inf:
            raise DecodeError(f"statistics: sigma is {self.sigma!r}")

    def counts(self) -> Array:
        """Records of each label, [K]; with noise they may be negative."""
        return self._block(0)[:-1] / self.schema.count_weight

    def unlabelled(self) -> float:
        """Number of records without a label."""
        return float(self._block(0)[-1] / self.schema.count_weight)

    @property
    def count_std(self) -> float:
        """Standard deviation of the noise on a count."""
        return self.sigma / self.schema.count_weight

    def sums(self) -> Array:
        """Sum of clipped deviations from ``centre()`` of each label, [K, d], feature units."""
        return self._block(1) * self._sum_unit

    @property
    def sum_std(self) -> float:
        """Standard deviation of the noise on an entry of a sum, feature units."""
        return self.sigma * self._sum_unit

    def centre(self) -> Array:
        """What the sums are taken about, [d], feature units; zeros if they are not centred.

        It is known to the last digit: noise moved it, but there is none on it.
        """
        return np.asarray(self._about.point * (self.schema.radius / self.schema.grid))

    @property
    def sum_radius(self) -> float:
        """Radius to which what is summed was clipped, feature units."""
        return self.schema.radius * self._about.radius / self.schema.grid

    def moments(self) -> Array:
        """Sums over all records, with and without a label.

        Returns:
            none: [0]. mean, centre: sum of phi, [d]. diagonal: sum of phi and sum of phi * phi,
            [2, d]. second: sum of phi phi^T, symmetric, [d, d]. Feature units, or their squares.
        """
        return self._unfold(self._block(2)) * self._moment_unit

    @property
    def moment_std(self) -> Array:
        """Standard deviation of the noise on each entry of ``moments()``, same shape."""
        shape = (self.schema.dimension,) * 2 if self.schema.moments == "second" else None
        return np.broadcast_to(self.sigma * self._moment_unit, shape or self.schema.blocks[2].shape)

    def _block(self, number: int) -> Array:
        block: Block = self.schema.blocks[number]
        part = self.integers[block.offset : block.offset + block.size]
        return part.reshape(block.shape).astype(np.float64)

    @property
    def _sum_unit(self) -> float:
        if not self.schema.labels:
            return 0.0
        return self.schema.radius / (self._about.weight * self.schema.grid)

    @functools.cached_property
    def _about(self) -> Centre:
        return centring.of_release(self.schema, self.integers, self.sigma)

    @property
    def _moment_unit(self) -> Array:
        """Natural units of one grid unit, in a shape that broadcasts to that of ``moments()``."""
        schema = self.schema
        if schema.moments == "none":
            return np.ones(1)
        step = schema.radius / schema.grid
        if schema.moments in ("mean", "centre"):
            return np.full(1, step / schema.moment_weight)
        if schema.moments == "diagonal":
            rows = np.array([step / schema.grid, step**2])
            return rows[:, None] / schema.moment_weight
        weight = np.full((schema.dimension,) * 2, float(SECOND_OFF_DIAGONAL))
        np.fill_diagonal(weight, SECOND_DIAGONAL)
        return np.asarray(step**2 / (schema.moment_weight * weight))

    def _unfold(self, flat: Array) -> Array:
        if self.schema.moments != "second":
            return flat
        rows, columns = np.triu_indices(self.schema.dimension)
        matrix = np.zeros((self.schema.dimension,) * 2)
        matrix[rows, columns] = flat
        matrix[columns, rows] = flat
        return matrix
