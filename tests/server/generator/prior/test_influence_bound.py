"""What one site's release does to the weights of another is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.server.generator.conftest import DIMENSION, ENCODER, World

from wg_common.inference.posterior import SiteEvidence, equal_length_discriminants
from wg_core.privacy import mechanism
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import default_schema
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics
from wg_server.generator.prior import blup, evidence_pools, influence_bound
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights.head_generation import HeadGenerator

LABELS = ("c0", "c1", "c2", "c3")
MOVED = ("c1", "c2", "c3", "c0")
FAMILY = 3


def evidence(world: World, site: int, labels: tuple[str, ...] = LABELS) -> SiteEvidence:
    """A site of 200 records of each class at epsilon 4; with other labels they are exchanged."""
    found = world.release(FAMILY, site, epsilon=4.0, shots=200, labels=labels)
    return site_evidence(found, LABELS)


def error(world: World, priors: ModelVariances, sites: Sequence[SiteEvidence]) -> float:
    """Share of the first site's records that its head gets wrong."""
    x, y = world.records(FAMILY, 0, len(LABELS), 200, 5)
    estimate = blup.predict_class_means(priors, sites)
    weight, bias = equal_length_discriminants(estimate.deviations, priors.whitener)
    return float((((x - estimate.centre) @ weight.T + bias).argmax(axis=1) != y).mean())


def little(world: World) -> SiteEvidence:
    return site_evidence(world.release(FAMILY, 0, epsilon=1.0, shots=3), LABELS)


def weighed(priors: ModelVariances, sites: Sequence[SiteEvidence]) -> dict[int, SiteEvidence]:
    """The sites after the first that are used, by number, each held against all others."""
    judged = {
        number: influence_bound.compare_with_peers(
            priors, site, [*sites[:number], *sites[number + 1 :]]
        )
        for number, site in enumerate(sites)
    }
    return {
        number: replace(
            sites[number], noise_variances=sites[number].noise_variances + found.extra_variance
        )
        for number, found in judged.items()
        if number and not found.is_outlier
    }


def test_a_site_with_exchanged_labels_is_left_out_and_the_others_are_not(
    world: World, generator: HeadGenerator
) -> None:
    priors, own = generator.package.priors, little(world)
    honest = [evidence(world, site) for site in range(1, 6)]
    assert list(weighed(priors, [own, *honest, evidence(world, 6, MOVED)])) == [1, 2, 3, 4, 5]
    assert list(weighed(priors, [own, *honest])) == [1, 2, 3, 4, 5]


def test_two_of_five_who_agree_do_not_make_the_others_look_odd(
    world: World, generator: HeadGenerator
) -> None:
    honest = [evidence(world, site) for site in range(1, 5)]
    sybils = [evidence(world, site, MOVED) for site in (5, 6)]
    found = weighed(generator.package.priors, [little(world), *sybils, *honest])
    assert list(found) == [3, 4, 5, 6]


def test_of_two_others_the_one_that_the_plant_agrees_with_is_kept(
    world: World, generator: HeadGenerator
) -> None:
    own = site_evidence(world.release(FAMILY, 0, epsilon=4.0, shots=200), LABELS)
    others = [evidence(world, 1, MOVED), evidence(world, 2)]
    assert list(weighed(generator.package.priors, [own, *others])) == [2]


def test_exchanged_labels_cost_the_others_no_accuracy(
    world: World, generator: HeadGenerator
) -> None:
    priors, own = generator.package.priors, little(world)
    honest = [evidence(world, site) for site in (1, 2, 3)]
    hostile = [
        replace(
            evidence(world, site, MOVED), noise_variances=np.zeros(4), record_counts=np.full(4, 1e6)
        )
        for site in (4, 5)
    ]
    quiet = error(world, priors, [own, *honest])
    unbound = error(world, priors, [own, *hostile, *honest])
    bound = error(world, priors, [own, *weighed(priors, [own, *hostile, *honest]).values()])
    assert bound <= quiet + 0.01 < unbound


