"""Label-free statistic of a machine's records, with its known noise.

A plant releases the sum of its records' numbers (``wg_common.nets.encoder.reading_map``) and their
count, both with noise for one sensitivity. A generator is conditioned on their ratio, the mean, and
on the standard deviation of the noise on each of its numbers. A mean of fewer than
``MACHINE_RECORDS_MINIMUM`` records is dominated by noise, and is left out.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_core.errors import DecodeError
from wg_core.privacy import mechanism
from wg_core.privacy.schema import (
    DEFAULT_DELTA,
    MACHINE_DIMENSION,
    MACHINE_RECORDS_MINIMUM,
    machine_schema,
)
from wg_core.privacy.statistics import NoisyStatistics

DELTA = float(DEFAULT_DELTA)  # Delta of simulated releases


@dataclass(frozen=True, slots=True, eq=False)
class MachineStatistic:
    """Noisy statistic of a machine's records, with the noise's scale.

    Attributes:
        mean: Noisy mean of the records' numbers, ``[MACHINE_DIMENSION]``.
        noise: Standard deviation of the noise on each entry of the mean; 0: exact.
        records: Number of records, possibly noisy.
    """

    mean: NDArray[np.floating]
    noise: float
    records: float

    def __post_init__(self) -> None:
        good = self.mean.shape == (MACHINE_DIMENSION,) and bool(np.isfinite(self.mean).all())
        if not good or not 0 <= self.noise < math.inf or not 0 < self.records < math.inf:
            raise DecodeError(
                f"machine statistic: mean of shape {self.mean.shape}, noise {self.noise!r},"
                f" {self.records!r} records; expected {MACHINE_DIMENSION} finite numbers, and"
                " positive ones"
            )

    @property
    def has_enough_records(self) -> bool:
        """True if there are enough records to condition on."""
        return self.records >= MACHINE_RECORDS_MINIMUM


def statistic_from_release(statistics: NoisyStatistics) -> MachineStatistic | None:
    """Return the statistic of a release of machine statistics; None if the noisy count is below 1.

    Raises:
        DecodeError: The release has another dimension.
    """
    records = statistics.unlabelled_count()
    if records < 1:
        return None
    mean = statistics.moments() / records
    return MachineStatistic(mean, statistics.moment_std / records, records)


class StatisticBatch(NamedTuple):
    """Statistics of m machines, with noise and presence of each.

    Attributes:
        means: Noisy means, ``[m, MACHINE_DIMENSION]``.
        noises: Standard deviation of the noise on each number, ``[m]``.
        present: 1 for a machine with a statistic, 0 for one without, ``[m]``.
    """

    means: Tensor
    noises: Tensor
    present: Tensor

    def shift_by_one(self) -> "StatisticBatch":
        """Return the batch with each statistic moved to the next machine, as a wrong condition."""
        return StatisticBatch(*(value.roll(1, 0) for value in self))


def absent_statistics(count: int) -> StatisticBatch:
    """Return a batch for ``count`` machines that have no statistic."""
    return StatisticBatch(
        torch.zeros(count, MACHINE_DIMENSION), torch.zeros(count), torch.zeros(count)
    )


def batch_of_one(statistic: MachineStatistic | None) -> StatisticBatch:
    """Return a batch of one machine's statistic, marked as absent for too few records."""
    if statistic is None or not statistic.has_enough_records:
        return absent_statistics(1)
    mean = torch.from_numpy(statistic.mean.astype(np.float32))[None]
    return StatisticBatch(mean, torch.tensor([statistic.noise]), torch.ones(1))


@lru_cache(16)
def release_noise(epsilon: float) -> tuple[float, float]:
    """Return the standard deviations of the noise on a sum of numbers, and on the count.

    An epsilon of 0 means no noise.
    """
    if not epsilon:
        return 0.0, 0.0
    schema = machine_schema("0" * 64, "record")  # The noise does not depend on the encoder
    sigma = mechanism.noise_scale(schema, epsilon, DELTA)
    empty = NoisyStatistics(schema, np.zeros(schema.length, np.int64), sigma)
    return empty.moment_std, empty.count_std


def simulate_releases(
    means: Tensor, records: Tensor, noises: Tensor, generator: torch.Generator
) -> StatisticBatch:
    """Return statistics with the noise of simulated releases.

    Args:
        means: Exact means of the records' numbers, ``[m, MACHINE_DIMENSION]``.
        records: Numbers of records, ``[m]``.
        noises: Standard deviations from ``release_noise``, ``[m, 2]``.
    """
    draws = torch.randn(len(means), MACHINE_DIMENSION + 1, generator=generator)
    sums = records[:, None] * means + noises[:, :1] * draws[:, :-1]
    counts = (records + noises[:, 1] * draws[:, -1]).clamp(min=1)
    return StatisticBatch(sums / counts[:, None], noises[:, 0] / counts, torch.ones(len(means)))
