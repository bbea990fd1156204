"""Training for machines: pools and plants, the reading map, the objective, the card."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch

from wg_common.machines import bearing
from wg_common.machines.registry import READABLE_KINDS
from wg_common.nets import spectrum_lines
from wg_common.nets.encoder.reading_map import ReadingMap, window_readings
from wg_server.generator.weights import (
    bearing_simulation,
    data_sheet_card,
    machine_pool,
    machine_test_set,
    reading_map_training,
    training,
)
from wg_server.generator.weights.machine_networks import NetworkSizes, initialise_parameters
from wg_server.generator.weights.machine_pool import LABELLED_WINDOWS, MachinePool
from wg_server.generator.weights.machine_test_set import EVEN_MIXTURE, MOSTLY_SOUND, MachineTestSet
from wg_server.generator.weights.machine_training import MachineObjective, SimulatedMachineCounts
from wg_server.generator.weights.training import TrainingSchedule
from wg_server.zoo.plan import SourcePlan, ZooPlan
from wg_server.zoo.workers import open_workers

SMALL = SimulatedMachineCounts(per_step=4, pool=8, renewals_per_step=1, validation=4, test=4)
SIZES = NetworkSizes(latent=3, rank=2, hidden=16)
KIND = bearing.MACHINE_KIND.name
SOURCE = SourcePlan(kind="procedural-windows", families=1, per_class=8)


@cache
def untrained_map() -> ReadingMap:
    reading_map = ReadingMap(bearing.MACHINE_KIND).eval()
    initialise_parameters(reading_map, torch.Generator().manual_seed(0))
    return reading_map


@cache
def trial(count: int = 4) -> MachineTestSet:
    return machine_test_set.draw_test_set(
        bearing_simulation.BearingSimulator(7), untrained_map(), count
    )


def test_a_pool_replaces_its_oldest_machines() -> None:
    pool = MachinePool(bearing_simulation.BearingSimulator(1), 5, 2)
    before = pool.machines.figures.clone()
    generator = torch.Generator().manual_seed(0)
    renewed = []
    for _ in range(3):
        pool.next_batch(4, generator)
        renewed.append((pool.machines.figures != before).any(dim=1).tolist())
    assert [sum(flags) for flags in renewed] == [2, 4, 5]


def test_plants_standardise_by_their_own_mixture() -> None:
    machines = machine_pool.draw_pooled_machines(bearing_simulation.BearingSimulator(2), 12)
    batch = machine_pool.batch_with_plants(machines, torch.Generator().manual_seed(3))
    assert batch.labels.shape == batch.inputs_by_scaling["raw"].inputs.shape[:2]
    torch.testing.assert_close(batch.condition_shares.sum(dim=1), torch.ones(12))
    mean = torch.einsum("mk,mki->mi", batch.condition_shares, machines.input_means)
    square = torch.einsum("mk,mki->mi", batch.condition_shares, machines.input_mean_squares)
    spread = (square - mean.square()).clamp(min=0).sqrt()
    expected = spectrum_lines.standardise_inputs(
        batch.inputs_by_scaling["raw"].inputs, mean[:, None], spread[:, None]
    )
    torch.testing.assert_close(batch.inputs_by_scaling["standardised"].inputs, expected)
    chosen = machines.labelled_inputs.float()[:, 0]
    assert (batch.inputs_by_scaling["raw"].inputs[:, 0, None] == chosen).all(dim=2).any(dim=1).all()
    assert chosen.shape[1] == LABELLED_WINDOWS


def test_mixtures_are_mostly_sound_as_plants_are() -> None:
    shares = machine_pool.draw_condition_shares(4000, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4000))
    alone = (shares[:, 0] == 1).float().mean()
    none = (shares[:, 0] == 0).float().mean()
    # Within four standard errors of a twentieth.
    assert abs(alone - 0.05) < 0.014 and abs(none - 0.05) < 0.014
    assert shares[:, 0].mean() > 0.5


def test_a_trial_weighs_records_by_the_mixture() -> None:
    drawn = trial()
    assert set(drawn.plants) == {MOSTLY_SOUND, EVEN_MIXTURE}
    rate = drawn.accuracies(torch.nn.functional.one_hot(drawn.labels, 4).float().expand(4, -1, -1))
    torch.testing.assert_close(rate, torch.ones(4))
    mostly, even = drawn.plants[MOSTLY_SOUND], drawn.plants[EVEN_MIXTURE]
    assert not torch.allclose(mostly.input_means, even.input_means)
    sound = drawn.test_inputs.float()[:, : machine_test_set.TEST_WINDOWS].mean(dim=1)
    distance = [(plants.input_means - sound).square().mean() for plants in (mostly, even)]
    assert distance[0] < distance[1], "sound windows are nearer to a plant that is mostly sound"
    numbers = mostly.simulate_releases(0.0, torch.Generator()).means
    torch.testing.assert_close(numbers, mostly.feature_means)


def test_a_reading_map_learns_to_tell_machines_apart() -> None:
    objective = reading_map_training.ReadingMapObjective(KIND, SIZES, SMALL, seed=1)
    before = copy.deepcopy(objective.model.map.state_dict())
    training.train_module(
        objective, TrainingSchedule(steps=3, steps_per_evaluation=3), lambda *_: None
    )
    after = objective.model.map.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    frozen = ("centre", "spread")
    assert all(torch.equal(after[name], before[name]) for name in frozen)


def test_maps_of_all_kinds_are_trained_by_seed() -> None:
    def train(seed: int, *kinds: str) -> dict[str, Any]:
        plan = ZooPlan(seed=seed, architecture="window-head", sources=(SOURCE,), machine_steps=1)
        maps = reading_map_training.train_reading_maps(
            replace(plan, machines=kinds), pool, lambda *_: None, SMALL
        )
        return {name: part.state_dict() for name, part in maps.items()}

    with open_workers(1) as pool:
        one, other = train(1), train(2)
    with open_workers(2) as pool:
        again = train(1)
    assert list(one) == list(READABLE_KINDS)
    for kind, tensors in one.items():
        torch.testing.assert_close(dict(again[kind]), dict(tensors), rtol=0, atol=0)
    with open_workers(1) as pool:
        assert list(train(1, KIND)) == [KIND]
    weight = "layers.0.weight"
    assert not torch.equal(one[KIND][weight], other[KIND][weight])


def test_a_short_training_learns_what_sheets_say() -> None:
    draws = SimulatedMachineCounts(per_step=8, pool=60, renewals_per_step=2, validation=8)
    objective = MachineObjective(
        KIND, untrained_map(), NetworkSizes(width=16, rank=4, hidden=16), draws, 1
    )
    schedule = TrainingSchedule(
        steps=60, learning_rate=4e-3, average_decay=0.9, steps_per_evaluation=60
    )
    training.train_module(objective, schedule, lambda *_: None)
    generator, card = data_sheet_card.select_networks(objective.model, trial(16), seed=1)
    assert generator.shipped_kinds == card["ships"]
    for mixture in (MOSTLY_SOUND, EVEN_MIXTURE):
        accuracy = card["accuracy"][mixture]["1"]
        made = accuracy["sheet and statistic, raw"]
        assert made > accuracy["another machine's sheet, raw"] + 0.05
        assert made > accuracy["fixed network, raw"]
    assert any("template network" in line for line in data_sheet_card.card_text_lines(card))


def test_readings_of_a_record_do_not_depend_on_others() -> None:
    inputs = trial().test_inputs.float()
    every = window_readings(inputs, trial().templates)
    single = window_readings(inputs[:, 3:4], trial().templates)
    torch.testing.assert_close(every[:, 3:4], single)


@pytest.mark.parametrize(
    ("gain", "ships"), [(0.03, "conditioned"), (0.0, "template"), (-0.02, "template")]
)
def test_the_template_network_ships_unless_the_made_one_is_clearly_better(
    monkeypatch: pytest.MonkeyPatch, gain: float, ships: str
) -> None:
    made = data_sheet_card.card_row_name(data_sheet_card.SHEET_AND_STATISTIC, "standardised")
    template = data_sheet_card.card_row_name(data_sheet_card.TEMPLATE, "standardised")
    noise = torch.linspace(-0.01, 0.01, 50)

    def measure(*_: Any) -> dict[str, torch.Tensor]:
        rows = AllAlike(torch.full((50,), 0.5))
        rows[made], rows[template] = 0.7 + gain + noise, torch.full((50,), 0.7)
        return rows

    monkeypatch.setattr(data_sheet_card, "measure_method_accuracies", measure)
    objective = MachineObjective(KIND, untrained_map(), SIZES, SMALL, 1)
    generator, card = data_sheet_card.select_networks(objective.model, trial(), seed=1)
    assert generator.shipped_kinds == card["ships"] == {"raw": "template", "standardised": ships}
    worth = card["made over template"]["standardised"]
    assert worth["gain"] == pytest.approx(gain, abs=1e-6)


class AllAlike(dict[str, torch.Tensor]):
    """Rows of a card, of which those that nobody sets are one."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = value

    def __missing__(self, _: str) -> torch.Tensor:
        return self.value


def test_short_trainings_draw_small_pools_and_long_ones_what_is_asked() -> None:
    assert [SMALL.with_pool_for_steps(steps).pool for steps in (4, 800)] == [5, SMALL.pool]


def test_a_card_fails_by_the_worse_mixture_and_by_collapsed_samples() -> None:
    good, bad = ({"gain": 0.5, "error": error} for error in (0.01, 0.3))
    pairs = (data_sheet_card.FIXED_NETWORK_COMPARISON, data_sheet_card.OTHER_SHEET_COMPARISON)
    card = {
        "kind": KIND,
        "ships": {"raw": "conditioned", "standardised": "template"},
        "worth": {
            EVEN_MIXTURE: dict.fromkeys(pairs, good),
            MOSTLY_SOUND: {pairs[0]: bad, pairs[1]: good},
        },
        "spread": 0.01,
    }
    assert [check.passed for check in data_sheet_card.card_checks(card)] == [False, True, False]
    assert len(data_sheet_card.card_checks({**card, "ships": {"raw": "template"}})) == 2
