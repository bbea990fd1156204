"""Noisy statistics in natural units (records, features), with the noise's standard deviation.

Everything that a server computes from them is post-processing and costs no privacy.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_core.errors import DecodeError
from wg_core.privacy import class_centres
from wg_core.privacy.class_centres import Centre
from wg_core.privacy.schema import Block, StatisticsSchema

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoisyStatistics:
    """Noisy statistics of one release, in numbers of records and feature units.

    Attributes:
        schema: Layout, grid and weights of the released integers.
        integers: Released integers, int64 [schema.vector_length].
        sigma: Standard deviation of the noise on each entry, grid units; 0 without noise.
    """

    schema: StatisticsSchema
    integers: NDArray[np.int64]
    sigma: float

    def __post_init__(self) -> None:
        expected = (self.schema.vector_length,)
        if self.integers.shape != expected or self.integers.dtype != np.int64:
            raise DecodeError(
                f"statistics: {self.integers.dtype} of shape {self.integers.shape}, "
                f"expected int64 of shape {expected}"
            )
        if not 0 <= self.sigma < np.inf:
            raise DecodeError(f"statistics: sigma is {self.sigma!r}")

    def counts(self) -> FloatArray:
        """Return the noisy number of records per label, [K]; may be negative."""
        return self._block_values(0)[:-1] / self.schema.count_weight

    def unlabelled_count(self) -> float:
        """Return the noisy number of unlabelled records."""
        return float(self._block_values(0)[-1] / self.schema.count_weight)

    @property
    def count_std(self) -> float:
        """Standard deviation of the noise on an entry of ``counts()``, number of records."""
        return self.sigma / self.schema.count_weight

    def sums(self) -> FloatArray:
        """Return each label's noisy sum of deviations from ``centre()``, [K, d], feature units."""
        return self._block_values(1) * self._sum_scale

    @property
    def sum_std(self) -> float:
        """Standard deviation of the noise on an entry of ``sums()``, feature units."""
        return self.sigma * self._sum_scale

    def centre(self) -> FloatArray:
        """Return the centre of the class sums, [d], feature units.

        The centre is exact: the plant computed the same one, from the same released integers.
        """
        grid_unit = self.schema.radius / self.schema.radius_grid_units
        return np.asarray(self._release_centre.point * grid_unit)

    @property
    def sum_radius(self) -> float:
        """Radius to which deviations from the centre were clipped, feature units."""
        return self.schema.radius * self._release_centre.radius / self.schema.radius_grid_units

    def moments(self) -> FloatArray:
        """Return the noisy sum of clipped features over all records, [d], feature units."""
        return self._block_values(2) * self._moment_scale

    @property
    def moment_std(self) -> float:
        """Standard deviation of the noise on an entry of ``moments()``, feature units."""
        return self.sigma * self._moment_scale

    def _block_values(self, block_index: int) -> FloatArray:
        block: Block = self.schema.blocks[block_index]
        part = self.integers[block.offset : block.offset + block.size]
        return part.reshape(block.shape).astype(np.float64)

    @property
    def _sum_scale(self) -> float:
        if not self.schema.labels:
            return 0.0
        weight = self._release_centre.sum_weight * self.schema.radius_grid_units
        return self.schema.radius / weight

    @functools.cached_property
    def _release_centre(self) -> Centre:
        return class_centres.centre_of_release(self.schema, self.integers, self.sigma)

    @property
    def _moment_scale(self) -> float:
        return self.schema.radius / (self.schema.moment_weight * self.schema.radius_grid_units)