def test_the_pull_of_one_site_is_bounded_however_far_away_and_sure_it_is(
    world: World, generator: HeadGenerator
) -> None:
    """Beyond some distance it has none; before it, the pull is less than the model's own spread."""
    priors, own = generator.package.priors, little(world)
    honest = [evidence(world, site) for site in (1, 2, 3, 4)]
    sure = replace(evidence(world, 5), noise_variances=np.zeros(4), record_counts=np.full(4, 1e6))
    away = np.array([1.0, -1.0, 1.0, -1.0])[:, None] * np.ones(DIMENSION) / DIMENSION**0.5
    before = blup.predict_class_means(
        priors, [own, *weighed(priors, [own, sure, *honest]).values()]
    ).deviations
    spread = float(np.sqrt(priors.between.sum()))
    moved = []
    for distance in np.geomspace(0.01, 1e6, 30):
        far = replace(sure, means=sure.means + distance * away)
        others = weighed(priors, [own, far, *honest]).values()
        change = blup.predict_class_means(priors, [own, *others]).deviations - before
        moved.append(float(np.linalg.norm(change, axis=1).max()))
    assert max(moved) < spread
    assert moved[-1] == pytest.approx(moved[-2])
    raw = blup.predict_class_means(priors, [own, far, *honest]).deviations - before
    assert np.linalg.norm(raw, axis=1).max() > 1e3 * spread


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_three_sites_say_nothing_of_who_is_odd(
    world: World, generator: HeadGenerator, count: int
) -> None:
    others = [evidence(world, 1, MOVED)][:count]
    found = weighed(generator.package.priors, [little(world), *others])
    assert list(found) == list(range(1, count + 1))


def test_an_odd_site_and_one_of_another_dimension_are_left_out(
    world: World, generator: HeadGenerator
) -> None:
    schema = default_schema(encoder=ENCODER, dimension=5, labels=LABELS, clip_radius=1.0)
    sigma = mechanism.noise_scale(schema, 1.0, 1e-5)
    short: NoisyStatistics = simulate_noisy_statistics(
        schema, np.zeros((0, 5)), np.zeros(0, dtype=np.int64), sigma, np.random.default_rng(1)
    )
    others = [world.release(FAMILY, i, epsilon=4.0, shots=200) for i in range(1, 6)]
    odd = world.release(FAMILY, 6, epsilon=4.0, shots=200, labels=MOVED)
    own = world.release(FAMILY, 0, epsilon=1.0, shots=20)
    pools = evidence_pools.pools_of_releases(generator.package.priors, own, [odd, short, *others])
    assert [pool.site_count for pool in pools] == [5]


def behind(priors: ModelVariances, sites: Sequence[SiteEvidence]) -> np.ndarray:
    """How many sites stand behind each class, each held against all others."""
    judged = [
        influence_bound.compare_with_peers(priors, site, [*sites[:number], *sites[number + 1 :]])
        for number, site in enumerate(sites)
    ]
    return np.asarray(np.sum([found.agreed_classes for found in judged], axis=0))


def exchanged(site: SiteEvidence) -> SiteEvidence:
    """A site that calls each of the first two classes by the other's name, and is very sure."""
    order = [1, 0, 2, 3]
    return replace(
        site,
        means=site.means[order],
        noise_variances=site.noise_variances / 1e4,
        record_counts=site.record_counts * 1e2,
    )


def test_sites_that_mean_the_same_stand_behind_their_classes(
    world: World, generator: HeadGenerator
) -> None:
    sites = [evidence(world, number) for number in range(9)]
    assert (behind(generator.package.priors, sites) >= 3).all()


def test_three_of_nine_that_exchange_two_classes_leave_fewer_than_three_behind_them(
    world: World, generator: HeadGenerator
) -> None:
    priors = generator.package.priors
    sites = [evidence(world, number) for number in range(9)]
    attacked = [*map(exchanged, sites[:3]), *sites[3:]]
    colluders = [
        influence_bound.compare_with_peers(
            priors, site, [*attacked[:number], *attacked[number + 1 :]]
        )
        for number, site in enumerate(attacked[:3])
    ]
    assert not any(found.agreed_classes[:2].any() for found in colluders)


def test_evidence_that_is_mostly_noise_stands_behind_nothing(
    world: World, generator: HeadGenerator
) -> None:
    sites = [
        site_evidence(world.release(FAMILY, number, epsilon=0.1, shots=5), LABELS)
        for number in range(6)
    ]
    colluders = [exchanged(evidence(world, number)) for number in range(6, 9)]
    assert (behind(generator.package.priors, sites) == 0).all()
    assert (behind(generator.package.priors, [*sites, *colluders])[:2] < 3).all()
    assert (behind(generator.package.priors, sites[:1]) == 0).all(), "no peer"
