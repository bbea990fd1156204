"""Training of soft sensors on simulated units, which are drawn anew in each step.

Each unit has windows whose true quantities are known, on which the network is trained, and further
records, which represent its plant: they standardise the readings, and the mean of their machine
features is the statistic. The statistic has the noise of a release; its number of records and its
epsilon are drawn at random. Some units have no statistic.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wg_common import streams
from wg_common.machines import process
from wg_common.nets.encoder.reading_map import ReadingMap
from wg_common.streams import Stream
from wg_server.generator.card_checks import CardCheck
from wg_server.generator.weights import machine_pool, machine_statistic
from wg_server.generator.weights.machine_statistic import (
    StatisticBatch,
    absent_statistics,
    simulate_releases,
)
from wg_server.generator.weights.process_simulation import PROCESS_SIMULATORS, ProcessSimulator
from wg_server.generator.weights.sensor_network import SensorModel, SensorNetwork
from wg_server.generator.weights.training import Evaluation

TEST_WINDOWS, PLANT_RECORDS, RELEASE_EPSILON = 60, 300, 1.0
"""Test windows and further records of each unit for a card, and epsilon of its release."""
INTERVAL_COVERAGE = 0.9
"""Nominal coverage of the prediction intervals."""
_UNITS_PER_STEP = 32
_WINDOWS_WITH_TRUTH, _WINDOWS_WITHOUT_TRUTH = (
    24,
    80,
)  # Windows of each unit with known truth, and further records
_STATISTIC_DROPOUT = 0.15  # Share of units without a statistic


@dataclass(frozen=True, slots=True, eq=False)
class SensorPlants:
    """Readings of m simulated process units, and of the records of their plants.

    Attributes:
        figures: Declared figures, ``[m, f]``.
        raw_readings: Readings of the windows with known truth, ``[m, n, R]``.
        standardised_readings: The same readings, standardised by the plant's records, ``[m, n,
            R]``.
        true_scores: True quantities of these windows as scores (scaled), ``[m, n, Q]``.
        record_readings: Readings of the plant's k records, ``[m, k, R]``.
    """

    figures: Tensor
    raw_readings: Tensor
    standardised_readings: Tensor
    true_scores: Tensor
    record_readings: Tensor

    def simulate_releases(
        self, reading_map: ReadingMap, epsilon: float, generator: torch.Generator
    ) -> StatisticBatch:
        """Return the statistics that the plants release at an epsilon; 0: without noise."""
        count, records = self.record_readings.shape[:2]
        noises = torch.tensor(machine_statistic.sum_and_count_noise_deviations(epsilon)).expand(
            count, 2
        )
        means = reading_map(self.record_readings).mean(dim=1)
        return simulate_releases(means, torch.full((count,), float(records)), noises, generator)


@torch.no_grad()
def draw_sensor_plants(
    simulator: ProcessSimulator,
    unit_count: int,
    known_window_count: int,
    unlabelled_record_count: int,
) -> SensorPlants:
    """Draw units, each with windows of known truth, and with unlabelled records of its plant."""
    units = simulator.draw_units(unit_count)
    windows = simulator.simulate_windows(units, known_window_count + unlabelled_record_count)
    readings = simulator.unit.unit_readings(windows.displayed_values, units.figures)
    truths = simulator.unit.quantity_scale(units.figures).score(windows.true_quantities)
    plain, other_readings = readings[:, :known_window_count], readings[:, known_window_count:]
    return SensorPlants(
        units.figures,
        plain,
        process.standardise_readings(plain, other_readings),
        truths[:, :known_window_count],
        other_readings,
    )


def process_simulator(unit_kind: str, seed: int, stream: Stream) -> ProcessSimulator:
    """Return the simulator of a kind of process unit, seeded for one random stream."""
    return PROCESS_SIMULATORS[unit_kind](
        int(streams.stream_generator(stream, seed).integers(1 << 62))
    )


class SensorObjective:
    """Training objective of the soft sensors for one kind of process unit.

    Attributes:
        model: Model that is trained.

    Args:
        unit_kind: Name of the kind of process unit.
        reading_map: Frozen reading map; None: a map is trained with the network.
        validation_units: Number of validation units.
        seed: Seed of parameters, units and noise.
    """

    def __init__(
        self, unit_kind: str, reading_map: ReadingMap | None, validation_units: int, seed: int
    ) -> None:
        learns = reading_map is None
        step_stream, judged_stream = (
            (Stream.MAP_STEP, Stream.MAP_VALIDATION)
            if learns
            else (Stream.SHEET_STEP, Stream.SHEET_VALIDATION)
        )
        self._simulator, self._seed = process_simulator(unit_kind, seed, step_stream), seed
        self.model = SensorModel(SensorNetwork(self._simulator.unit), reading_map, seed)
        if learns:
            public = draw_sensor_plants(
                self._simulator, 200, 0, _WINDOWS_WITHOUT_TRUTH
            ).record_readings.flatten(0, 1)
            self.model.map.centre.copy_(public.mean(dim=0))
            self.model.map.spread.copy_(public.std(dim=0).clamp(min=1e-3))
        self._validation = draw_sensor_plants(
            process_simulator(unit_kind, seed, judged_stream),
            validation_units,
            _WINDOWS_WITH_TRUTH,
            _WINDOWS_WITHOUT_TRUTH,
        )

    def loss(self, step: int) -> Tensor:
        """Return the training loss of a step."""
        plants, statistics = self.draw_batch(step)
        scores = self.model.network(plants.standardised_readings, plants.figures, statistics)
        return F.smooth_l1_loss(scores, plants.true_scores)

    def evaluate(self, model: SensorModel) -> Evaluation:
        """Return the validation loss; the accuracy is R², the variance explained within units."""
        plants = self._validation
        statistics = plants.simulate_releases(
            model.map, RELEASE_EPSILON, torch.Generator().manual_seed(self._seed)
        )
        errors = (
            model.network(plants.standardised_readings, plants.figures, statistics)
            - plants.true_scores
        )
        within = plants.true_scores - plants.true_scores.mean(dim=1, keepdim=True)
        r2 = 1 - errors.square().mean() / within.square().mean()
        return Evaluation(float(errors.square().mean()), float(r2))

    def draw_batch(self, step: int) -> tuple[SensorPlants, StatisticBatch]:
        """Draw the plants of a step, and their statistics for random record counts and epsilons."""
        generator = torch.Generator().manual_seed(self._seed + step)
        plants = draw_sensor_plants(
            self._simulator, _UNITS_PER_STEP, _WINDOWS_WITH_TRUTH, _WINDOWS_WITHOUT_TRUTH
        )
        records, noises = machine_pool.draw_record_counts_and_noises(_UNITS_PER_STEP, generator)
        means = self.model.map(plants.record_readings).mean(dim=1)
        present = torch.rand(_UNITS_PER_STEP, generator=generator) >= _STATISTIC_DROPOUT
        statistics = simulate_releases(means, records, noises, generator)
        return plants, statistics._replace(presence_mask=present.float())


@torch.inference_mode()
def calibrate_and_evaluate(model: SensorModel, unit_count: int, seed: int) -> dict[str, Any]:
    """Calibrate a trained network's prediction intervals on unseen units; return its model card.

    Half of the ``unit_count`` units set the half widths; the coverage is measured on the others.
    """
    unit, generator = model.network.unit, torch.Generator().manual_seed(seed)
    plants = draw_sensor_plants(
        process_simulator(unit.name, seed, Stream.SHEET_TEST),
        unit_count,
        TEST_WINDOWS,
        PLANT_RECORDS,
    )
    statistics = plants.simulate_releases(model.map, RELEASE_EPSILON, generator)
    conditions = {
        "sheet and statistic": statistics,
        "another unit's statistic": statistics.shift_to_next_machine(),
        "sheet alone": absent_statistics(unit_count),
    }
    errors = {
        name: model.network(plants.standardised_readings, plants.figures, condition)
        - plants.true_scores
        for name, condition in conditions.items()
    }
    own_errors, sheet_errors = errors["sheet and statistic"], errors["sheet alone"]
    half = unit_count // 2
    widths = own_errors[:half].abs().flatten(0, 1).quantile(INTERVAL_COVERAGE, dim=0)
    model.network.half_width.copy_(widths)
    scales = torch.tensor([quantity.log_ratio_factor for quantity in unit.quantities])
    savings = sheet_errors.square().mean(dim=(1, 2)) - own_errors.square().mean(dim=(1, 2))
    sure = float(savings.mean() - 2 * savings.std() / math.sqrt(unit_count))
    check = CardCheck(
        name=f"{unit.name}: error variance that a statistic saves, less 2 errors",
        value=sure / float(sheet_errors.square().mean()),
        bound=0.0,
    )
    names = [f"{quantity.name}, %" for quantity in unit.quantities]
    return {
        "kind": unit.name,
        "units": unit_count,
        "records": PLANT_RECORDS,
        "error": {
            name: dict(
                zip(
                    names,
                    (100 * part.square().mean(dim=(0, 1)).sqrt() / scales).tolist(),
                    strict=True,
                )
            )
            for name, part in errors.items()
        },
        "coverage": float((own_errors[half:].abs() <= widths).float().mean()),
        "checks": [check.to_document()],
    }


def card_text_lines(card: Mapping[str, Any]) -> list[str]:
    """Format a soft sensor's model card in a few lines."""
    return [
        f"{card['kind']}: soft sensors at {card['units']} units never seen, {card['records']}"
        f" records, epsilon {RELEASE_EPSILON:g}; intervals of {INTERVAL_COVERAGE:.0%} hold"
        f" {card['coverage']:.0%}:",
        *(
            f"  {name}: " + "; ".join(f"{key} {value:.2f}" for key, value in errors.items())
            for name, errors in card["error"].items()
        ),
    ]
