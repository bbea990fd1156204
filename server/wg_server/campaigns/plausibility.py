"""Whether a release can be what it says it is: bounds that hold for every honest one.

A release states its layout, its clip radius and its noise, and that is enough to bound it. With n
the records of a class, u any record's part of its sum (``|u| <= radius``) and Z noise of standard
deviation sigma on each of d entries, released is ``V = weight * sum(u) + Z``, so that::

    |V|^2 <= B^2 + 2 B sigma sqrt(2 x) + sigma^2 (d + 2 sqrt(d x) + 2 x),   B = weight * radius * n

but for a probability of ``2 exp(-x)``: discrete Gaussian noise is subgaussian (Canonne, Kamath and
Steinke 2020, Corollary 17), the middle term is a projection of it, and the last is the tail of its
squared length (Hsu, Kakade and Zhang 2012, Theorem 2.1). n is bounded from the released counts in
the same way. In a centred release all holds about every centre that the first part may give, since
noise of the second part is independent of it.

*Guarantee.* An honest release is called implausible with a probability of at most ``FALSE_ALARMS``
by these bounds together, whatever its records are. Post-processing of what was released: free.
What is plausible need not be true: labels may be exchanged, and counts may be any that a schema
holds. What such a release may do to others is bounded in ``generator.influence``.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_core.privacy import centring
from wg_core.privacy.schema import (
    CLIP_RADIUS,
    MACHINE,
    StatisticsSchema,
    default_schema,
    machine_schema,
)
from wg_core.privacy.statistics import NoisyStatistics

FALSE_ALARMS = 1e-6  # Largest probability that an honest release is called implausible

_NAME_LIMIT = 40

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Records:
    """Numbers of records that the counts allow.

    Attributes:
        classes: Most of each class, ``[K]``.
        total: Most of all, with and without a label.
        root: Largest root of the sum of squares over classes.
        noise: Standard deviation of the noise on a count.
    """

    classes: Floats
    total: float
    root: float
    noise: float


def reasons(statistics: NoisyStatistics) -> tuple[str, ...]:
    """Why a release cannot be what an honest plant releases; empty if it can.

    Args:
        statistics: The release; ``decode_release`` has held its noise against epsilon and delta.
    """
    schema, sigma = statistics.schema, statistics.sigma
    problems = _layout(schema)
    if problems:
        return tuple(problems)  # its bounds would be the sender's own
    counts, sums, moments = schema.blocks
    values = statistics.integers.astype(np.float64)
    classes = len(schema.labels)
    x = math.log((4 * classes + 8) / FALSE_ALARMS)  # as many tails as are bounded below
    counts_released = values[: counts.size] / schema.count_weight
    records, count_problems = _counts(schema, counts_released, sigma / schema.count_weight, x)
    problems += count_problems
    if sums.size:
        about = centring.of_release(schema, statistics.integers, sigma)
        unit = float(about.weight) * about.radius
        by_class = values[sums.offset : moments.offset].reshape(sums.shape)
        lengths = np.sqrt(np.square(by_class).sum(axis=1))
        limits = _limit(unit * records.classes, schema.dimension, sigma, x)
        over = lengths / limits
        if (over > 1).any():
            worst = int(over.argmax())
            problems.append(
                f"class {_printable(schema.labels[worst])}: its sum is {over[worst]:.3g} times as"
                f" long as a count of {counts_released[worst]:.0f} ± {records.noise:.0f} and the"
                f" noise allow ({int((over > 1).sum())} of {classes} classes)"
            )
        total_length = float(np.sqrt(np.square(lengths).sum()))
        limit = float(_limit(unit * records.root, sums.size, sigma, x))
        if total_length > limit:
            problems.append(
                f"all class sums together are {total_length / limit:.3g} times as long as counts"
                " and noise allow"
            )
    unit = schema.moment_weight * schema.grid
    length = float(np.sqrt(np.square(values[moments.offset :]).sum()))
    limit = float(_limit(unit * records.total, moments.size, sigma, x))
    if length > limit:
        problems.append(
            f"the sum over all records is {length / limit:.3g} times as long as"
            f" {counts_released.sum():.0f} records and the noise allow"
        )
    return tuple(problems)


def _layout(schema: StatisticsSchema) -> list[str]:
    """List deviations of bounds and shares from the public ones."""
    if schema.statistics == MACHINE:
        public = machine_schema(schema.encoder, schema.unit_rule)
    else:
        public = default_schema(
            encoder=schema.encoder,
            dimension=schema.dimension,
            labels=schema.labels,
            clip_radius=CLIP_RADIUS,
            unit_rule=schema.unit_rule,
        )
    names = ("clip_radius", "bits", "count_weight", "sum_weight", "moment_weight")
    return [
        f"layout: {name} is {getattr(schema, name)}, of this encoder's releases it is"
        f" {getattr(public, name)}"
        for name in names
        if getattr(schema, name) != getattr(public, name)
    ]


def _counts(
    schema: StatisticsSchema, sums: Floats, std: float, x: float
) -> tuple[_Records, list[str]]:
    """Derive numbers of records from the counts (the last one unlabelled), and list problems."""
    tail = std * math.sqrt(2 * x)
    problems = []
    if sums.min() < -tail:
        problems.append(
            f"a count of {sums.min():.3g}: noise of {std:.3g} does not go below {-tail:.3g}"
        )
    if sums.max() - tail > schema.capacity:
        problems.append(
            f"a count of {sums.max():.3g}: a release holds at most {schema.capacity} records"
        )
    upper_bounds = np.clip(sums + tail, 0.0, schema.capacity)
    total = float(np.clip(sums.sum() + tail * math.sqrt(len(sums)), 0.0, upper_bounds.sum()))
    # A unit of several records counts by fractions, each rounded down to 1 / count_weight. Twice
    # that, since the total is of rounded ones.
    rounding = 2 * total / schema.count_weight if schema.unit_rule == "weight" else 0.0
    classes = upper_bounds[:-1] + rounding
    total += rounding * len(sums)
    # With |n + Z| known: |n|^2 - 2 |n| tail <= |n + Z|^2, as for one sum above.
    length = tail + math.sqrt(tail**2 + float(np.square(sums[:-1]).sum()))
    length += rounding * math.sqrt(len(sums))
    root = min(length, total, float(np.sqrt(np.square(classes).sum())))
    return _Records(classes, total, root, std), problems


def _limit(exact: Floats | float, entries: int, sigma: float, x: float) -> Floats:
    """Longest released vector of ``entries`` whose exact one is not longer than ``exact``."""
    bound = np.asarray(exact, dtype=np.float64)
    noise = sigma**2 * (entries + 2 * math.sqrt(entries * x) + 2 * x)
    square = np.square(bound) + 2 * bound * sigma * math.sqrt(2 * x) + noise
    return np.asarray(np.sqrt(square) * (1 + 1e-9))  # of rounding in floating point


def _printable(label: str) -> str:
    """A label that a stranger chose, short and with nothing in it that a terminal acts on."""
    return ascii(label[:_NAME_LIMIT])
