"""The empirical audit passes correct code and finds planted bugs, 20 of 20 seeds each (slow).

The bugs are planted here, by handing the audit another release pipeline. Production code has no
switch for any of them. Noise is simulated from a seed where many audits are run, so that a verdict
never changes from run to run; OpenDP's own is audited once a run, at a false-failure probability
of 1 in 1000 by the bound's definition, made smaller by fixing what the audit must not exceed.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from wg_common.audit import empirical
from wg_common.errors import ConfigError, PolicyRefused
from wg_common.privacy import exact, mechanism
from wg_common.privacy.centring import Centre
from wg_common.privacy.schema import StatisticsSchema
from wg_common.privacy.simulate import simulate_release

DELTA = 1e-5
SEEDS = range(20)
SOME_SEEDS = range(3)
"""The default suite's; the slow tests look at all."""

Integers = NDArray[np.int64]
Exact = Callable[[StatisticsSchema, Any, Any, Sequence[str], Centre | None], Integers]
Sigma = Callable[[StatisticsSchema, float, float], float]

correct_sigma = functools.lru_cache(mechanism.sigma_for)


def pipeline(seed: int, statistics: Exact, sigma: Sigma) -> empirical.Release:
    """The production pipeline with simulated noise, and with its two parts exchangeable."""
    rng = np.random.default_rng(seed + 1000)

    def released(
        schema: StatisticsSchema,
        features: Any,
        labels: Any,
        units: Sequence[str],
        epsilon: float,
        delta: float,
    ) -> Integers:
        return mechanism.release_statistics(
            schema,
            statistics(schema, features, labels, units, None),
            lambda centre: statistics(schema, features, labels, units, centre),
            sigma(schema, epsilon, delta),
            lambda values, scale: simulate_release(values, scale, rng),
        )

    return released


def halved_noise(schema: StatisticsSchema, epsilon: float, delta: float) -> float:
    return correct_sigma(schema, epsilon, delta) / 2


def forgets(number: int) -> Sigma:
    """Noise for the sensitivity without one block; all blocks have a third of its square."""

    def sigma(schema: StatisticsSchema, epsilon: float, delta: float) -> float:
        s2 = schema.grid**2
        blocks = [
            schema.count_weight**2,
            schema.sum_weight**2 * s2,
            schema.moment_weight**2 * s2,
        ]
        assert sum(blocks) == schema.sensitivity_squared()
        left = sum(blocks) - blocks[number]
        return correct_sigma(schema, epsilon, delta) * math.sqrt(left / sum(blocks))

    return sigma


def unclipped(
    schema: StatisticsSchema, x: Any, labels: Any, units: Sequence[str], centre: Centre | None
) -> Integers:
    """Statistics on the grid but without clipping; units are capped as they should be."""
    kept = [row for row, unit in enumerate(units) if unit not in units[:row]]
    q = np.trunc(x[kept] / schema.radius * schema.grid).astype(np.int64)
    return exact._total(schema, q, labels[kept], centre)


def two_records(
    schema: StatisticsSchema, x: Any, labels: Any, units: Sequence[str], centre: Centre | None
) -> Integers:
    two = dataclasses.replace(schema, unit_cap=2)
    return exact.exact_statistics(two, x, labels, units, centre)


def noise_of_another_epsilon(schema: StatisticsSchema, epsilon: float, delta: float) -> float:
    return correct_sigma(schema, 2 * epsilon, delta)


good = exact.exact_statistics

