"""Noisy sums of clipped gradients, with which a plant trains a head under differential privacy.

A step of DP-SGD (Abadi et al., CCS 2016, Algorithm 1) on all records clips each record's gradient,
sums, and adds Gaussian noise. Here the sum is of integers, with OpenDP's discrete Gaussian noise,
as in a release of statistics (``mechanism``). Without subsampling the steps are an adaptive
composition of Gaussian mechanisms, whose ``mu^2`` add up exactly (Dong, Roth and Su 2022, Corollary
2), so that a ledger can account for a training as it does for a release.

*Guarantee.* All sums of a ``ChargedGradientSums`` together are mu-GDP for adding or removing one
privacy unit with ``mu^2 = sensitivity^2 / sigma^2`` of its schema, whatever the gradients are, as
long as each row depends only on its own record and on earlier results, to the last bit. Edge cases:
a non-finite number counts as zero; a unit of m records counts with the sum of its rows divided by
m, rounded toward zero; without records the result is noise alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wg_core import text_grammars
from wg_core.errors import DataError, DecodeError, InternalError
from wg_core.privacy import exact_statistics, mechanism
from wg_core.privacy.mechanism import Sampler, add_opendp_noise
from wg_core.privacy.schema import CLIP_RADIUS, GRADIENTS, GRID_BITS, Block

VERSION = 1
DEFAULT_STEPS = 80  # Chosen on two data sets, 20 and 60 records a class, epsilon 1, 4 and 8

_HEAD_PARAMETERS_LIMIT = 1 << 22  # Most weights and biases of a head
_STEPS_LIMIT = 10_000
_GRADIENT_ENTRIES_AT_ONCE = 1 << 23  # Approximate number of gradient entries in memory at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSchema:
    """Layout, grid and privacy unit of the gradients that train one head. All fields are public.

    Attributes:
        encoder: SHA-256 of the public encoder package, hex.
        dimension: Number d of input features of the head.
        labels: Public label domain, in the order of class rows.
        steps: Number of training steps, each with one noisy sum of gradients.
        unit_rule: Rule for a privacy unit with several records: ``record`` (each record is a
            unit), or ``weight`` (each of the unit's m records has weight 1/m).
        bits: log2 of the number S of grid units in one clip radius.
        clip_radius: L2 norm to which a record's gradient is clipped, decimal string.
    """

    version: int = VERSION
    encoder: text_grammars.Digest
    dimension: int
    labels: tuple[text_grammars.Name, ...]
    steps: int = DEFAULT_STEPS
    unit_rule: Literal["record", "weight"]
    bits: int = GRID_BITS
    clip_radius: text_grammars.Number = str(CLIP_RADIUS)

    def __post_init__(self) -> None:
        text_grammars.check_text_fields(self)
        good = (
            (self.version, self.bits, self.clip_radius) == (VERSION, GRID_BITS, str(CLIP_RADIUS))
            and 0 < self.steps <= _STEPS_LIMIT
            and self.dimension > 0
            and 0 < len(self.labels) == len(set(self.labels))
            and self.parameter_count <= _HEAD_PARAMETERS_LIMIT
        )
        if not good:
            raise DecodeError(
                f"gradient schema: version {self.version}, {self.bits} bits, radius"
                f" {self.clip_radius}, {self.steps} steps, dimension {self.dimension},"
                f" {len(self.labels)} labels: out of range, or another program's"
            )

    @property
    def release_kind(self) -> Literal["gradients"]:
        """Kind of release that the charge for this training states: always ``gradients``."""
        return GRADIENTS

    @property
    def parameter_count(self) -> int:
        """Number of weights and biases of the head: labels times (input features + 1)."""
        return len(self.labels) * (self.dimension + 1)

    @property
    def blocks(self) -> tuple[Block]:
        """Single block of the release: all integers of all steps, with weight 1."""
        return (Block("gradients", 0, (self.steps, self.parameter_count), 1),)

    def sensitivity_squared(self) -> int:
        """Return the squared L2 sensitivity of all steps together, squared grid units."""
        return self.steps << (2 * self.bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFeatures:
    """Labelled records of one plant, as inputs of a head.

    Attributes:
        features: float32 ``[n, d]`` on a public scale, rows of norm about 1.
        labels: int64 ``[n]``, 0 to K - 1.
        class_count: Number K of declared classes.
        privacy_units: Privacy unit of each record; None: each record is its own unit.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_count: int
    privacy_units: Sequence[str] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.features.ndim != 2 or len(self.features) != n:
            raise DataError(f"features: shape {self.features.shape}, expected {n} rows")
        if n and not 0 <= self.labels.min() <= self.labels.max() < self.class_count:
            raise DataError(f"labels: expected 0 to {self.class_count - 1}")
        if self.privacy_units is not None and len(self.privacy_units) != n:
            raise DataError(f"units: {len(self.privacy_units)}, expected {n}")

    def rows_by_unit(self) -> list[NDArray[np.int64]]:
        """Return one array of row numbers for each privacy unit, in order of first occurrence."""
        if self.privacy_units is None:
            return list(np.arange(len(self.labels))[:, None])
        return exact_statistics.rows_by_unit(self.privacy_units)


GradientFunction = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Function from row numbers ``[m]`` to the gradients ``[m, P]`` of these records."""
HeadArrays = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weight ``[K, d]`` and bias ``[K]`` of a linear head, float32."""
TrainHead = Callable[[LabelledFeatures, "ChargedGradientSums"], HeadArrays]
"""Function that trains a head, to which records contribute only through the noisy sums."""


@dataclass(slots=True)
class ChargedGradientSums:
    """Noisy sums of gradients, limited to the number that one charge pays for.

    Attributes:
        unit_rows: Row numbers of each privacy unit; each row belongs to one unit.
        sigma: Standard deviation of the noise, grid units.
        remaining_sums: Number of sums that may still be drawn.
        sampler: Function that adds the noise; replaced only in tests.
    """

    unit_rows: Sequence[NDArray[np.int64]]
    sigma: float
    remaining_sums: int
    sampler: Sampler = add_opendp_noise

    def noisy_sum(self, gradients: GradientFunction, gradient_length: int) -> NDArray[np.float64]:
        """Return the sum of all records' clipped gradients with noise, ``[P]``.

        Args:
            gradients: Function from the row numbers ``[m]`` of a part of the records to their
                gradients ``[m, P]``.
            gradient_length: Number P of gradient entries per record.

        Raises:
            InternalError: All charged sums have been drawn.
        """
        if self.remaining_sums < 1:
            raise InternalError("gradients: more steps than were charged")
        self.remaining_sums -= 1
        total = np.zeros(gradient_length, np.int64)
        for part in self._unit_groups(max(1, _GRADIENT_ENTRIES_AT_ONCE // gradient_length)):
            grid_rows = exact_statistics.quantise(
                gradients(np.concatenate(part)), CLIP_RADIUS, GRID_BITS
            )
            sizes = np.array([len(members) for members in part])
            unit_sums = np.add.reduceat(grid_rows, np.cumsum(sizes) - sizes, axis=0)
            total += exact_statistics.divide_toward_zero(unit_sums, sizes[:, None]).sum(axis=0)
        noisy = mechanism.add_noise(total, self.sigma, self.sampler)
        return noisy.astype(np.float64) * (CLIP_RADIUS / (1 << GRID_BITS))

    def _unit_groups(self, records_per_group: int) -> Iterator[list[NDArray[np.int64]]]:
        """Yield groups of whole privacy units, if possible of at most ``records_per_group``."""
        part: list[NDArray[np.int64]] = []
        count = 0
        for members in self.unit_rows:
            if part and count + len(members) > records_per_group:
                yield part
                part, count = [], 0
            part.append(members)
            count += len(members)
        if part:
            yield part
