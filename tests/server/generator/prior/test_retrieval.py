from __future__ import annotations

import numpy as np
import pytest

from wg_server.generator.baselines import RIVALS, Context
from wg_server.generator.heads.generate import Generator
from wg_server.generator.prior import retrieval as zoo_memory
from wg_server.generator.prior.zoo_tasks import ZooTask


def test_a_copy_is_found_and_new_weights_are_not(
    generator: Generator, zoo_tasks: list[ZooTask]
) -> None:
    memory = generator.parts.memory
    rng = np.random.default_rng(0)
    for task in zoo_tasks[:5]:
        assert zoo_memory.novelty(memory, task.weight) < 1e-6
        near = task.weight + 0.02 * np.abs(task.weight).mean() * rng.normal(size=task.weight.shape)
        assert zoo_memory.novelty(memory, near) < 0.1
        assert zoo_memory.novelty(memory, rng.normal(size=task.weight.shape)) > 0.5


def test_distance_ignores_scale_and_order_of_classes(generator: Generator) -> None:
    second = generator.parts.memory.second.numpy().astype(np.float64)
    rng = np.random.default_rng(1)
    one, two = rng.normal(size=(2, 5, 16))
    expected = zoo_memory.distance(second, one, two)
    assert zoo_memory.distance(second, 3 * one[::-1], two) == pytest.approx(expected)
    assert zoo_memory.distance(second, one, one) == pytest.approx(0, abs=1e-12)
    assert 0 < expected <= 1


def test_retrieval_of_a_zoo_entry_is_its_weights(
    generator: Generator, zoo_tasks: list[ZooTask]
) -> None:
    parts = generator.parts
    rows = parts.memory.rows[parts.memory.task == 4].numpy()
    weight, _ = zoo_memory.retrieve(parts.memory, parts.priors, rows, neighbours=1)
    expected = zoo_tasks[4].weight - zoo_tasks[4].weight.mean(axis=0)
    cosine = (weight * expected).sum() / np.linalg.norm(weight) / np.linalg.norm(expected)
    assert cosine > 0.999


def test_every_rival_answers_with_a_finite_head(generator: Generator) -> None:
    from wg_common.inference.posterior import nothing
    from wg_server.generator.prior.conditioning import condition

    parts = generator.parts
    sites = [nothing(3, 16)]
    estimate = condition(parts.fitted_priors, sites)[1]
    context = Context(parts.priors, sites, estimate, parts.memory, np.random.default_rng(0))
    for rival in RIVALS.values():
        weight, bias = rival(context)
        assert weight.shape == (3, 16)
        assert np.isfinite(weight).all()
        assert np.isfinite(bias).all()
