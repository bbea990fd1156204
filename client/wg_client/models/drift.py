"""Drift tests with a known rate of false alarms: new records against the frozen ones.

*Features.* Each released feature, and its distance from the pooled median (Brown and Forsythe
1974), is standardised over both samples; the statistic is the largest difference of means. Its
distribution without drift comes from permutations of frozen and new records (Westfall and Young
1993, the max-T procedure). This is exact for any distribution and any dependence between features,
and needs no further correction for testing several features.

*Novelty.* A record is new if its likeness is at most ``share``. Without drift the number of new
records among m is beta-binomial: likenesses are conformal p-values that share one calibration
sample (Bates et al. 2023, *Annals of Statistics* 51(1)).

Not guaranteed: anything if records are not independent, such as many records of one part. Drift
that does not change the encoder's features is not detected.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from wg_client.fitting.linear_head import Floats

PERMUTATION_COUNT = 1999  # The smallest p-value is one in 2,000
SAMPLE_RECORDS = 2000  # Most records of each sample that are used, evenly spaced
_TINY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftTestResult:
    """Result of a test of new records' released features for a shift from the frozen ones.

    Attributes:
        p: p-value of the largest difference.
        means: Number of features whose mean changed significantly.
        spreads: Number of features whose spread changed significantly.
        largest: Largest difference, in standard deviations of the feature over both samples.
        compared: Number of records of both samples.
    """

    p: float
    means: int
    spreads: int
    largest: float
    compared: int


def test_for_shift(
    frozen_features: NDArray[np.floating],
    new_features: NDArray[np.floating],
    significance_level: float,
    rng: np.random.Generator,
) -> ShiftTestResult:
    """Test whether two samples of released features come from one distribution.

    Args:
        frozen_features: Released features of the frozen records, ``[n, d]``, n at least 2.
        new_features: Released features of the new records, ``[m, d]``, m at least 2.
        significance_level: Probability, without drift, that any feature is reported as changed.
        rng: Source of the permutations.
    """
    old, late = (
        _sample_evenly(np.asarray(x, dtype=np.float64)) for x in (frozen_features, new_features)
    )
    x = np.concatenate([old, late])
    both = np.concatenate([x, np.abs(x - np.median(x, axis=0))], axis=1)
    spread = both.std(axis=0)
    z = (both - both.mean(axis=0)) / (spread + _TINY)
    m, n = len(late), len(old)
    difference = _mean_differences(z[n:].sum(axis=0), m, n)
    chances = np.zeros((PERMUTATION_COUNT, m + n), dtype=bool)
    for row in chances:
        row[rng.permutation(m + n)[:m]] = True
    largest = _mean_differences(chances.astype(np.float64) @ z, m, n).max(axis=1)
    p = (1 + int((largest >= difference.max() - _TINY).sum())) / (PERMUTATION_COUNT + 1)
    is_shifted = difference > np.quantile(largest, 1 - significance_level, method="higher")
    d = x.shape[1]
    return ShiftTestResult(
        p=p,
        means=int(is_shifted[:d].sum()),
        spreads=int(is_shifted[d:].sum()),
        largest=float(difference.max()),
        compared=m + n,
    )


def _mean_differences(sums: Floats, m: int, n: int) -> Floats:
    """Return the absolute difference between the means of m records and of n others, per feature.

    ``sums`` are over the m records; sums over all records are zero, as features are standardised.
    """
    return np.abs(sums) * (1 / m + 1 / n)


def _sample_evenly(x: Floats) -> Floats:
    rows = np.linspace(0, len(x) - 1, min(len(x), SAMPLE_RECORDS)).round().astype(np.int64)
    return x[rows]


def new_record_p_value(
    new_count: int, record_count: int, largest_new_likeness: float, score_count: int
) -> float:
    """Return the probability, without drift, that at least ``new_count`` records are new.

    Args:
        new_count: Number of records that were found to be new.
        record_count: Number of records that were tested.
        largest_new_likeness: Likeness up to which a record counts as new.
        score_count: Number of scores of the plant's own records that calibrate the likeness.
    """
    least = math.floor(largest_new_likeness * (score_count + 1) + _TINY)
    if least < 1 or not record_count:
        return 1.0
    probability = stats.betabinom.sf(new_count - 1, record_count, least, score_count + 1 - least)
    return float(np.clip(probability, 0, 1))
