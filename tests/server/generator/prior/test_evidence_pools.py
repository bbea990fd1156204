"""Sums over sites say what all sites together say, and a site is taken out without a trace."""

from __future__ import annotations

import numpy as np
import pytest
from tests.server.generator.conftest import DIMENSION, World

from wg_common.inference.posterior import (
    SiteEvidence,
    add_site_evidence,
    no_evidence,
    predict_class_means,
)
from wg_server.generator.prior import evidence_pools
from wg_server.generator.prior.blup import ModelVariances
from wg_server.generator.prior.evidence_pools import EvidencePool
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights.head_generation import HeadGenerator

LABELS = ("c0", "c1", "c2", "c3")


@pytest.fixture(scope="module")
def priors(generator: HeadGenerator) -> ModelVariances:
    return generator.package.priors


def evidence(world: World, site: int, labels: tuple[str, ...] = LABELS) -> SiteEvidence:
    return site_evidence(world.release(3, site, epsilon=4.0, shots=60), labels)


def pooled(priors: ModelVariances, sites: list[SiteEvidence]) -> EvidencePool:
    total = evidence_pools.empty_pool(LABELS, DIMENSION)
    for site in sites:
        total = total + evidence_pools.single_site_pool(priors, LABELS, site)
    return total


def test_sums_say_what_all_sites_say(world: World, priors: ModelVariances) -> None:
    """Beside the mixed model with a row for every site, solved as one system (Henderson 1975)."""
    sites = [evidence(world, site) for site in range(12)]
    size = len(sites) + len(LABELS)
    system, right = np.zeros((DIMENSION, size, size)), np.zeros((DIMENSION, size))
    inner = np.arange(len(sites), size)
    system[:, inner, inner] = 1 / priors.between[:, None]
    for row, site in enumerate(sites):
        system[:, row, row] += 1 / priors.site
        add_site_evidence(system, right, priors, site, row)
    expected = np.linalg.solve(system, right[:, :, None])[:, len(sites) :, 0].T
    result = evidence_pools.posterior_from_pools(priors, [pooled(priors, sites)], LABELS)
    deviations = predict_class_means(result, no_evidence(len(LABELS), DIMENSION)).deviations
    assert np.allclose(deviations @ priors.basis, expected, rtol=1e-6, atol=1e-9)


def test_a_site_that_is_taken_out_leaves_no_trace(world: World, priors: ModelVariances) -> None:
    sites = [evidence(world, site) for site in range(6)]
    total = pooled(priors, sites)
    one = evidence_pools.single_site_pool(priors, LABELS, sites[2])
    left, expected = total - one, pooled(priors, [*reversed(sites[3:]), *sites[:2]])
    assert left.site_count == 5
    assert np.array_equal(left.precision, expected.precision)
    assert np.array_equal(left.right_sides, expected.right_sides)


def test_every_one_of_a_hundred_sites_moves_the_posterior_by_its_share(
    world: World, priors: ModelVariances
) -> None:
    sites = [evidence(world, site) for site in range(100)]
    parts = [evidence_pools.single_site_pool(priors, LABELS, site) for site in sites]
    total = pooled(priors, sites)
    nobody = no_evidence(len(LABELS), DIMENSION)

    def deviations(pool: EvidencePool) -> np.ndarray:
        return predict_class_means(
            evidence_pools.posterior_from_pools(priors, [pool], LABELS), nobody
        ).deviations

    everybody = deviations(total)
    moved = np.array([np.linalg.norm(deviations(total - part) - everybody) for part in parts])
    information = np.array(
        [part.matrices_and_right_sides(priors)[0].trace(axis1=1, axis2=2).sum() for part in parts]
    )
    share = information / information.sum()
    assert (moved > 0.1 * share * np.linalg.norm(everybody)).all()
    assert (moved < 20 * share * np.linalg.norm(everybody)).all()


def test_another_order_of_classes_and_a_class_more_or_less(
    world: World, priors: ModelVariances
) -> None:
    sites = [evidence(world, site) for site in range(4)]
    pool = pooled(priors, sites)
    turned = evidence_pools.posterior_from_pools(priors, [pool], LABELS[::-1])
    straight = evidence_pools.posterior_from_pools(priors, [pool], LABELS)
    back = np.array([0, 4, 3, 2, 1])
    assert np.allclose(turned.weighted, straight.weighted[:, back])
    assert np.allclose(turned.precision, straight.precision[:, back[:, None], back])
    wider = evidence_pools.posterior_from_pools(priors, [pool], (*LABELS, "new"))
    assert np.allclose(wider.precision[:, 1:5, 1:5], straight.precision[:, 1:, 1:])
    assert np.allclose(wider.precision[:, 5, 5], 1 / priors.between)
    fewer = evidence_pools.posterior_from_pools(priors, [pool], LABELS[:3])
    full = predict_class_means(straight, no_evidence(4, DIMENSION)).deviations[:3]
    assert np.allclose(predict_class_means(fewer, no_evidence(3, DIMENSION)).deviations, full)


def test_a_hostile_mean_counts_as_one_on_the_limit(world: World, priors: ModelVariances) -> None:
    site = evidence(world, 1)
    site.means[0] = 1e30
    part = evidence_pools.single_site_pool(priors, LABELS, site)
    assert np.abs(part.right_sides).max() * 2.0**-36 <= evidence_pools.CLASS_MEAN_ENTRY_LIMIT


def test_pools_of_other_classes_or_of_fewer_sites_are_refused(
    world: World, priors: ModelVariances
) -> None:
    total = pooled(priors, [evidence(world, 1)])
    with pytest.raises(ValueError, match="none of"):
        total + evidence_pools.empty_pool(("other",), DIMENSION)
    with pytest.raises(ValueError, match="-1 sites"):
        evidence_pools.empty_pool(LABELS, DIMENSION) - total
