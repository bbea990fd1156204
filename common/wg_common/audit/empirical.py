"""An empirical audit of the installed release code: can canaries be told from noise too well?

Each repetition releases a small public data set with a random half of some canaries in it, and
scores every canary by the inner product of the output with the canary's own vector, in units of
the claimed noise. If the release is mu-GDP as claimed, scores with and without a canary are at
most as far apart as N(mu, 1) and N(0, 1) (Dong, Roth and Su 2022), so that a lower
confidence bound on the distance that is above mu is evidence of a bug.

The canaries are as bad as the schema allows: a privacy unit of two records, far outside of the
clip ball, alone in its class and along its own axis. Each attains the sensitivity up to the
rounding of the sums' weight, about whatever centre the release has, and they are orthogonal, so
that many are tested by one release without disturbing each other (after Steinke, Nasr and
Jagielski 2023). The blocks have equal shares, so that none can be forgotten unnoticed.

*Not guaranteed*: that there is no bug. The audit looks for what its canaries show; ``detectable``
says how large a violation had to be to be found with 99 % probability. Membership is drawn from
the seed; the noise comes from the release itself and cannot be replayed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from wg_common.errors import ConfigError
from wg_common.privacy import calibration, centring, mechanism
from wg_common.privacy.centring import Centre
from wg_common.privacy.exact import exact_statistics, quantise
from wg_common.privacy.schema import StatisticsSchema, schema_with_shares

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Release = Callable[
    [StatisticsSchema, Array, Integers, Sequence[str], float, float],
    Integers,
]
"""Schema, features, labels, units, epsilon, delta to noisy integers."""

CANARIES = 8
"""Canaries a repetition: as many as dimensions and classes, so that they are orthogonal."""

REPETITIONS = 10_000
CLOPPER_PEARSON_CONFIDENCE = 0.95
PARAMETRIC_CONFIDENCE = 0.999
POWER = 0.99

_BACKGROUND = 32
_REPETITIONS_MINIMUM = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class EmpiricalReport:
    """What the audit found.

    Attributes:
        epsilon: The claim that was tested.
        delta: The delta of the claim.
        repetitions: Number of releases made.
        canaries: Number of scores, members and others.
        seed: Seed of the memberships.
        mu_claimed: mu of the mechanism calibrated to the claim.
        mu_measured: Distance of the two groups' means over their standard deviation.
        clopper_pearson: Lower bound on epsilon at 95 %, from error counts at a threshold chosen
            on the other half of the scores: no assumption on the scores' distribution.
        parametric: Lower bound on epsilon at 99.9 %, taking the scores to be normal.
        detectable: True epsilon from which on the parametric bound exceeds the claim in 99 % of
            audits of this size.
        passed: The parametric bound does not exceed the claim.
    """

    epsilon: float
    delta: float
    repetitions: int
    canaries: int
    seed: int
    mu_claimed: float
    mu_measured: float
    clopper_pearson: float
    parametric: float
    detectable: float
    passed: bool


def installed_release(
    schema: StatisticsSchema,
    features: Array,
    labels: Integers,
    units: Sequence[str],
    epsilon: float,
    delta: float,
) -> Integers:
    """The release that a plant makes, with this installation's code and OpenDP's sampler."""
    exact = exact_statistics(schema, features, labels, units)
    return mechanism.release_statistics(
        schema,
        exact,
        lambda centre: exact_statistics(schema, features, labels, units, centre),
        mechanism.sigma_for(schema, epsilon, delta),
    )


def audit(
    epsilon: float,
    delta: float,
    *,
    repetitions: int = REPETITIONS,
    seed: int = 0,
    release: Release = installed_release,
    on_repetition: Callable[[int], None] | None = None,
) -> EmpiricalReport:
    """Audit a release pipeline against its claim.

    Args:
        epsilon: The claim.
        delta: The claim.
        repetitions: Number of releases; each tests ``CANARIES`` canaries.
        on_repetition: Called with the number of repetitions done, for a progress bar.

    Raises:
        ConfigError: ``repetitions`` is too small to say anything, or the claim is no claim.
        PolicyRefused: The claim is one that the mechanism refuses to make.
    """
    if repetitions < _REPETITIONS_MINIMUM:
        raise ConfigError(f"repetitions: {repetitions}, at least {_REPETITIONS_MINIMUM} are needed")
    members, others = _scores(epsilon, delta, repetitions, seed, release, on_repetition)
    claimed = calibration.mu(epsilon, delta)
    measured, lower = lower_bound(members, others)
    parametric = _epsilon(lower, delta)
    margin = _quantile(PARAMETRIC_CONFIDENCE) + _quantile(POWER)
    visible = claimed + margin * _error(claimed, members, others)
    return EmpiricalReport(
        epsilon=epsilon,
        delta=delta,
        repetitions=repetitions,
        canaries=len(members) + len(others),
        seed=seed,
        mu_claimed=claimed,
        mu_measured=measured,
        clopper_pearson=_epsilon(
            clopper_pearson_mu(members, others, CLOPPER_PEARSON_CONFIDENCE), delta
        ),
        parametric=parametric,
        detectable=_epsilon(visible, delta),
        passed=parametric <= epsilon,
    )


def audit_schema() -> StatisticsSchema:
    """The schema of the audit: all blocks of equal share, one record a unit by capping."""
    third = Fraction(1, 3)
    return schema_with_shares(
        encoder="00",
        dimension=CANARIES,
        labels=tuple(f"class-{number}" for number in range(CANARIES)),
        clip_radius=1.0,
        bits=14,
        shares=(third, third, third),
        unit_rule="cap",
        unit_cap=1,
    )


def clopper_pearson_mu(members: Array, others: Array, confidence: float) -> float:
    """Lower confidence bound on mu from a threshold test's error rates.

    The threshold that looks best on the first half of the scores is judged on the second half.
    With true error rates (alpha, beta) a mechanism is mu-GDP only if ``mu >= z(1 - alpha) -
    z(beta)``; both rates are bounded from above (Clopper and Pearson 1934).

    Args:
        members: Scores with the canary in the data, any order that does not depend on them.
        others: Scores without it.
        confidence: Of the bound; the error is shared by the two rates.
    """
    half, rest = len(members) // 2, len(others) // 2
    risk = (1 - confidence) / 2

    def bound(inside: Array, outside: Array, threshold: float) -> float:
        from scipy.special import ndtri

        false_alarms = int((outside > threshold).sum())
        misses = int((inside <= threshold).sum())
        alpha = _upper_rate(false_alarms, len(outside), risk)
        beta = _upper_rate(misses, len(inside), risk)
        return float(-ndtri(alpha) - ndtri(beta))

    first = np.concatenate([members[:half], others[:rest]])
    thresholds = np.quantile(first, np.linspace(0.02, 0.98, 49))
    best = max(thresholds, key=lambda t: bound(members[:half], others[:rest], float(t)))
    return bound(members[half:], others[rest:], float(best))


def lower_bound(
    members: Array, others: Array, shared: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Distance of two groups of normal scores, and a lower confidence bound on it (99.9 %).

    Args:
        members: Scores with the canary in the data.
        others: Scores without it.
        shared: Where scores share noise: variance of the difference of means, and of the logarithm
            of their standard deviation. None: they are independent.

    Returns:
        Difference of means over the pooled standard deviation, and the bound.
    """
    measured = _distance(members, others)
    if shared is None:
        error = _error(measured, members, others)
    else:
        error = math.sqrt(shared[0] + measured**2 * shared[1])
    return measured, measured - _quantile(PARAMETRIC_CONFIDENCE) * error


