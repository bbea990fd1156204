"""What noisy statistics say about class means, with the noise that is known to be on them.

Noisy counts are worth little when a class has few records (at epsilon 1 their standard deviation
is about 40), so a site's records per class are inferred from counts and from the energy of the
class sums together, and whether a class is there at all is a probability.

Everything is post-processing: free, and deterministic.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wg_common.class_means import SiteEvidence, nothing
from wg_common.privacy.statistics import NoisyStatistics

Floats = NDArray[np.float64]

_NORM_SQUARED = 0.6
"""Typical squared norm of a class mean, in squared clip radii, over the zoo."""
_GRID = np.exp(np.linspace(0.0, np.log(3000.0), 60))
_PRESENT_LOG_ODDS = 2.0
_SPREAD = 0.6
"""Relative spread of a site's class counts about their typical value."""


def site_evidence(statistics: NoisyStatistics, labels: Sequence[str]) -> SiteEvidence:
    """Read a release for the classes asked for, matched by label name.

    Args:
        statistics: One release; its schema may have other labels, in another order.
        labels: Target classes.
    """
    schema = statistics.schema
    classes, d, radius = len(labels), schema.dimension, schema.radius
    result = nothing(classes, d)
    where = {name: row for row, name in enumerate(schema.labels)}
    rows = np.array([where.get(name, -1) for name in labels])
    known = rows >= 0
    counts, sums = statistics.counts(), statistics.sums()
    typical = _typical_count(counts, sums, statistics, radius) if len(schema.labels) else 1.0
    if known.any():
        weight = _shrinkage(typical, statistics.count_std)
        n = np.maximum(typical + weight * (counts - typical), 0.1 * typical)
        n = np.maximum(n, 1.0)
        present = _presence(counts, sums, n, statistics, radius)
        n, present, chosen = n[rows[known]], present[rows[known]], sums[rows[known]]
        result.means[known] = chosen / n[:, None]
        result.noise[known] = (statistics.sum_std / n) ** 2
        result.counts[known] = n
        result.present[known] = present
    same = set(schema.labels) == set(labels)
    domain, noise, total = _domain(statistics, typical * max(len(schema.labels), 1))
    # A mean over other classes than those asked for says nothing of the site's centre.
    return SiteEvidence(
        result.means,
        result.noise,
        result.counts,
        result.present,
        domain,
        noise if same or not known.any() else np.inf,
        total,
    )


def _shrinkage(typical: float, count_std: float) -> float:
    prior = (_SPREAD * typical) ** 2
    return prior / (prior + count_std**2)


def _typical_count(
    counts: Floats, sums: Floats, statistics: NoisyStatistics, radius: float
) -> float:
    """Records of a class, by their posterior mean on a log scale over a grid."""
    if statistics.sigma == 0:
        seen = counts[counts > 0]
        return float(seen.mean()) if len(seen) else 1.0
    k, d = sums.shape
    std, count_std = statistics.sum_std, statistics.count_std
    energy = float((sums**2).sum()) - k * d * std**2
    expected = k * _GRID**2 * _NORM_SQUARED * radius**2
    spread = 2 * k * d * std**4 + 4 * std**2 * expected + (0.6 * expected) ** 2
    log_weight = -((energy - expected) ** 2) / (2 * spread) - np.log(spread) / 2
    log_weight -= (counts.mean() - _GRID) ** 2 / (2 * (count_std**2 / k + (0.2 * _GRID) ** 2))
    log_weight -= np.log(count_std**2 / k + (0.2 * _GRID) ** 2) / 2
    weight = np.exp(log_weight - log_weight.max())
    return float(np.exp((weight * np.log(_GRID)).sum() / weight.sum()))


def _presence(
    counts: Floats, sums: Floats, n: Floats, statistics: NoisyStatistics, radius: float
) -> Floats:
    """Posterior probability that a class has records, from its count and its sum's energy."""
    if statistics.sigma == 0:
        return (counts > 0.5).astype(np.float64)
    d = sums.shape[1]
    var, count_var = statistics.sum_std**2, statistics.count_std**2
    signal = n**2 * _NORM_SQUARED * radius**2 / d
    energy = (sums**2).sum(axis=1)
    gain = energy / 2 * (1 / var - 1 / (var + signal)) - d / 2 * np.log1p(signal / var)
    spread = count_var + (_SPREAD * n) ** 2
    gain = gain + counts**2 / (2 * count_var) - (counts - n) ** 2 / (2 * spread)
    gain = gain - np.log(spread / count_var) / 2 + _PRESENT_LOG_ODDS
    return np.asarray(1 / (1 + np.exp(-np.clip(gain, -30, 30))))


def _domain(statistics: NoisyStatistics, total: float) -> tuple[Floats, float, float]:
    """Mean over all records, its noise variance, and the number of records."""
    schema = statistics.schema
    if schema.moments not in ("mean", "diagonal"):
        return np.zeros(schema.dimension), np.inf, 1.0
    moments, std = statistics.moments(), statistics.moment_std
    first = moments if schema.moments == "mean" else moments[0]
    noise = float(np.asarray(std).ravel()[0])
    unlabelled = statistics.unlabelled()
    prior = max(total, 1.0) ** 2
    extra = max(0.0, unlabelled) * prior / (prior + statistics.count_std**2)
    n = max(total + extra if schema.labels else unlabelled, 1.0)
    return first / n, (noise / n) ** 2, n
