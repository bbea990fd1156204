"""Are new records like the frozen ones? Tests whose false alarms are known.

*Features.* Each released feature, and its distance from the pooled median (Brown and Forsythe
1974), is standardised over both samples; the statistic is the largest difference of means. Its
distribution without drift comes from permutations of frozen and new records (Westfall and Young
1993, the max-T procedure): exact for any distribution and any dependence between features, and
several features need no further correction.

*Novelty.* A record is called new at a likeness of at most ``share``. How many of m are, if nothing
changed, is beta-binomial: the likeness is a conformal p-value, and all of them share one
calibration sample (Bates et al. 2023, *Annals of Statistics* 51(1)).

Not guaranteed: anything where records are not independent, such as many of one part. Drift that the
encoder does not show is not seen.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from wg_client.fitting.linear_head import Floats

PERMUTATIONS = 1999  # The smallest p-value is one in 2,000
RECORDS = 2000  # Records of each sample that are looked at, evenly drawn
_TINY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Movement of the released features.

    Attributes:
        p: Probability of so large a difference, or a larger one, without drift.
        means: Features whose mean moved by more than chance moves any of them.
        spreads: Features whose spread did.
        largest: Largest difference, in standard deviations of the feature over both samples.
        compared: Records of both samples.
    """

    p: float
    means: int
    spreads: int
    largest: float
    compared: int


def shift(
    frozen: NDArray[np.floating], new: NDArray[np.floating], level: float, rng: np.random.Generator
) -> Shift:
    """Hold two samples against each other.

    Args:
        frozen: Released features ``[n, d]``, n at least 2.
        new: The same of new records, ``[m, d]``, m at least 2.
        level: Chance of any feature to be said to have moved without drift.
    """
    old, late = (_evenly(np.asarray(x, dtype=np.float64)) for x in (frozen, new))
    x = np.concatenate([old, late])
    both = np.concatenate([x, np.abs(x - np.median(x, axis=0))], axis=1)
    spread = both.std(axis=0)
    z = (both - both.mean(axis=0)) / (spread + _TINY)
    m, n = len(late), len(old)
    difference = _difference(z[n:].sum(axis=0), m, n)
    chances = np.zeros((PERMUTATIONS, m + n), dtype=bool)
    for row in chances:
        row[rng.permutation(m + n)[:m]] = True
    largest = _difference(chances.astype(np.float64) @ z, m, n).max(axis=1)
    p = (1 + int((largest >= difference.max() - _TINY).sum())) / (PERMUTATIONS + 1)
    is_shifted = difference > np.quantile(largest, 1 - level, method="higher")
    d = x.shape[1]
    return Shift(
        p=p,
        means=int(is_shifted[:d].sum()),
        spreads=int(is_shifted[d:].sum()),
        largest=float(difference.max()),
        compared=m + n,
    )


def _difference(sums: Floats, m: int, n: int) -> Floats:
    """Difference of means of m records with these sums to n others, of columns that sum to 0."""
    return np.abs(sums) * (1 / m + 1 / n)


def _evenly(x: Floats) -> Floats:
    rows = np.linspace(0, len(x) - 1, min(len(x), RECORDS)).round().astype(np.int64)
    return x[rows]


def too_many_new(count: int, of: int, share: float, calibration: int) -> float:
    """Probability of so many new records, or more, without drift.

    Args:
        share: Likeness at most which a record is called new.
    """
    least = math.floor(share * (calibration + 1) + _TINY)
    if least < 1 or not of:
        return 1.0
    probability = stats.betabinom.sf(count - 1, of, least, calibration + 1 - least)
    return float(np.clip(probability, 0, 1))
