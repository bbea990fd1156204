"""Class means of a site and the variance of their noise, from one release of noisy statistics.

Noisy counts say little about a class with few records (at epsilon 1 their standard deviation is
about 40). So the numbers of records per class are inferred by empirical Bayes, from the counts and
from the squared length (energy) of the sum over all records, and the presence of each class is a
posterior probability. A class mean is the public centre of the release plus the mean deviation from
it, so that the centre adds no noise.

The computation is deterministic post-processing, and costs no privacy.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.posterior import SiteEvidence, no_evidence
from wg_core.privacy import class_centres
from wg_core.privacy.noisy_statistics import NoisyStatistics

Floats = NDArray[np.float64]

_TYPICAL_SQUARED_DEVIATION = 0.3
"""Typical squared distance of a class mean from the centre, in squared clip radii of the sums."""
_COUNT_GRID = np.exp(np.linspace(0.0, np.log(3000.0), 60))
"""Grid of candidate numbers of records per class."""
_PRESENT_LOG_ODDS = 2.0  # Prior log odds that a class is present
_COUNT_SPREAD = 0.6  # Relative spread of a site's class counts about their typical value


def site_evidence(statistics: NoisyStatistics, labels: Sequence[str]) -> SiteEvidence:
    """Return a site's class means, their noise, and class counts, inferred from its release.

    Args:
        statistics: The release; its classes may be others, or in another order.
        labels: Names of the classes in the result; a class that is not in the release is absent.
    """
    schema = statistics.schema
    result = no_evidence(len(labels), schema.dimension)
    row_of = {name: row for row, name in enumerate(schema.labels)}
    rows = np.array([row_of.get(name, -1) for name in labels])
    in_release = rows >= 0
    counts, sums = statistics.counts(), statistics.sums()
    typical = _typical_class_count(statistics) if len(schema.labels) else 1.0
    if in_release.any():
        prior = (_COUNT_SPREAD * typical) ** 2
        weight = prior / (prior + statistics.count_std**2)
        n = np.maximum(typical + weight * (counts - typical), 0.1 * typical)
        n = np.maximum(n, 1.0)
        present = _presence_probability(n, typical, statistics)
        n, present, chosen_sums = (
            n[rows[in_release]],
            present[rows[in_release]],
            sums[rows[in_release]],
        )
        result.means[in_release] = statistics.centre() + chosen_sums / n[:, None]
        result.noise_variances[in_release] = (statistics.sum_std / n) ** 2
        result.record_counts[in_release] = n
        result.presence_probabilities[in_release] = present
    same_classes = set(schema.labels) == set(labels)
    domain, noise, total = _overall_mean_noise_and_count(
        statistics, typical * max(len(schema.labels), 1)
    )
    # A mean over a different set of classes does not observe the site's mean.
    return SiteEvidence(
        result.means,
        result.noise_variances,
        result.record_counts,
        result.presence_probabilities,
        domain,
        noise if same_classes or not in_release.any() else np.inf,
        total,
    )


def _typical_class_count(statistics: NoisyStatistics) -> float:
    """Estimate the typical number of records per class, by the posterior mean of its logarithm.

    The number is inferred from the mean count, and from the energy of the sum over all records.
    """
    counts = statistics.counts()
    if statistics.sigma == 0:
        nonzero_counts = counts[counts > 0]
        return float(nonzero_counts.mean()) if len(nonzero_counts) else 1.0
    k, count_std = len(counts), statistics.count_std
    energy, noise, expected, doubt = _total_energy_statistics(statistics)
    spread = noise + (doubt * expected) ** 2
    log_weight = -((energy - expected) ** 2) / (2 * spread) - np.log(spread) / 2
    log_weight -= (counts.mean() - _COUNT_GRID) ** 2 / (
        2 * (count_std**2 / k + (0.2 * _COUNT_GRID) ** 2)
    )
    log_weight -= np.log(count_std**2 / k + (0.2 * _COUNT_GRID) ** 2) / 2
    weight = np.exp(log_weight - log_weight.max())
    return float(np.exp((weight * np.log(_COUNT_GRID)).sum() / weight.sum()))


def _total_energy_statistics(statistics: NoisyStatistics) -> tuple[float, Floats, Floats, float]:
    """Return the energy (squared length) of the sum over all records, and what counts predict.

    Returns:
        Energy minus the expected contribution of the noise; for each number of records per class in
        ``_COUNT_GRID``, the variance of the energy's noise, and the expected energy; and the
        standard deviation between sites of true energies, relative to the expected ones.
    """
    schema, k = statistics.schema, len(statistics.schema.labels)
    total, std, size = statistics.moments(), statistics.moment_std, schema.dimension
    records = k * _COUNT_GRID + _unlabelled_count(statistics)
    expected = (records * float(class_centres.TYPICAL_MEAN_LENGTH) * schema.radius) ** 2
    doubt = 2 * float(class_centres.TYPICAL_LENGTH_VARIANCE) ** 0.5
    noise = 2 * size * std**4 + 4 * std**2 * expected
    return float(np.square(total).sum()) - size * std**2, noise, expected, doubt


def _unlabelled_count(statistics: NoisyStatistics) -> float:
    """Return the number of unlabelled records in a release if it exceeds the noise, else 0."""
    unlabelled_part = statistics.unlabelled_count()
    return unlabelled_part if unlabelled_part > 3 * statistics.count_std else 0.0


def _presence_probability(
    record_counts: Floats, typical_count: float, statistics: NoisyStatistics
) -> Floats:
    """Return the posterior probability that the site has each class, from its count and sum.

    Args:
        record_counts: Inferred number of records of each class.
        typical_count: Typical number of records of a present class.
        statistics: The release.
    """
    counts, sums = statistics.counts(), statistics.sums()
    if statistics.sigma == 0:
        return (counts > 0.5).astype(np.float64)
    d = sums.shape[1]
    var, count_var = statistics.sum_std**2, statistics.count_std**2
    scale = _TYPICAL_SQUARED_DEVIATION * statistics.sum_radius**2 / d
    signal = np.maximum(record_counts, typical_count / 2) ** 2 * scale
    energy = (sums**2).sum(axis=1)
    gain = energy / 2 * (1 / var - 1 / (var + signal)) - d / 2 * np.log1p(signal / var)
    spread = count_var + (_COUNT_SPREAD * typical_count) ** 2
    gain = gain + counts**2 / (2 * count_var) - (counts - typical_count) ** 2 / (2 * spread)
    gain = gain - np.log(spread / count_var) / 2 + _PRESENT_LOG_ODDS
    return np.asarray(1 / (1 + np.exp(-np.clip(gain, -30, 30))))


def _overall_mean_noise_and_count(
    statistics: NoisyStatistics, labelled_count: float
) -> tuple[Floats, float, float]:
    """Return the mean of all records, the variance of its noise per entry, and their number.

    Args:
        statistics: The release.
        labelled_count: Inferred number of labelled records.
    """
    schema = statistics.schema
    unlabelled_part = statistics.unlabelled_count()
    prior = max(labelled_count, 1.0) ** 2
    extra = max(0.0, unlabelled_part) * prior / (prior + statistics.count_std**2)
    n = max(labelled_count + extra if schema.labels else unlabelled_part, 1.0)
    return statistics.moments() / n, (statistics.moment_std / n) ** 2, n
