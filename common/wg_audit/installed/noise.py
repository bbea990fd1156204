"""Is what releases have beyond the reference the noise that was charged? As p-values.

Each statistic's distribution is known where the noise is normal and independent, as a discrete
Gaussian of thousands of grid units is to far beyond these p-values. ``ALARM`` bounds the
probability that a correct program fails any of these checks: it is divided by the number of checks,
and within each by the number of its p-values (Bonferroni).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wg_audit.installed.plant import Check, Floats, Integers
from wg_core.language import template, text

ALARM = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What a release has beyond the reference.

    Attributes:
        sigma: Standard deviation that it states, grid units.
        blocks: Where each block lies.
        integers: int64 ``[L]``, grid units.
    """

    sigma: float
    blocks: Mapping[str, slice]
    integers: Integers

    @property
    def scaled(self) -> Floats:
        """In standard deviations, ``[L]``."""
        return self.integers / self.sigma


def checks(groups: Sequence[Sequence[Noise]]) -> list[Check]:
    """Check the noise of groups of releases; those of one group have one layout."""
    releases = [release for group in groups for release in group]
    parts = [release.scaled[part] for release in releases for part in release.blocks.values()]
    rows = [np.stack([release.scaled for release in group]) for group in groups]
    everything = np.concatenate([row.ravel() for row in rows])
    energies = [
        *((_energy(part), part.size) for part in (*parts, everything)),
        *((float(x), len(row)) for row in rows for x in (row**2).sum(axis=0)),
    ]
    sums = [float(part.sum()) / math.sqrt(part.size) for part in (*parts, everything)]
    shared = [
        float(a @ b) / math.sqrt(_energy(a) or 1.0)  # normal, whatever `a` is
        for row in rows
        for a, b in itertools.combinations(row, 2)
    ]
    families = {
        template("the noise is as wide as charged, in each block and each entry"): [
            _chi_squared(value, freedom) for value, freedom in energies
        ],
        template("the noise has no mean"): [_normal(value) for value in sums],
        template("no two releases share noise"): [_normal(value) for value in shared],
        template("no two entries share noise"): [_repeats(releases)],
        template("the noise is normal"): [
            _kolmogorov(everything),
            *(_beyond(everything, width) for width in (1.0, 2.0, 3.0)),
        ],
    }
    return [_check(name, values, ALARM / len(families)) for name, values in families.items()]


def visible(entries: int, *, power: float = 0.99) -> float:
    """Share by which noise on so many entries must be too narrow to be seen 99 times in 100."""
    from scipy.special import ndtri

    error = math.sqrt(2 / entries)  # of the mean square
    return 1 - math.sqrt(max(0.0, 1 - float(ndtri(1 - ALARM / 1e5) + ndtri(power)) * error))


def _check(name: str, values: Sequence[float], alarm: float) -> Check:
    least = float(np.min(values)) * len(values)
    return Check(
        name=name,
        passed=least >= alarm,  # false for a NaN
        detail=text("{count} statistics, p {p}", count=len(values), p=f"{min(least, 1):.2g}"),
    )


def _energy(values: Floats) -> float:
    return float(values @ values)


def _normal(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))


def _chi_squared(value: float, freedom: int) -> float:
    from scipy.special import chdtr, chdtrc

    return float(2 * min(chdtr(freedom, value), chdtrc(freedom, value)))


def _repeats(releases: Sequence[Noise]) -> float:
    """Of how often two entries of a release have the same noise, up to the sign (Poisson)."""
    from scipy.special import pdtrc

    expected, number = 0.0, 0
    for release in releases:
        values = np.abs(release.integers)
        pairs = values.size * (values.size - 1) / 2
        expected += pairs / (math.sqrt(math.pi) * release.sigma)
        number += values.size - len(np.unique(values))
    return 1.0 if not number else float(pdtrc(number - 1, expected))


def _beyond(values: Floats, width: float) -> float:
    """Of how many entries are beyond so many standard deviations (binomial)."""
    from scipy.special import bdtr, bdtrc, ndtr

    number, rate = int((np.abs(values) > width).sum()), 2 * float(ndtr(-width))
    probability = float(bdtrc(number - 1, values.size, rate)) if number else 1.0
    return min(1.0, 2 * min(probability, float(bdtr(number, values.size, rate))))


def _kolmogorov(values: Floats) -> float:
    from scipy.special import kolmogorov, ndtr

    ordered = ndtr(np.sort(values))
    places = np.arange(len(values) + 1) / len(values)
    distance = max(float((places[1:] - ordered).max()), float((ordered - places[:-1]).max()))
    return float(kolmogorov(math.sqrt(len(values)) * distance))
