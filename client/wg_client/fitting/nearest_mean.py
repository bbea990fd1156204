"""Nearest-mean head of one release of class statistics.

The head is computed from the released numbers alone (post-processing), so it costs nothing beside
the release. Class means are taken about the released centre and all have the same length, because
the noise makes the means of small classes long. The bias is the logarithm of the released count; a
count below its noise counts as the noise, so that a class without records is seldom named.
"""

import numpy as np
from numpy.typing import NDArray

from wg_core.privacy.statistics import NoisyStatistics

TEMPERATURE = 20.0  # Factor on the cosine of features of norm 1


def nearest_mean(statistics: NoisyStatistics) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weight ``[K, d]`` and bias ``[K]`` of a head on released features."""
    sums = statistics.sums()
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    weight = TEMPERATURE * sums / np.maximum(lengths, 1e-12)
    counts = np.maximum(statistics.counts(), statistics.count_std)
    bias = np.log(np.maximum(counts, 1e-12)) - weight @ statistics.centre()
    return weight.astype(np.float32), bias.astype(np.float32)
