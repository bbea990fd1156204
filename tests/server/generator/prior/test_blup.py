from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wg_common.inference.posterior import SiteEvidence, no_evidence
from wg_server.generator.prior import blup
from wg_server.generator.prior.class_names import fit_public_priors
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.prior.zoo_tasks import ZooTask

if TYPE_CHECKING:
    from tests.server.generator.conftest import World

LABELS = ("c0", "c1", "c2", "c3")


@pytest.fixture(scope="module")
def priors(zoo_tasks: list[ZooTask]) -> blup.ModelVariances:
    return fit_public_priors(zoo_tasks).model_variances


def _reference(
    priors: blup.ModelVariances, sites: list[SiteEvidence], coordinate: int
) -> tuple[float, np.ndarray]:
    """Condition a joint Gaussian on all observations, one coordinate, the obvious way."""
    s, k = len(sites), len(sites[0].record_counts)
    t, g = priors.between[coordinate], priors.site[coordinate]
    size = s + k + s * k  # g_m, delta_k, eta_mk
    prior = np.diag([g] * s + [t] * k + [blup.SITE_VARIANCE_RATIO * t] * (s * k))
    rows, values, noise = [], [], []
    for m, site in enumerate(sites):
        means = site.means @ priors.basis
        for c in range(k):
            if site.presence_probabilities[c] <= 1e-3:
                continue
            row = np.zeros(size)
            row[m] = row[s + c] = row[s + k + m * k + c] = 1
            rows.append(row)
            values.append(means[c, coordinate])
            noise.append(
                (site.noise_variances[c] + priors.within[coordinate] / site.record_counts[c])
                / site.presence_probabilities[c]
            )
    a = np.array(rows)
    gain = prior @ a.T @ np.linalg.inv(a @ prior @ a.T + np.diag(noise))
    u = gain @ np.array(values)
    return float(u[0]), u[s : s + k] + u[s + k : s + k + k]


def test_prediction_is_the_conditional_mean(priors: blup.ModelVariances, world: World) -> None:
    releases = [
        world.release(30, 0, epsilon=8.0, shots=20, missing=(3,)),
        world.release(30, 1, epsilon=4.0, shots=40),
    ]
    sites = [site_evidence(r, LABELS) for r in releases]
    bare = [
        SiteEvidence(
            s.means,
            s.noise_variances,
            s.record_counts,
            s.presence_probabilities,
            s.overall_mean,
            np.inf,
            1.0,
        )
        for s in sites
    ]
    found = blup.predict_class_means(priors, bare)
    for coordinate in (0, 7, 15):
        centre, deviations = _reference(priors, bare, coordinate)
        assert found.centre @ priors.basis[:, coordinate] == pytest.approx(centre, abs=1e-8)
        np.testing.assert_allclose(
            found.deviations @ priors.basis[:, coordinate], deviations, atol=1e-8
        )


def test_without_evidence_nothing_is_predicted(priors: blup.ModelVariances) -> None:
    found = blup.predict_class_means(priors, [no_evidence(3, 16)])
    np.testing.assert_allclose(found.deviations, 0, atol=1e-12)
    np.testing.assert_allclose(found.centre, 0, atol=1e-12)


def test_exact_statistics_give_exact_means(world: World) -> None:
    x, y = world.records(30, 0, 4, 50, 1)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1)  # as the release clips
    evidence = site_evidence(world.release(30, 0, epsilon=None, shots=50), LABELS)
    means = np.stack([x[y == c].mean(axis=0) for c in range(4)])
    np.testing.assert_allclose(evidence.means, means, atol=2e-4)
    np.testing.assert_allclose(evidence.presence_probabilities, 1)
    np.testing.assert_allclose(evidence.record_counts, 50)


def test_a_missing_class_is_noticed_when_noise_allows(world: World) -> None:
    release = world.release(30, 0, epsilon=8.0, shots=400, missing=(2,))
    present = site_evidence(release, LABELS).presence_probabilities
    assert present[2] < 0.1
    assert present[[0, 1, 3]].min() > 0.9


def test_labels_are_matched_by_name(world: World) -> None:
    release = world.release(30, 0, epsilon=4.0, shots=50)
    one = site_evidence(release, LABELS)
    two = site_evidence(release, ("c2", "other", "c0"))
    np.testing.assert_array_equal(two.means[[0, 2]], one.means[[2, 0]])
    assert two.presence_probabilities[1] == 0