BUGS: dict[str, tuple[Exact, Sigma, float, int]] = {
    # statistics, sigma, claimed epsilon, repetitions. A forgotten block adds a fifth to mu, which
    # stands out sooner at a larger epsilon; at epsilon 1 it is the slow test's.
    "noise halved": (good, halved_noise, 1.0, 600),
    "counts forgotten": (good, forgets(0), 4.0, 900),
    "sums forgotten": (good, forgets(1), 4.0, 900),
    "moments forgotten": (good, forgets(2), 4.0, 900),
    "no clipping": (unclipped, correct_sigma, 1.0, 600),
    "two records a unit": (two_records, correct_sigma, 1.0, 600),
    "sigma of another epsilon": (good, noise_of_another_epsilon, 1.0, 900),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    for seed in SOME_SEEDS:
        found(bug, seed)


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_for_every_seed(bug: str) -> None:
    for seed in SEEDS:
        found(bug, seed)


def found(bug: str, seed: int) -> None:
    """Audit a plant with a bug, which must be found."""
    statistics, sigma, epsilon, repetitions = BUGS[bug]
    report = empirical.audit(
        epsilon,
        DELTA,
        repetitions=repetitions,
        seed=seed,
        release=pipeline(seed, statistics, sigma),
    )
    assert not report.passed, report
    assert report.parametric > epsilon


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_at_epsilon_one_with_the_commands_own_size(bug: str) -> None:
    statistics, sigma, _, _ = BUGS[bug]
    for seed in SEEDS:
        released = pipeline(seed, statistics, sigma)
        assert not empirical.audit(1.0, DELTA, seed=seed, release=released).passed


@pytest.mark.parametrize("seed", SOME_SEEDS)
def test_correct_code_passes(seed: int) -> None:
    passes(seed)


@pytest.mark.slow
def test_correct_code_passes_for_every_seed() -> None:
    for seed in SEEDS:
        passes(seed)


def passes(seed: int) -> None:
    """Audit the code as it is."""
    report = empirical.audit(
        1.0, DELTA, repetitions=900, seed=seed, release=pipeline(seed, good, correct_sigma)
    )
    assert report.passed, report
    assert report.clopper_pearson <= 1.0


def test_the_installed_release_code_passes() -> None:
    # Real noise: the bound is above mu with probability 1e-3, above 1.2 mu with 1e-9 or so.
    report = empirical.audit(1.0, DELTA, repetitions=1500, seed=1)
    assert report.mu_measured == pytest.approx(report.mu_claimed, abs=6 * 2 / 12_000**0.5)
    assert report.clopper_pearson <= 1.0
    assert 0.5 < report.parametric < 1.2


def test_canaries_attain_the_claimed_sensitivity_and_are_orthogonal() -> None:
    schema = empirical.audit_schema()
    eye = 3.0 * np.eye(empirical.CANARIES)
    vectors = [
        exact.exact_statistics(schema, eye[[i, i]], np.array([i, i]), ["u", "u"])
        for i in range(empirical.CANARIES)
    ]
    for i, one in enumerate(vectors):
        for j, other in enumerate(vectors):
            product = sum(int(a) * int(b) for a, b in zip(one, other, strict=True))
            assert product == (schema.sensitivity_squared() if i == j else 0)


def test_the_clopper_pearson_bound_covers_the_true_distance() -> None:
    # 95 % a time; 200 normal samples with mu = 1 fail at most 23 times but for 1 in 10^4.
    rng = np.random.default_rng(0)
    failures = 0
    for _ in range(200):
        bound = empirical.clopper_pearson_mu(
            rng.normal(1.0, 1.0, 400), rng.normal(0.0, 1.0, 400), 0.95
        )
        failures += bound > 1.0
    assert failures <= 23


def test_the_clopper_pearson_bound_says_nothing_without_errors_to_count() -> None:
    same = np.zeros(20)
    assert empirical.clopper_pearson_mu(same, same, 0.95) == -np.inf


def test_a_larger_audit_can_detect_a_smaller_violation() -> None:
    small, large = (
        empirical.audit(
            1.0, DELTA, repetitions=size, seed=0, release=pipeline(0, good, correct_sigma)
        )
        for size in (100, 400)
    )
    assert 1.0 < large.detectable < small.detectable
    assert small.canaries == 800


def test_progress_is_reported_after_each_repetition() -> None:
    seen: list[int] = []
    empirical.audit(
        1.0,
        DELTA,
        repetitions=60,
        seed=0,
        release=pipeline(0, good, correct_sigma),
        on_repetition=seen.append,
    )
    assert seen == list(range(1, 61))


def test_a_claim_or_size_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="repetitions"):
        empirical.audit(1.0, DELTA, repetitions=10)
    with pytest.raises(ConfigError, match="epsilon"):
        empirical.audit(-1.0, DELTA)
    with pytest.raises(PolicyRefused):
        empirical.audit(500.0, DELTA)


def test_the_pipeline_under_test_is_the_production_one_by_default() -> None:
    defaults = empirical.audit.__kwdefaults__
    assert defaults is not None
    assert defaults["release"] is empirical.installed_release


def test_scores_that_share_noise_are_worth_less() -> None:
    """Canaries along one axis of each release; those that are in happen to point one way."""
    rng = np.random.default_rng(3)
    way = np.where(np.arange(40) % 2, 1.0, -1.0)
    chosen = np.tile(way > 0, (12, 1)) ^ (rng.random((12, 40)) < 0.3)
    shares = np.where(chosen, 1 / chosen.sum(), -1 / (~chosen).sum())
    shared = float(((shares @ way) ** 2).sum()), 1 / (2 * 12)
    alarms = {True: 0, False: 0}
    for _ in range(2000):
        scores = rng.normal(size=(12, 1)) * way
        for known in alarms:
            spread = shared if known else None
            _, lower = empirical.lower_bound(scores[chosen], scores[~chosen], spread)
            alarms[known] += lower > 0
    assert alarms[True] < 10 < 100 < alarms[False]  # one in 1000 is stated
