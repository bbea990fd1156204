"""The copy test tells a planted memoriser from new weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wg_server.generator.evaluation import memorisation
from wg_server.generator.evaluation.memorisation import Calibration
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.weights.head_generation import Generator, SiteRelease, generate

if TYPE_CHECKING:
    from tests.server.generator.conftest import World

LABELS = ("c0", "c1", "c2", "c3")


@pytest.fixture(scope="module")
def calibration(generator: Generator, zoo_tasks: list[ZooTask]) -> Calibration:
    return memorisation.calibrate(generator.parts.zoo_index, zoo_tasks, np.random.default_rng(0))


def test_the_calibration_separates_copies_from_neighbours(calibration: Calibration) -> None:
    for border in (calibration.heads, calibration.rows):
        assert border.copies < border.value < border.others
        assert border.copies_found > 0.9
        assert border.others_found < 0.1


def test_a_planted_memoriser_is_found(
    generator: Generator, zoo_tasks: list[ZooTask], calibration: Calibration
) -> None:
    index, rng = generator.parts.zoo_index, np.random.default_rng(1)
    made = [
        memorisation.memorise(index, rng.normal(size=(4, 16)), calibration.noise, rng)
        for _ in range(30)
    ]
    found = memorisation.examine(index, calibration, made)
    assert found.heads_copied > 0.9
    assert found.rows_copied > 0.9
    exact = [memorisation.memorise(index, rng.normal(size=(4, 16)), 0.0, rng) for _ in range(5)]
    assert memorisation.examine(index, calibration, exact).heads_median == pytest.approx(
        0, abs=1e-6
    )


def test_weights_trained_on_families_outside_the_zoo_are_new(
    generator: Generator, world: World, calibration: Calibration
) -> None:
    index = generator.parts.zoo_index
    trained = [world.task(family, 0).weight.astype(np.float64) for family in range(40, 60)]
    found = memorisation.examine(index, calibration, trained)
    assert found.heads_copied == 0
    assert found.rows_copied < 0.1


def test_generated_weights_are_new(
    generator: Generator, world: World, calibration: Calibration
) -> None:
    heads = []
    for family in range(40, 46):
        own = world.release(family, 0, epsilon=4.0, shots=40)
        index = [SiteRelease("sister", world.release(family, 1, epsilon=4.0, shots=80))]
        made = generate(generator, own, index, LABELS)
        heads += [
            c.tensors["head.weight"].astype(np.float64)
            for c in made.candidates
            if c.source != "posterior"
            if c.source in ("network", "diffusion")
        ]
    found = memorisation.examine(generator.parts.zoo_index, calibration, heads)
    assert found.heads_copied < 0.1
    assert found.rows_copied < 0.1


def test_rows_put_together_from_many_entries_are_found(
    generator: Generator, zoo_tasks: list[ZooTask], calibration: Calibration
) -> None:
    index, rng = generator.parts.zoo_index, np.random.default_rng(2)
    rows = index.weights.numpy().astype(np.float64)
    mixed = [rows[rng.permutation(len(rows))[:4]] for _ in range(20)]
    found = memorisation.examine(index, calibration, [m - m.mean(axis=0) for m in mixed])
    assert found.heads_copied < 0.5  # no whole entry is copied
    assert found.rows_median < calibration.rows.others


def test_noise_is_matched_to_a_point_of_accuracy(zoo_tasks: list[ZooTask]) -> None:
    level = memorisation.matched_noise(zoo_tasks, np.random.default_rng(3))
    assert 0.02 <= level <= 0.2

    def right(noise: float) -> float:
        rng = np.random.default_rng(4)
        shares = []
        for task in zoo_tasks:
            weight = memorisation.add_noise(task.weight, noise, rng)
            logits = task.features @ weight.T + task.bias
            shares.append((logits.argmax(axis=1) == task.y).mean())
        return float(np.mean(shares))

    assert right(0) - right(level) < 0.02
    assert right(0) - right(2.0) > 0.02


def test_the_same_generator_gives_the_same_calibration(
    generator: Generator, zoo_tasks: list[ZooTask], calibration: Calibration
) -> None:
    again = memorisation.calibrate(generator.parts.zoo_index, zoo_tasks, np.random.default_rng(0))
    assert again == calibration
