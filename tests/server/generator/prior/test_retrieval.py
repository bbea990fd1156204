from __future__ import annotations

import numpy as np
import pytest

from wg_server.generator.prior import retrieval
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.weights.head_generation import Generator


def test_a_copy_is_found_and_new_weights_are_not(
    generator: Generator, zoo_tasks: list[ZooTask]
) -> None:
    index = generator.parts.zoo_index
    rng = np.random.default_rng(0)
    for task in zoo_tasks[:5]:
        assert retrieval.novelty(index, task.weight) < 1e-6
        near = task.weight + 0.02 * np.abs(task.weight).mean() * rng.normal(size=task.weight.shape)
        assert retrieval.novelty(index, near) < 0.1
        assert retrieval.novelty(index, rng.normal(size=task.weight.shape)) > 0.5


def test_distance_ignores_scale_and_order_of_classes(generator: Generator) -> None:
    second = generator.parts.zoo_index.second.numpy().astype(np.float64)
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=(2, 5, 16))
    expected = retrieval.distance(second, one, two)
    assert retrieval.distance(second, 3 * one[::-1], two) == pytest.approx(expected)
    assert retrieval.distance(second, one, one) == pytest.approx(0, abs=1e-12)
    assert 0 < expected <= 1


def test_retrieval_of_a_zoo_entry_is_its_weights(
    generator: Generator, zoo_tasks: list[ZooTask]
) -> None:
    parts = generator.parts
    rows = parts.zoo_index.rows[parts.zoo_index.task == 4].numpy()
    weight, _ = retrieval.retrieve(parts.zoo_index, parts.priors, rows, neighbours=1)
    expected = zoo_tasks[4].weight - zoo_tasks[4].weight.mean(axis=0)
    cosine = (weight * expected).sum() / np.linalg.norm(weight) / np.linalg.norm(expected)
    assert cosine > 0.999
