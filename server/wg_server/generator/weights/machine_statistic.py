"""The label-free statistic of a machine's records, and the noise that it is known to have.

A plant releases the sum of its records' numbers (``wg_common.nets.encoder.reading_map``) and their
count, both with noise of one sensitivity. What conditions a generator is their ratio, the mean, and
the standard deviation of the noise on each of its numbers. Below ``MACHINE_RECORDS`` the mean says
less of the machine than of the noise, and is left out.
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
from wg_core.privacy.schema import MACHINE_DIMENSION, MACHINE_RECORDS, machine_schema
from wg_core.privacy.statistics import NoisyStatistics

DELTA = 1e-5  # Of simulated releases


@dataclass(frozen=True, slots=True, eq=False)
class MachineStatistic:
    """Statistic of a machine's records.

    Attributes:
        mean: Noisy mean of the records' numbers, ``[MACHINE_DIMENSION]``.
        noise: Standard deviation of the noise on each of them; 0: exact.
        records: Number of records, which may have noise.
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
    def suffices(self) -> bool:
        """Tell whether there are records enough to condition on."""
        return self.records >= MACHINE_RECORDS


def of_release(statistics: NoisyStatistics) -> MachineStatistic | None:
    """Read the statistic of a release of machine statistics; None where no records are left of it.

    Raises:
        DecodeError: The release is of another dimension.
    """
    records = statistics.unlabelled_count()
    if records < 1:
        return None
    mean = statistics.moments() / records
    return MachineStatistic(mean, statistics.moment_std / records, records)


class Statistics(NamedTuple):
    """Statistics of m machines.

    Attributes:
        means: ``[m, MACHINE_DIMENSION]``.
        noises: Standard deviation of the noise on each number, ``[m]``.
        present: 1 where a machine has a statistic, 0 where it has none, ``[m]``.
    """

    means: Tensor
    noises: Tensor
    present: Tensor

    def roll(self) -> "Statistics":
        """The statistics, each given to the next machine."""
        return Statistics(*(value.roll(1, 0) for value in self))


def no_statistics(count: int) -> Statistics:
    """Statistics of so many machines of which nothing is known."""
    return Statistics(torch.zeros(count, MACHINE_DIMENSION), torch.zeros(count), torch.zeros(count))


def statistics_of(statistic: MachineStatistic | None) -> Statistics:
    """The statistic of one machine, left out where it does not suffice."""
    if statistic is None or not statistic.suffices:
        return no_statistics(1)
    mean = torch.from_numpy(statistic.mean.astype(np.float32))[None]
    return Statistics(mean, torch.tensor([statistic.noise]), torch.ones(1))


@lru_cache(16)
def release_noise(epsilon: float) -> tuple[float, float]:
    """Standard deviations of the noise on a sum of numbers, and on the count; 0: none is added."""
    if not epsilon:
        return 0.0, 0.0
    schema = machine_schema("0" * 64, "record")  # Noise is the same for every encoder
    sigma = mechanism.sigma_for(schema, epsilon, DELTA)
    empty = NoisyStatistics(schema, np.zeros(schema.length, np.int64), sigma)
    return empty.moment_std, empty.count_std


def noisy(means: Tensor, records: Tensor, noises: Tensor, generator: torch.Generator) -> Statistics:
    """Statistics as releases give them.

    Args:
        means: Exact means of the records' numbers, ``[m, MACHINE_DIMENSION]``.
        records: Numbers of records, ``[m]``.
        noises: Standard deviations as of ``release_noise``, ``[m, 2]``.
    """
    draws = torch.randn(len(means), MACHINE_DIMENSION + 1, generator=generator)
    sums = records[:, None] * means + noises[:, :1] * draws[:, :-1]
    counts = (records + noises[:, 1] * draws[:, -1]).clamp(min=1)
    return Statistics(sums / counts[:, None], noises[:, 0] / counts, torch.ones(len(means)))
