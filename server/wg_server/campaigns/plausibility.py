"""Plausibility of releases: bounds that every honest release satisfies.

A release states its layout, its clip radius and its noise, which is enough to bound it. Let n be
the number of records of a class, u a record's part of the class sum (``|u| <= radius``), and Z
noise of standard deviation sigma on each of d entries. Then the released vector is ``V = weight *
sum(u) + Z``, and::

    |V|^2 <= B^2 + 2 B sigma sqrt(2 x) + sigma^2 (d + 2 sqrt(d x) + 2 x),   B = weight * radius * n

except with probability ``2 exp(-x)``: discrete Gaussian noise is subgaussian (Canonne, Kamath and
Steinke 2020, Corollary 17), the middle term is a projection of it, and the last term is the tail of
its squared length (Hsu, Kakade and Zhang 2012, Theorem 2.1). n is bounded from the released counts
in the same way. In a centred release the bounds hold about every centre that the first part may
give, since the noise of the second part is independent of it.

*Guarantee.* An honest release is called implausible with a probability of at most
``FALSE_ALARM_PROBABILITY`` by all bounds together, whatever its records are. The check is
post-processing of the release and costs no privacy. A plausible release need not be true: labels
may be exchanged, and counts may take any value that the schema allows. The effect of such a release
on other sites is bounded in ``generator.prior.influence``.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_core.privacy import centring
from wg_core.privacy.schema import (
    CLIP_RADIUS,
    MACHINE_STATISTICS,
    StatisticsSchema,
    default_schema,
    machine_schema,
)
from wg_core.privacy.statistics import NoisyStatistics

FALSE_ALARM_PROBABILITY = 1e-6  # Largest probability that an honest release is called implausible

_LABEL_LENGTH_LIMIT = 40

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _RecordBounds:
    """Upper bounds on a plant's numbers of records, computed from the released counts.

    Attributes:
        classes: Bound for each class, ``[K]``.
        total: Bound for all records, with and without a label.
        root: Bound for the root of the sum of squares over classes.
        noise: Standard deviation of the noise on a count.
    """

    classes: Floats
    total: float
    root: float
    noise: float


def implausibility_reasons(statistics: NoisyStatistics) -> tuple[str, ...]:
    """Return the reasons why no honest plant can have made a release; empty if it is plausible.

    Args:
        statistics: Released statistics, whose noise ``decode_release`` has checked against epsilon
            and delta.
    """
    schema, sigma = statistics.schema, statistics.sigma
    problems = _schema_problems(schema)
    if problems:
        return tuple(problems)  # the sender would choose the bounds
    counts, sums, moments = schema.blocks
    values = statistics.integers.astype(np.float64)
    classes = len(schema.labels)
    x = math.log((4 * classes + 8) / FALSE_ALARM_PROBABILITY)  # union bound over all tails below
    counts_released = values[: counts.size] / schema.count_weight
    records, count_problems = _bound_records(
        schema, counts_released, sigma / schema.count_weight, x
    )
    problems += count_problems
    if sums.size:
        about = centring.centre_of_release(schema, statistics.integers, sigma)
        unit = float(about.weight) * about.radius
        by_class = values[sums.offset : moments.offset].reshape(sums.shape)
        lengths = np.sqrt(np.square(by_class).sum(axis=1))
        limits = _plausible_length(unit * records.classes, schema.dimension, sigma, x)
        over = lengths / limits
        if (over > 1).any():
            worst = int(over.argmax())
            problems.append(
                f"class {_printable_label(schema.labels[worst])}: its sum is {over[worst]:.3g}"
                f" times as long as a count of {counts_released[worst]:.0f} ± {records.noise:.0f}"
                f" and the noise allow ({int((over > 1).sum())} of {classes} classes)"
            )
        total_length = float(np.sqrt(np.square(lengths).sum()))
        limit = float(_plausible_length(unit * records.root, sums.size, sigma, x))
        if total_length > limit:
            problems.append(
                f"all class sums together are {total_length / limit:.3g} times as long as counts"
                " and noise allow"
            )
    unit = schema.moment_weight * schema.grid_units
    length = float(np.sqrt(np.square(values[moments.offset :]).sum()))
    limit = float(_plausible_length(unit * records.total, moments.size, sigma, x))
    if length > limit:
        problems.append(
            f"the sum over all records is {length / limit:.3g} times as long as"
            f" {counts_released.sum():.0f} records and the noise allow"
        )
    return tuple(problems)


def _schema_problems(schema: StatisticsSchema) -> list[str]:
    """List how a release's schema differs from the public schema for its encoder."""
    if schema.statistics == MACHINE_STATISTICS:
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


def _bound_records(
    schema: StatisticsSchema, sums: Floats, std: float, x: float
) -> tuple[_RecordBounds, list[str]]:
    """Return bounds on the true numbers of records, and reasons why the counts are implausible."""
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
    # A unit of several records counts by fractions, each rounded down to 1 / count_weight. The
    # factor 2 allows for the total, which is of rounded fractions.
    rounding = 2 * total / schema.count_weight if schema.unit_rule == "weight" else 0.0
    classes = upper_bounds[:-1] + rounding
    total += rounding * len(sums)
    # With |n + Z| known: |n|^2 - 2 |n| tail <= |n + Z|^2, as for one sum above.
    length = tail + math.sqrt(tail**2 + float(np.square(sums[:-1]).sum()))
    length += rounding * math.sqrt(len(sums))
    root = min(length, total, float(np.sqrt(np.square(classes).sum())))
    return _RecordBounds(classes, total, root, std), problems


def _plausible_length(exact: Floats | float, entries: int, sigma: float, x: float) -> Floats:
    """Bound the Euclidean length of a noisy vector whose exact length is at most ``exact``.

    It fails with a probability of at most ``2 exp(-x)``, for noise of standard deviation ``sigma``
    on each of ``entries`` entries.
    """
    bound = np.asarray(exact, dtype=np.float64)
    noise = sigma**2 * (entries + 2 * math.sqrt(entries * x) + 2 * x)
    square = np.square(bound) + 2 * bound * sigma * math.sqrt(2 * x) + noise
    return np.asarray(np.sqrt(square) * (1 + 1e-9))  # margin for rounding


def _printable_label(label: str) -> str:
    """Return an untrusted label, shortened and without control characters."""
    return ascii(label[:_LABEL_LENGTH_LIMIT])
