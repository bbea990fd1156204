"""Sums of clipped gradients with exact noise: what private training at a plant rests on.

A step of DP-SGD (Abadi et al., CCS 2016, Algorithm 1) on all records clips each record's
gradient, sums, and adds Gaussian noise. Here the sum is one of integers with OpenDP's discrete
Gaussian on it, as in a release of statistics (``mechanism``). Without subsampling the steps are a
composition of Gaussian mechanisms, each chosen by what came out before, whose ``mu^2`` add up
exactly (Dong, Roth and Su 2022, Corollary 2), so that a ledger can count a training as it counts a
release.

*Guarantee.* All sums of a ``ChargedSteps`` together are mu-GDP for adding or removing one privacy
unit with ``mu^2 = sensitivity^2 / sigma^2`` of its schema, whatever the gradients are, as long as
each row depends on its own record and on earlier results alone, to the last bit. Edge cases: a
number that is not finite counts as zero; a unit of m records counts with the sum of their rows over
m, rounded toward zero; no records give noise alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wg_core import grammar
from wg_core.errors import DataError, DecodeError, InternalError
from wg_core.privacy import exact, mechanism
from wg_core.privacy.mechanism import Sampler, opendp_sampler
from wg_core.privacy.schema import GRADIENTS, Block

VERSION = 1
BITS = 14  # log2 of the number of grid units in the clip radius
CLIP_RADIUS = 1.0  # L2 norm to which a record's gradient is clipped
STEPS = 80  # Chosen on two sets (steel, boards) of 20 and 60 records a class at epsilon 1, 4 and 8

_LENGTH_LIMIT = 1 << 22  # Most weights and biases of a head
_STEPS_LIMIT = 10_000
_NUMBERS = 1 << 23  # Numbers of gradients in memory at a time, about


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientSchema:
    """Layout, grid and privacy unit of the training of one linear head. Everything is public.

    Attributes:
        encoder: SHA-256 of the public encoder package, hex.
        dimension: Number d of features that the head stands on.
        labels: Public label domain, in the order of class rows.
        steps: Number of noisy sums.
        unit_rule: How a privacy unit with several records counts, as in ``StatisticsSchema``.
        bits: log2 of the number S of grid units in one clip radius.
        clip_radius: L2 norm to which a record's gradient is clipped, decimal string.
    """

    version: int = VERSION
    encoder: grammar.Digest
    dimension: int
    labels: tuple[grammar.Name, ...]
    steps: int = STEPS
    unit_rule: Literal["record", "weight"]
    bits: int = BITS
    clip_radius: grammar.Number = str(CLIP_RADIUS)

    def __post_init__(self) -> None:
        grammar.check(self)
        good = (
            (self.version, self.bits, self.clip_radius) == (VERSION, BITS, str(CLIP_RADIUS))
            and 0 < self.steps <= _STEPS_LIMIT
            and self.dimension > 0
            and 0 < len(self.labels) == len(set(self.labels))
            and self.length <= _LENGTH_LIMIT
        )
        if not good:
            raise DecodeError(
                f"gradient schema: version {self.version}, {self.bits} bits, radius"
                f" {self.clip_radius}, {self.steps} steps, dimension {self.dimension},"
                f" {len(self.labels)} labels: out of range, or another program's"
            )

    @property
    def statistics(self) -> Literal["gradients"]:
        """Kind of a charge for it."""
        return GRADIENTS

    @property
    def length(self) -> int:
        """Number K (d + 1) of weights and biases."""
        return len(self.labels) * (self.dimension + 1)

    @property
    def blocks(self) -> tuple[Block]:
        """The one block: all integers of all steps, of weight 1."""
        return (Block("gradients", 0, (self.steps, self.length), 1),)

    def sensitivity_squared(self) -> int:
        """Largest squared L2 change of all steps together, ``steps S^2``, squared grid units."""
        return self.steps << (2 * self.bits)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFeatures:
    """Labelled records of one plant, as a head sees them.

    Attributes:
        features: float32 ``[n, d]`` of a public scale, rows of norm about 1.
        labels: int64 ``[n]``, 0 to K - 1.
        classes: Number K of declared classes.
        units: Privacy unit of each record; None where each record is one.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: int
    units: Sequence[str] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.features.ndim != 2 or len(self.features) != n:
            raise DataError(f"features: shape {self.features.shape}, expected {n} rows")
        if n and not 0 <= self.labels.min() <= self.labels.max() < self.classes:
            raise DataError(f"labels: expected 0 to {self.classes - 1}")
        if self.units is not None and len(self.units) != n:
            raise DataError(f"units: {len(self.units)}, expected {n}")

    def unit_rows(self) -> list[NDArray[np.int64]]:
        """Return the row numbers of each privacy unit, in the order of the data."""
        if self.units is None:
            return list(np.arange(len(self.labels))[:, None])
        return exact.unit_rows(self.units)


Gradients = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""Gradients ``[m, P]`` of records by their row numbers ``[m]``."""
Head = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weight ``[K, d]`` and bias ``[K]``."""
Train = Callable[[LabelledFeatures, "ChargedSteps"], Head]
"""Trains a head, and learns of the records what the steps tell; see ``wg_common.nets``."""


@dataclass(slots=True)
class ChargedSteps:
    """Noisy sums of gradients, as many as one charge pays for.

    Attributes:
        units: Row numbers of each privacy unit; each row is in one.
        sigma: Standard deviation of the noise, grid units.
        remaining: Number of sums that may still be drawn.
        sampler: Noise source; another one than OpenDP's in tests only.
    """

    units: Sequence[NDArray[np.int64]]
    sigma: float
    remaining: int
    sampler: Sampler = opendp_sampler

    def noisy_sum(self, gradients: Gradients, length: int) -> NDArray[np.float64]:
        """Return the sum of all records' clipped gradients with noise, ``[P]``.

        Args:
            gradients: Called for a part of the records at a time.
            length: P.

        Raises:
            InternalError: All that was charged is drawn.
        """
        if self.remaining < 1:
            raise InternalError("gradients: more steps than were charged")
        self.remaining -= 1
        total = np.zeros(length, np.int64)
        for part in self._parts(max(1, _NUMBERS // length)):
            grid_rows = exact.quantise(gradients(np.concatenate(part)), CLIP_RADIUS, BITS)
            sizes = np.array([len(members) for members in part])
            unit_sums = np.add.reduceat(grid_rows, np.cumsum(sizes) - sizes, axis=0)
            total += exact.divide_toward_zero(unit_sums, sizes[:, None]).sum(axis=0)
        noisy = mechanism.release(total, self.sigma, self.sampler)
        return noisy.astype(np.float64) * (CLIP_RADIUS / (1 << BITS))

    def _parts(self, records: int) -> Iterator[list[NDArray[np.int64]]]:
        """Units one after another, of about so many records together."""
        part: list[NDArray[np.int64]] = []
        count = 0
        for members in self.units:
            if part and count + len(members) > records:
                yield part
                part, count = [], 0
            part.append(members)
            count += len(members)
        if part:
            yield part
