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
on other sites is bounded in ``generator.prior.influence_bound``.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_core.privacy import class_centres
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import (
    CLIP_RADIUS,
    MACHINE_STATISTICS,
    StatisticsSchema,
    default_schema,
    machine_schema,
)

FALSE_ALARM_PROBABILITY = 1e-6  # Largest probability that an honest release is called implausible

_LABEL_LENGTH_LIMIT = 40

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _RecordCountBounds:
    """Upper bounds on a plant's numbers of records, computed from the released counts.

    Attributes:
        class_counts: Bound for each class, ``[K]``.
        total_count: Bound for all records, with and without a label.
        root_sum_of_squares: Bound for the root of the sum of squares over classes.
        count_noise_std: Standard deviation of the noise on a count.
    """

    class_counts: FloatArray
    total_count: float
    root_sum_of_squares: float
    count_noise_std: float


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
    records, count_problems = _bound_record_counts(
        schema, counts_released, sigma / schema.count_weight, x
    )
    problems += count_problems
    if sums.size:
        about = class_centres.centre_of_release(schema, statistics.integers, sigma)
        unit = float(about.sum_weight) * about.radius
        by_class = values[sums.offset : moments.offset].reshape(sums.shape)
        lengths = np.sqrt(np.square(by_class).sum(axis=1))
        limits = _largest_plausible_norm(unit * records.class_counts, schema.dimension, sigma, x)
        over = lengths / limits
        if (over > 1).any():
            worst = int(over.argmax())
            problems.append(
                f"class {_printable_label(schema.labels[worst])}: its sum is {over[worst]:.3g}"
                f" times as long as a count of {counts_released[worst]:.0f} ±"
                f" {records.count_noise_std:.0f} and the noise allow ({int((over > 1).sum())} of"
                f" {classes} classes)"
            )
        total_length = float(np.sqrt(np.square(lengths).sum()))
        limit = float(
            _largest_plausible_norm(unit * records.root_sum_of_squares, sums.size, sigma, x)
        )
        if total_length > limit:
            problems.append(
                f"all class sums together are {total_length / limit:.3g} times as long as counts"
                " and noise allow"
            )
    unit = schema.moment_weight * schema.radius_grid_units
    length = float(np.sqrt(np.square(values[moments.offset :]).sum()))
    limit = float(_largest_plausible_norm(unit * records.total_count, moments.size, sigma, x))
    if length > limit:
        problems.append(
            f"the sum over all records is {length / limit:.3g} times as long as"
            f" {counts_released.sum():.0f} records and the noise allow"
        )
    return tuple(problems)


def _schema_problems(schema: StatisticsSchema) -> list[str]:
    """List how a release's schema differs from the public schema for its encoder."""
    if schema.release_kind == MACHINE_STATISTICS:
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


def _bound_record_counts(
    schema: StatisticsSchema, noisy_counts: FloatArray, noise_std: float, tail_exponent: float
) -> tuple[_RecordCountBounds, list[str]]:
    """Return bounds on the true numbers of records, and reasons why the counts are implausible."""
    tail = noise_std * math.sqrt(2 * tail_exponent)
    problems = []
    if noisy_counts.min() < -tail:
        problems.append(
            f"a count of {noisy_counts.min():.3g}: noise of {noise_std:.3g} does not go below"
            f" {-tail:.3g}"
        )
    if noisy_counts.max() - tail > schema.record_capacity:
        problems.append(
            f"a count of {noisy_counts.max():.3g}: a release holds at most {schema.record_capacity}"
            " records"
        )
    upper_bounds = np.clip(noisy_counts + tail, 0.0, schema.record_capacity)
    total = float(
        np.clip(noisy_counts.sum() + tail * math.sqrt(len(noisy_counts)), 0.0, upper_bounds.sum())
    )
    # A unit of several records counts by fractions, each rounded down to 1 / count_weight. The
    # factor 2 allows for the total, which is of rounded fractions.
    rounding = 2 * total / schema.count_weight if schema.unit_rule == "weight" else 0.0
    classes = upper_bounds[:-1] + rounding
    total += rounding * len(noisy_counts)
    # With |n + Z| known: |n|^2 - 2 |n| tail <= |n + Z|^2, as for one sum above.
    length = tail + math.sqrt(tail**2 + float(np.square(noisy_counts[:-1]).sum()))
    length += rounding * math.sqrt(len(noisy_counts))
    root = min(length, total, float(np.sqrt(np.square(classes).sum())))
    return _RecordCountBounds(classes, total, root, noise_std), problems


def _largest_plausible_norm(
    exact_norm_bound: FloatArray | float, dimension: int, sigma: float, tail_exponent: float
) -> FloatArray:
    """Bound the length of a noisy vector whose exact length is at most ``exact_norm_bound``.

    The noise has standard deviation ``sigma`` on each of ``dimension`` entries. The bound fails
    with a probability of at most ``2 exp(-tail_exponent)``.
    """
    bound = np.asarray(exact_norm_bound, dtype=np.float64)
    noise = sigma**2 * (dimension + 2 * math.sqrt(dimension * tail_exponent) + 2 * tail_exponent)
    square = np.square(bound) + 2 * bound * sigma * math.sqrt(2 * tail_exponent) + noise
    return np.asarray(np.sqrt(square) * (1 + 1e-9))  # margin for rounding


def _printable_label(label: str) -> str:
    """Return an untrusted label, shortened and without control characters."""
    return ascii(label[:_LABEL_LENGTH_LIMIT])
