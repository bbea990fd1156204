"""Statistic of a machine's records without labels, and the known scale of its noise.

A plant releases the sum of its records' machine features (the numbers of
``wg_common.nets.encoder.reading_map``) and their count, with noise for their joint sensitivity. A
generator is conditioned on their ratio (the mean), and on the standard deviation of the noise on
each entry of the mean. A mean of fewer than ``MACHINE_RECORDS_MINIMUM`` records is dominated by
noise, and is not used.
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
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import (
    DEFAULT_DELTA,
    MACHINE_DIMENSION,
    MACHINE_RECORDS_MINIMUM,
    machine_schema,
)

RELEASE_DELTA = float(DEFAULT_DELTA)  # Delta of simulated releases


@dataclass(frozen=True, slots=True, eq=False)
class MachineStatistic:
    """Noisy mean of the machine features of a machine's records.

    Attributes:
        mean: Noisy mean of the records' machine features, ``[MACHINE_DIMENSION]``.
        noise_deviation: Standard deviation of the noise on each entry of the mean; 0: no noise.
        record_count: Number of records, possibly noisy.
    """

    mean: NDArray[np.floating]
    noise_deviation: float
    record_count: float

    def __post_init__(self) -> None:
        good = self.mean.shape == (MACHINE_DIMENSION,) and bool(np.isfinite(self.mean).all())
        if (
            not good
            or not 0 <= self.noise_deviation < math.inf
            or not 0 < self.record_count < math.inf
        ):
            raise DecodeError(
                f"machine statistic: mean of shape {self.mean.shape}, noise"
                f" {self.noise_deviation!r}, {self.record_count!r} records; expected"
                f" {MACHINE_DIMENSION} finite numbers, and positive ones"
            )

    @property
    def has_enough_records(self) -> bool:
        """True if the mean is of enough records to condition a generator on it."""
        return self.record_count >= MACHINE_RECORDS_MINIMUM


def statistic_from_release(statistics: NoisyStatistics) -> MachineStatistic | None:
    """Return the statistic in a release without labels; None if its noisy count is below 1.

    Raises:
        DecodeError: The release has another dimension.
    """
    records = statistics.unlabelled_count()
    if records < 1:
        return None
    mean = statistics.moments() / records
    return MachineStatistic(mean, statistics.moment_std / records, records)


class StatisticBatch(NamedTuple):
    """Statistics of m machines, of which some may be absent.

    Attributes:
        means: Noisy means of machine features, ``[m, MACHINE_DIMENSION]``.
        noise_deviations: Standard deviation of the noise on each entry of a mean, ``[m]``.
        presence_mask: 1 for a machine with a statistic, 0 for one without, ``[m]``.
    """

    means: Tensor
    noise_deviations: Tensor
    presence_mask: Tensor

    def shift_to_next_machine(self) -> "StatisticBatch":
        """Move each statistic to the next machine, which then has a wrong condition."""
        return StatisticBatch(*(value.roll(1, 0) for value in self))


def absent_statistics(count: int) -> StatisticBatch:
    """Return a batch for ``count`` machines that have no statistic."""
    return StatisticBatch(
        torch.zeros(count, MACHINE_DIMENSION), torch.zeros(count), torch.zeros(count)
    )


def batch_of_one(statistic: MachineStatistic | None) -> StatisticBatch:
    """Return a batch of one machine; its statistic is absent if None or of too few records."""
    if statistic is None or not statistic.has_enough_records:
        return absent_statistics(1)
    mean = torch.from_numpy(statistic.mean.astype(np.float32))[None]
    return StatisticBatch(mean, torch.tensor([statistic.noise_deviation]), torch.ones(1))


@lru_cache(16)
def sum_and_count_noise_deviations(epsilon: float) -> tuple[float, float]:
    """Return the standard deviations of a release's noise on a sum of features, and on the count.

    Both are 0 if epsilon is 0, which means no noise.
    """
    if not epsilon:
        return 0.0, 0.0
    schema = machine_schema("0" * 64, "record")  # The noise does not depend on the encoder
    sigma = mechanism.noise_scale(schema, epsilon, RELEASE_DELTA)
    empty = NoisyStatistics(schema, np.zeros(schema.vector_length, np.int64), sigma)
    return empty.moment_std, empty.count_std


def simulate_releases(
    means: Tensor, record_counts: Tensor, noise_deviations: Tensor, generator: torch.Generator
) -> StatisticBatch:
    """Return statistics with the noise of simulated releases; they are *not private*.

    Args:
        means: Exact means of the records' machine features, ``[m, MACHINE_DIMENSION]``.
        record_counts: Numbers of records, ``[m]``.
        noise_deviations: Standard deviations of the noise on sum and count, ``[m, 2]``.
    """
    draws = torch.randn(len(means), MACHINE_DIMENSION + 1, generator=generator)
    sums = record_counts[:, None] * means + noise_deviations[:, :1] * draws[:, :-1]
    counts = (record_counts + noise_deviations[:, 1] * draws[:, -1]).clamp(min=1)
    return StatisticBatch(
        sums / counts[:, None], noise_deviations[:, 0] / counts, torch.ones(len(means))
    )
