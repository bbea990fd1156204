"""Clusters of records without labels, added to a head that knows little."""

from __future__ import annotations

import numpy as np
import pytest

from wg_client.fitting.cluster_refinement import refine_by_clusters
from wg_client.fitting.linear_head import Floats, Ints, LinearHead

K, D = 4, 128


def _draw(counts: list[int], seed: int) -> tuple[Floats, Ints, Floats]:
    """Records around K means, their classes, and the means."""
    means = np.random.default_rng(5).normal(size=(K, D)) * 0.8
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), counts)
    return means[labels] + 0.7 * rng.normal(size=(len(labels), D)), labels, means


def _poor(means: Floats) -> LinearHead:
    """A head that sees the first few features, and means with noise."""
    seen = np.pad(means[:, :6], ((0, 0), (0, D - 6)))
    seen[:, :6] += np.random.default_rng(8).normal(size=(K, 6)) * 0.6
    return LinearHead(seen, -0.5 * (seen**2).sum(axis=1))


def _accuracy(head: LinearHead) -> float:
    x, labels, _ = _draw([200] * K, 99)
    return float((head.logits(x).argmax(axis=1) == labels).mean())


def _gain(counts: list[int]) -> float:
    """Accuracy that records without labels add, over five draws."""
    gains = []
    for seed in range(5):
        x, _, means = _draw(counts, seed)
        gains.append(_accuracy(refine_by_clusters(_poor(means), x)) - _accuracy(_poor(means)))
    return float(np.mean(gains))


def test_clusters_tell_what_the_head_does_not() -> None:
    assert _gain([40] * K) > 0.05


@pytest.mark.parametrize("counts", [[150, 4, 3, 3], [160, 0, 0, 0], [60, 60, 0, 0], [3] * K])
def test_a_plant_with_hardly_any_record_of_some_classes_loses_nothing(counts: list[int]) -> None:
    assert _gain(counts) > -0.01


def test_records_that_are_alike_and_a_single_one_change_nothing() -> None:
    _, _, means = _draw([1] * K, 1)
    head = _poor(means)
    for x in (np.ones((9, D)), np.ones((1, D))):
        assert refine_by_clusters(head, x) is head


def test_where_the_records_lie_does_not_matter_but_what_the_head_says() -> None:
    x, _, means = _draw([40] * K, 1)
    head = _poor(means)
    moved = LinearHead(head.weight, head.bias - head.weight @ np.full(D, 3.0))
    one, other = refine_by_clusters(head, x), refine_by_clusters(moved, x + 3.0)
    np.testing.assert_allclose(one.logits(x), other.logits(x + 3.0), atol=1e-8)
