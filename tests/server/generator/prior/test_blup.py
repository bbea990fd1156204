from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wg_common.inference import posterior
from wg_common.inference.posterior import SiteEvidence, no_evidence
from wg_server.generator.prior import blup
from wg_server.generator.prior.fitted import crossfit
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.prior.zoo_tasks import ZooTask

if TYPE_CHECKING:
    from tests.server.generator.conftest import World

LABELS = ("c0", "c1", "c2", "c3")


@pytest.fixture(scope="module")
def priors(zoo_tasks: list[ZooTask]) -> blup.Priors:
    return crossfit(zoo_tasks, sorted({t.family for t in zoo_tasks}), 2)[1].priors


def _reference(
    priors: blup.Priors, sites: list[SiteEvidence], coordinate: int
) -> tuple[float, np.ndarray]:
    """Condition a joint Gaussian on all observations, one coordinate, the obvious way."""
    s, k = len(sites), len(sites[0].counts)
    t, g = priors.between[coordinate], priors.site[coordinate]
    size = s + k + s * k  # g_m, delta_k, eta_mk
    prior = np.diag([g] * s + [t] * k + [blup.SITE_RATIO * t] * (s * k))
    rows, values, noise = [], [], []
    for m, site in enumerate(sites):
        means = site.means @ priors.basis
        for c in range(k):
            if site.present[c] <= 1e-3:
                continue
            row = np.zeros(size)
            row[m] = row[s + c] = row[s + k + m * k + c] = 1
            rows.append(row)
            values.append(means[c, coordinate])
            noise.append(
                (site.noise[c] + priors.within[coordinate] / site.counts[c]) / site.present[c]
            )
    a = np.array(rows)
    gain = prior @ a.T @ np.linalg.inv(a @ prior @ a.T + np.diag(noise))
    u = gain @ np.array(values)
    return float(u[0]), u[s : s + k] + u[s + k : s + k + k]


def test_prediction_is_the_conditional_mean(priors: blup.Priors, world: World) -> None:
    releases = [
        world.release(30, 0, epsilon=8.0, shots=20, missing=(3,)),
        world.release(30, 1, epsilon=4.0, shots=40),
    ]
    sites = [site_evidence(r, LABELS) for r in releases]
    bare = [
        SiteEvidence(s.means, s.noise, s.counts, s.present, s.domain, np.inf, 1.0) for s in sites
    ]
    found = blup.predict(priors, bare)
    for coordinate in (0, 7, 15):
        centre, deviations = _reference(priors, bare, coordinate)
        assert found.centre @ priors.basis[:, coordinate] == pytest.approx(centre, abs=1e-8)
        np.testing.assert_allclose(
            found.deviations @ priors.basis[:, coordinate], deviations, atol=1e-8
        )


def test_without_evidence_nothing_is_predicted(priors: blup.Priors) -> None:
    found = blup.predict(priors, [no_evidence(3, 16)])
    np.testing.assert_allclose(found.deviations, 0, atol=1e-12)
    np.testing.assert_allclose(found.centre, 0, atol=1e-12)
    assert np.isfinite(found.weight).all()


def _sites_with_shifted_means(priors: blup.Priors) -> tuple[list[SiteEvidence], np.ndarray]:
    """Two sites without noise, of the same class deviations, whose means lie along one direction.

    Returns:
        Their evidence, and the direction, a unit vector.
    """
    rng = np.random.default_rng(5)
    d = len(priors.between)
    deviations = rng.normal(0, 0.12, (4, d))
    deviations -= deviations.mean(axis=0)
    way = rng.normal(size=d)
    way /= np.linalg.norm(way)
    sites = [
        SiteEvidence(
            deviations + far * way,
            np.full(4, 1e-6),
            np.full(4, 1e4),
            np.ones(4),
            np.zeros(d),
            np.inf,
            1.0,
        )
        for far in (0.5, 0.8)
    ]
    return sites, way