def directions(schema: StatisticsSchema, q: Integers, centre: Centre) -> Array:
    """What canaries, one in each class, add to the exact statistics about a centre, ``[K, L]``.

    Args:
        q: What each canary is on the grid, ``[K, d]``.
    """
    counts, sums, moments = schema.blocks
    rows = np.arange(len(q))
    by_class = np.zeros((len(q), len(schema.labels), schema.dimension))
    by_class[rows, rows] = centre.weight * centring.deviations(q, centre)
    found = np.zeros((len(q), schema.length))
    found[rows, counts.offset + rows] = counts.weight
    found[:, sums.offset : moments.offset] = by_class.reshape(len(q), -1)
    found[:, moments.offset :] = moments.weight * q
    return found


def _scores(
    epsilon: float,
    delta: float,
    repetitions: int,
    seed: int,
    release: Release,
    on_repetition: Callable[[int], None] | None,
) -> tuple[Array, Array]:
    """Scores of canaries that were in the data, and of those that were not."""
    rng = np.random.default_rng(seed)
    schema = audit_schema()
    sigma = mechanism.sigma_for(schema, epsilon, delta)
    features = rng.normal(size=(_BACKGROUND, CANARIES))
    features *= 0.5 / np.linalg.norm(features, axis=1, keepdims=True)  # inside: never clipped
    labels = rng.integers(0, CANARIES, _BACKGROUND)
    units = [f"record-{number}" for number in range(_BACKGROUND)]
    canary = np.repeat(3.0 * np.eye(CANARIES), 2, axis=0)  # outside: always clipped
    canary_labels = np.repeat(np.arange(CANARIES), 2)
    on_grid = quantise(canary[::2], schema.radius, schema.bits)
    counts, _, moments = schema.blocks

    scores = np.empty((repetitions, CANARIES))
    chosen = rng.integers(0, 2, (repetitions, CANARIES)).astype(bool)
    for number in range(repetitions):
        inside = np.flatnonzero(chosen[number])
        rows = np.flatnonzero(np.repeat(chosen[number], 2))
        noisy = release(
            schema,
            np.concatenate([features, canary[rows]]),
            np.concatenate([labels, canary_labels[rows]]),
            units + [f"canary-{i}" for i in inside for _ in range(2)],
            epsilon,
            delta,
        )
        first = noisy[: counts.size], noisy[moments.offset :]
        centre = centring.centre(schema, *first, sigma)
        towards = directions(schema, on_grid, centre)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True) * sigma
        base = exact_statistics(schema, features, labels, units, centre)
        scores[number] = towards @ (noisy - base)
        if on_repetition is not None:
            on_repetition(number + 1)
    return scores[chosen], scores[~chosen]


def _distance(members: Array, others: Array) -> float:
    """Difference of means over the pooled standard deviation."""
    freedom = len(members) + len(others) - 2
    squares = members.var() * len(members) + others.var() * len(others)
    return float((members.mean() - others.mean()) / math.sqrt(squares / freedom))


def _error(distance: float, members: Array, others: Array) -> float:
    """Standard error of ``_distance`` for normal scores (Hedges and Olkin 1985, chapter 5)."""
    n, m = len(members), len(others)
    return math.sqrt(1 / n + 1 / m + distance**2 / (2 * (n + m)))


def _upper_rate(events: int, trials: int, risk: float) -> float:
    """Upper Clopper-Pearson bound on a rate."""
    from scipy.special import betaincinv

    return 1.0 if events == trials else float(betaincinv(events + 1, trials - events, 1 - risk))


def _quantile(confidence: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(confidence))


def _epsilon(mu: float, delta: float) -> float:
    return calibration.gaussian_epsilon(mu, delta) if mu > 0 else 0.0
