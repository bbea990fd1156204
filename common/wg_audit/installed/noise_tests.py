"""Statistical tests of the noise (released minus exact integers) against the charged noise scale.

The null hypothesis of each test is independent normal noise; a discrete Gaussian with a sigma of
thousands of grid units matches it far beyond the p-values used here. A correct program fails any of
these checks with probability at most ``FALSE_ALARM_PROBABILITY``, which is divided by the number of
checks, and within each check by the number of its p-values (Bonferroni).
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wg_audit.installed.audited_plant import CheckResult, Floats, Integers
from wg_common.language import template, text

FALSE_ALARM_PROBABILITY = 1e-5
MODULI = (2, 3, 4, 5, 7, 8, 10, 11, 13, 16, 64, 100, 1000)
TAIL_WIDTHS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
_MIN_DIVISOR_ENTRIES = 48  # Differences of so many entries have a common divisor once in 10^14
_PRODUCTS_MINIMUM = 1000
"""Number of products above which their sum is nearly normal: at 7 sigma, p is half the normal p."""
_COMPARED_ENTRIES = 64  # First entries of a block that are compared between all releases
_CELL_ENTRIES_MINIMUM = 200  # Fewest expected entries per cell for the chi-squared approximation

PValues = Iterator[tuple[float, int]]
"""Pairs (smallest of several p-values, their number); number 0: a false alarm is impossible."""


@dataclass(frozen=True, slots=True, eq=False)
class ReleaseNoise:
    """Noise of one release of L integers: released minus exact integers of the reference.

    Attributes:
        sigma: Stated standard deviation of the noise, grid units.
        blocks: Positions of each block in the arrays, by name.
        noise_integers: Noise, int64 ``[L]``, grid units.
        released_integers: Released integers, int64 ``[L]``, grid units.
    """

    sigma: float
    blocks: Mapping[str, slice]
    noise_integers: Integers
    released_integers: Integers

    @property
    def standardised_values(self) -> Floats:
        """Noise of the release in standard deviations, ``[L]``."""
        return self.noise_integers / self.sigma


class NoisePool:
    """Noise of all releases in an audit, divided by its stated standard deviation.

    Args:
        groups: Noise of the releases by layout, which is (number of classes, number of features).
    """

    def __init__(self, groups: Mapping[tuple[int, int], Sequence[ReleaseNoise]]) -> None:
        self.releases = [release for group in groups.values() for release in group]
        self.rows_by_shape = {
            shape: np.stack([release.standardised_values for release in group])
            for shape, group in groups.items()
        }
        self.block_noises = [
            release.standardised_values[part]
            for release in self.releases
            for part in release.blocks.values()
        ]
        self.all_noise = np.concatenate([row.ravel() for row in self.rows_by_shape.values()])


def noise_checks(groups: Mapping[tuple[int, int], Sequence[ReleaseNoise]]) -> list[CheckResult]:
    """Return a check result for each property of the noise.

    ``groups`` has the noise of the releases by (number of classes, number of features).
    """
    pool = NoisePool(groups)
    return [
        _check_result(
            name, list(statistics(pool)), FALSE_ALARM_PROBABILITY / len(TESTS_BY_PROPERTY)
        )
        for name, statistics in TESTS_BY_PROPERTY.items()
    ]


def detectable_shrinkage(entry_count: int) -> float:
    """Return the smallest relative decrease of sigma that is detected with 99 % probability.

    Args:
        entry_count: Number of noisy integers in all releases.
    """
    power = 0.99
    from scipy.special import ndtri

    error = math.sqrt(2 / entry_count)  # of the mean square
    return 1 - math.sqrt(
        max(0.0, 1 - float(ndtri(1 - FALSE_ALARM_PROBABILITY / 1e5) + ndtri(power)) * error)
    )


def _check_result(
    name: str, p_values: Sequence[tuple[float, int]], alarm_probability: float
) -> CheckResult:
    count = sum(number for _, number in p_values)
    least = float(np.min([value for value, _ in p_values] or math.nan)) * count
    return CheckResult(
        name=name,
        passed=least >= alarm_probability,  # False for a NaN, and without statistics
        detail=text("{count} statistics, p {p}", count=count, p=f"{min(least, 1):.2g}"),
    )


def _test_widths(pool: NoisePool) -> PValues:
    """Test sums of squares of the noise by entry, block, layout and class count, and in total."""
    by_classes: defaultdict[int, list[Floats]] = defaultdict(list)
    for (classes, _), row in pool.rows_by_shape.items():
        by_classes[classes].append(row.ravel())
        yield _chi_squared_p_value((row**2).sum(axis=0), len(row))
    wholes = [row.ravel() for row in pool.rows_by_shape.values()]
    wholes += [np.concatenate(rows) for rows in by_classes.values()]
    for values in (*pool.block_noises, *wholes, pool.all_noise):
        yield _chi_squared_p_value(values @ values, values.size)


def _test_sums(pool: NoisePool) -> PValues:
    """Test mean and variance of the noise summed over blocks and over whole releases."""
    sums = [part.sum() / math.sqrt(part.size) for part in pool.block_noises]
    yield _normal_p_value(np.array(sums))
    yield _normal_p_value(pool.all_noise.sum() / math.sqrt(pool.all_noise.size))
    for row in pool.rows_by_shape.values():
        release_sums = row.sum(axis=1) / math.sqrt(row.shape[1])
        yield _chi_squared_p_value(release_sums @ release_sums, len(row))
    names = [name for release in pool.releases for name in release.blocks]
    for name in set(names):
        block = np.array([x for x, of_name in zip(sums, names, strict=True) if of_name == name])
        yield _chi_squared_p_value(block @ block, block.size)


def _test_between_releases(pool: NoisePool) -> PValues:
    """Test inner products of the noise of two releases; given one of them, they are normal."""
    for row in pool.rows_by_shape.values():
        products = row @ row.T / _noise_lengths(row)
        yield _normal_p_value(products[np.tril_indices(len(row), -1)])
    for name in ("counts", "sums"):  # the first block of each part, whatever its layout
        beginnings = [
            release.standardised_values[release.blocks[name]][:_COMPARED_ENTRIES]
            for release in pool.releases
            if name in release.blocks
        ]
        rows = np.zeros((len(beginnings), _COMPARED_ENTRIES))
        for place, beginning in enumerate(beginnings):
            rows[place, : len(beginning)] = beginning
        lengths = np.sqrt(rows**2 @ (rows != 0).T)
        z = rows @ rows.T / np.where(lengths > 0, lengths, 1.0)
        yield _normal_p_value(z[np.tril_indices(len(rows), -1)])


def _test_between_entries(pool: NoisePool) -> PValues:
    """Test for repeated values, and for correlation between entries of one or two releases."""
    yield _repeats_p_value(pool.releases), 1
    for row in pool.rows_by_shape.values():
        length = row.shape[1]
        spectra = np.fft.rfft(row)
        if row.size >= _PRODUCTS_MINIMUM and length > 2:
            lags = np.fft.irfft((np.abs(spectra) ** 2).sum(axis=0), length)
            yield _normal_p_value(lags[1 : (length + 1) // 2] / math.sqrt(row.size))
        for place, size in enumerate(_noise_lengths(row)[:-1]):
            correlations = np.fft.irfft(spectra[place].conj() * spectra[place + 1 :], length)
            yield _normal_p_value(correlations[:, 1:] / size)


def _test_distribution(pool: NoisePool) -> PValues:
    """Test the distribution of all noise (Kolmogorov-Smirnov), and the numbers in its tails."""
    yield _kolmogorov_p_value(pool.all_noise), 1
    for width in TAIL_WIDTHS:
        yield _tails_p_value(pool.all_noise, width), 1


def _test_dependence(pool: NoisePool) -> PValues:
    """Test whether the noise depends on the sign or the size of the exact values."""
    every_noise, every_size = [], []
    for release in pool.releases:
        noise, exact_values = (
            release.standardised_values,
            (release.released_integers - release.noise_integers).astype(np.float64),
        )
        for name, part in release.blocks.items():
            if (length := float(np.linalg.norm(exact_values[part]))) > 0:
                yield _normal_p_value(noise[part] @ exact_values[part] / length)
            if name != "counts":
                every_noise.append(noise[part])
                every_size.append(exact_values[part] / release.sigma)
    noise, exact_values = np.concatenate(every_noise), np.concatenate(every_size)
    sizes = np.abs(exact_values)
    edges = np.quantile(sizes[sizes > 0], np.linspace(0, 1, 9)) if sizes.any() else np.zeros(1)
    groups = [exact_values == 0, exact_values > 0, exact_values < 0]
    groups += [(sizes > low) & (sizes <= high) for low, high in itertools.pairwise(edges)]
    for values in (noise[group] for group in groups if group.any()):
        yield _chi_squared_p_value(values @ values, values.size)
        yield _normal_p_value(values.sum() / math.sqrt(values.size))


def _test_residues(pool: NoisePool) -> PValues:
    """Test remainders of noise and released integers, and common divisors of noise differences."""
    for release in pool.releases:
        if release.noise_integers.size >= _MIN_DIVISOR_ENTRIES:
            steps = release.noise_integers - release.noise_integers[0]
            yield float(np.gcd.reduce(steps) == 1), 0  # certain
    by_block: defaultdict[str, list[ReleaseNoise]] = defaultdict(list)
    for release in pool.releases:
        for name in release.blocks:
            by_block[name].append(release)
    for values in (
        np.concatenate([release.noise_integers for release in pool.releases]),
        np.concatenate([release.released_integers for release in pool.releases]),
        *(
            np.concatenate([release.noise_integers[release.blocks[name]] for release in releases])
            for name, releases in by_block.items()
        ),
    ):
        for modulus in MODULI:
            if values.size >= _CELL_ENTRIES_MINIMUM * modulus:
                counts = np.bincount(values % modulus, minlength=modulus)
                expected = values.size / modulus
                yield _upper_chi_squared_p_value(
                    ((counts - expected) ** 2).sum() / expected, modulus - 1
                )


TESTS_BY_PROPERTY: dict[str, Callable[[NoisePool], PValues]] = {
    template("the noise is as wide as charged, in each block and each entry"): _test_widths,
    template("sums of noise are as wide as charged, and have no mean"): _test_sums,
    template("no two releases share noise"): _test_between_releases,
    template("no two entries share noise"): _test_between_entries,
    template("the noise does not depend on what it hides"): _test_dependence,
    template("the noise is normal"): _test_distribution,
    template("no remainder of the noise is more frequent than others"): _test_residues,
}
"""Test of each property of the noise, by the property as text for the report."""


def _noise_lengths(rows: Floats) -> Floats:
    """Return the L2 norm of each row (the noise of a release), or 1 for a zero row."""
    lengths = np.linalg.norm(rows, axis=1)
    return np.where(lengths > 0, lengths, 1.0)


def _normal_p_value(z: Floats) -> tuple[float, int]:
    """Return the smallest two-sided p-value of standard normal values, and their number."""
    return math.erfc(float(np.max(np.abs(z), initial=0)) / math.sqrt(2)), int(np.size(z))


def _chi_squared_p_value(sums_of_squares: Floats, degrees_of_freedom: int) -> tuple[float, int]:
    """Return the smallest two-sided p-value of the sums of squares, and the number of sums."""
    from scipy.special import chdtr, chdtrc

    sides = (
        chdtr(degrees_of_freedom, np.min(sums_of_squares)),
        chdtrc(degrees_of_freedom, np.max(sums_of_squares)),
    )
    return float(np.minimum(1.0, 2 * np.minimum(*sides))), int(
        np.size(sums_of_squares)
    )  # a NaN stays one


def _upper_chi_squared_p_value(value: float, degrees_of_freedom: int) -> tuple[float, int]:
    from scipy.special import chdtrc

    return float(chdtrc(degrees_of_freedom, value)), 1


def _repeats_p_value(releases: Sequence[ReleaseNoise]) -> float:
    """Return the p-value of the number of equal noise magnitudes within releases (Poisson)."""
    from scipy.special import pdtrc

    expected, number = 0.0, 0
    for release in releases:
        values = np.abs(release.noise_integers)
        pairs = values.size * (values.size - 1) / 2
        expected += pairs / (math.sqrt(math.pi) * release.sigma)
        number += values.size - len(np.unique(values))
    return 1.0 if not number else float(pdtrc(number - 1, expected))


def _tails_p_value(values: Floats, width: float) -> float:
    """Return the p-value of the number of values beyond ``width`` deviations (binomial)."""
    from scipy.special import bdtr, bdtrc, ndtr

    number, rate = int((np.abs(values) > width).sum()), 2 * float(ndtr(-width))
    probability = float(bdtrc(number - 1, values.size, rate)) if number else 1.0
    return min(1.0, 2 * min(probability, float(bdtr(number, values.size, rate))))


def _kolmogorov_p_value(values: Floats) -> float:
    from scipy.special import kolmogorov, ndtr

    quantiles = ndtr(np.sort(values))
    places = np.arange(len(values) + 1) / len(values)
    distance = max(float((places[1:] - quantiles).max()), float((quantiles - places[:-1]).max()))
    return float(kolmogorov(math.sqrt(len(values)) * distance))