def test_heads_are_blind_along_directions_in_which_site_means_differ(priors: blup.Priors) -> None:
    sites, way = _sites_with_shifted_means(priors)
    nowhere = no_evidence(4, len(way))
    found = blup.predict(priors, [nowhere, *sites])
    plain, _ = posterior.discriminant(found.deviations, priors.whitener)
    plain -= plain.mean(axis=0)
    plain /= np.sqrt(np.mean(np.sum(plain**2, axis=1)))
    # A plant far along that way is told apart like one that lies at the public mean.
    x = (0.3 * found.deviations + far * way for far in (-2.0, -1.0, 0.0, 1.0, 2.0))
    right = np.array(
        [[(r @ w.T).argmax(axis=1) == np.arange(4) for w in (found.weight, plain)] for r in x]
    ).sum(axis=(0, 2))
    assert right[0] >= 16
    assert right[1] <= 13


def test_a_plant_that_is_known_is_looked_at_along_every_way(priors: blup.Priors) -> None:
    sites, _ = _sites_with_shifted_means(priors)
    found = blup.predict(priors, [sites[0], sites[1]])
    plain, _ = posterior.discriminant(found.deviations, priors.whitener)
    plain -= plain.mean(axis=0)
    plain /= np.sqrt(np.mean(np.sum(plain**2, axis=1)))
    np.testing.assert_allclose(found.weight, plain, atol=0.02)


def test_what_is_unknown_of_a_mean_has_the_covariance_of_bayes(
    priors: blup.Priors, world: World
) -> None:
    own = site_evidence(world.release(30, 0, epsilon=1.0, shots=5), LABELS)
    sites, _ = _sites_with_shifted_means(priors)
    found = blup.predict(priors, [own, *sites])
    # Prior covariance from the two means, one observation of the plant's mean.
    far = [site.means.mean(axis=0) - found.deviations.mean(axis=0) for site in sites]
    prior = sum(np.outer(f, f) for f in far) / 2
    noise = np.diag(1 / (1 / found.centre_spread - 1 / priors.site))
    noise = priors.basis @ noise @ priors.basis.T
    left = prior - prior @ np.linalg.inv(prior + noise) @ prior
    whitener = np.asarray(np.linalg.inv(np.linalg.inv(priors.whitener) + left), np.float64)
    weight, _ = posterior.discriminant(found.deviations, whitener)
    weight -= weight.mean(axis=0)
    weight /= np.sqrt(np.mean(np.sum(weight**2, axis=1)))
    np.testing.assert_allclose(found.weight, weight, atol=5e-3)


def test_more_records_leave_less_variance(priors: blup.Priors, world: World) -> None:
    variance = [
        blup.predict(
            priors, [site_evidence(world.release(30, 0, epsilon=4.0, shots=n), LABELS)]
        ).variance.mean()
        for n in (5, 50, 500)
    ]
    assert variance[0] > variance[1] > variance[2]


def test_exact_statistics_give_exact_means(world: World) -> None:
    x, y = world.records(30, 0, 4, 50, 1)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1)  # as the release clips
    evidence = site_evidence(world.release(30, 0, epsilon=None, shots=50), LABELS)
    means = np.stack([x[y == c].mean(axis=0) for c in range(4)])
    np.testing.assert_allclose(evidence.means, means, atol=2e-4)
    np.testing.assert_allclose(evidence.present, 1)
    np.testing.assert_allclose(evidence.counts, 50)


def test_a_missing_class_is_noticed_when_noise_allows(world: World) -> None:
    release = world.release(30, 0, epsilon=8.0, shots=400, missing=(2,))
    present = site_evidence(release, LABELS).present
    assert present[2] < 0.1
    assert present[[0, 1, 3]].min() > 0.9


def test_labels_are_matched_by_name(world: World) -> None:
    release = world.release(30, 0, epsilon=4.0, shots=50)
    one = site_evidence(release, LABELS)
    two = site_evidence(release, ("c2", "other", "c0"))
    np.testing.assert_array_equal(two.means[[0, 2]], one.means[[2, 0]])
    assert two.present[1] == 0
