"""Process units: balances that close, instruments that do not, a network that knows both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from bench import soft_sensors
from tests.tutorial import blocks
from torch import Tensor

from wg_common.machines import process
from wg_common.machines.registry import PROCESS_UNITS
from wg_common.nets import process_sensor
from wg_core.errors import ConfigError, DataError, DecodeError
from wg_core.wire.data_sheet import DataSheet, HeatExchanger
from wg_server.generator.weights import data_sheet_generation, sensor_training, training
from wg_server.generator.weights.data_sheet_generation import DataSheetGenerator
from wg_server.generator.weights.process_simulation import (
    PROCESS_SIMULATORS,
    ProcessSimulator,
    SimulatedUnits,
)
from wg_server.generator.weights.sensor_training import SensorObjective
from wg_server.generator.weights.training import TrainingSchedule

SHEET = {
    "hot_flow_m3_per_h": 20,
    "cold_flow_m3_per_h": 12,
    "hot_heat_capacity_kj_per_m3_k": 2100,
    "cold_heat_capacity_kj_per_m3_k": 4100,
    "hot_inlet_c": 90,
    "cold_inlet_c": 20,
    "conductance_kw_per_k": 15,
    "hot_pressure_drop_kpa": 40,
    "sample_seconds": 60,
}


_PLAIN = 28  # Readings before those of the balances


@pytest.fixture(params=PROCESS_SIMULATORS)
def shop(request: pytest.FixtureRequest) -> ProcessSimulator:
    return PROCESS_SIMULATORS[request.param](1)


def _perfect(units: SimulatedUnits) -> SimulatedUnits:
    zero = torch.zeros_like(units.gain)
    return replace(
        units,
        figure_offsets=torch.zeros_like(units.figure_offsets),
        gain=zero + 1,
        bias=zero,
        bias_drift=zero,
        window_error_deviation=zero,
        sample_error_deviation=zero,
    )


def _balances(shop: ProcessSimulator, units: SimulatedUnits) -> tuple[Tensor, Tensor]:
    windows = shop.simulate_windows(units, 40)
    readings = shop.unit.unit_readings(windows.displayed_values, units.figures)
    return readings[..., _PLAIN:], shop.unit.quantity_scale(units.figures).score(
        windows.true_quantities
    )


def test_the_duty_of_perfect_instruments_is_that_of_the_balances(shop: ProcessSimulator) -> None:
    balances, truths = _balances(shop, _perfect(shop.draw_units(50)))
    for place in (0, 1):
        errors = (balances[..., place] - truths[..., 0]).abs()
        assert errors.quantile(0.99) < 0.01
    assert truths[..., 0].std() > 0.5


def test_faulty_instruments_open_balances(shop: ProcessSimulator) -> None:
    units = shop.draw_units(200)
    balances, truths = _balances(shop, units)
    errors = (balances[..., 0] - truths[..., 0]).square().mean(dim=1)
    care = (units.gain - 1).abs().mean(dim=1)
    loose = care > care.median()
    assert errors[loose].median() > 2 * errors[~loose].median()


def test_units_and_windows_are_drawn_by_their_seed(shop: ProcessSimulator) -> None:
    other = PROCESS_SIMULATORS[shop.unit.name](1)
    one, two = shop.draw_units(5), other.draw_units(5)
    first, again = (s.simulate_windows(u, 8) for s, u in ((shop, one), (other, two)))
    assert (
        torch.equal(first.displayed_values, again.displayed_values)
        and first.displayed_values.isfinite().all()
    )
    assert first.displayed_values.shape[2] == len(shop.unit.channels)
    assert shop.unit.figure_features(one.figures).shape == (5, shop.unit.figure_feature_count)


def test_scores_become_values_again(shop: ProcessSimulator) -> None:
    units = shop.draw_units(5)
    truths = shop.simulate_windows(units, 40).true_quantities
    scale = shop.unit.quantity_scale(units.figures)
    assert torch.allclose(scale.value(scale.score(truths)), truths, rtol=1e-4)


def test_readings_do_not_depend_on_the_size_of_a_vessel() -> None:
    shop = PROCESS_SIMULATORS["stirred_vessel"](3)
    units = shop.draw_units(4)
    values = shop.simulate_windows(units, 40).displayed_values
    large, larger = units.figures.clone(), values.clone()
    large[:, [0, 1, 4, 5]] *= 7
    larger[:, :, [0, 1, 6]] *= 7
    small, same = (
        shop.unit.unit_readings(values, units.figures),
        shop.unit.unit_readings(larger, large),
    )
    assert torch.allclose(small, same, atol=1e-2)


def test_readings_are_standardised_by_the_records_of_their_own_unit() -> None:
    records = torch.randn(2, 500, 6) @ torch.randn(6, 6) + 3
    rows = process.standardise_readings(records, records)
    assert rows.mean(dim=1).abs().max() < 1e-4 and (rows.std(dim=1) <= 1).all()


def test_every_simulated_unit_can_be_stated(shop: ProcessSimulator) -> None:
    for row in shop.draw_units(100).figures:
        for (name, low, high), value in zip(
            shop.unit.figure_limits, shop.unit.limited_figures(row), strict=True
        ):
            assert low * 0.999 <= float(value) <= high * 1.001, name


def _sheet(**changes: object) -> DataSheet:
    return DataSheet(heat_exchanger=HeatExchanger(**(SHEET | changes)))  # type: ignore[arg-type]


def test_a_unit_unlike_all_that_are_simulated_is_refused() -> None:
    unit = PROCESS_UNITS["heat_exchanger"]
    assert unit.read_figures(_sheet()).shape == (1, len(unit.figure_names))
    with pytest.raises(ConfigError, match="conductance over the lesser"):
        unit.read_figures(_sheet(conductance_kw_per_k=150))
    with pytest.raises(DecodeError, match="exchange the fluids"):
        _sheet(hot_inlet_c=15)


def test_a_condition_is_folded_into_the_network_of_a_plant() -> None:
    unit = PROCESS_UNITS["heat_exchanger"]
    model = SensorObjective(unit.name, None, 2, 1).model
    plants = sensor_training.draw_sensor_plants(PROCESS_SIMULATORS[unit.name](5), 1, 7, 20)
    statistics = plants.simulate_releases(model.map, 1.0, torch.Generator().manual_seed(1))
    wanted = model.network(plants.standardised_readings, plants.figures, statistics)[0]
    tensors = model.network.package_tensors(plants.figures, statistics)
    simulator = PROCESS_SIMULATORS[unit.name](5)
    windows = simulator.simulate_windows(simulator.draw_units(1), 3)
    records = windows.displayed_values[0].numpy()
    sensor = process_sensor.rebuild_sensor(unit, plants.figures, tensors, records)
    scores = sensor.network(plants.standardised_readings[0])
    assert torch.allclose(scores, wanted, atol=1e-5)
    with pytest.raises(DecodeError, match="tensors"):
        process_sensor.rebuild_sensor(
            unit, plants.figures, tensors | {"more": tensors["half_width"]}, records
        )
    with pytest.raises(DataError, match="7 instruments and 24 samples"):
        sensor.readings_and_scores(torch.from_numpy(records[:, :, 1:]))


@pytest.mark.parametrize("frozen", [False, True])
def test_a_trained_network_is_judged_packed_and_made_for_a_sheet(frozen: bool) -> None:
    kind = "heat_exchanger"
    objective = SensorObjective(kind, None, 4, 1)
    if frozen:
        objective = SensorObjective(kind, objective.model.map, 4, 2)
    before, first = (
        float(objective.loss(0).detach()),
        objective.model.map.state_dict()["layers.0.weight"].clone(),
    )
    schedule = TrainingSchedule(
        steps=8, learning_rate=2e-2, average_decay=0.5, steps_per_evaluation=8
    )
    training.train_module(objective, schedule, lambda *_: None)
    with torch.inference_mode():
        assert float(objective.loss(9)) < before
    assert torch.equal(objective.model.map.state_dict()["layers.0.weight"], first) is frozen
    card = sensor_training.calibrate_and_evaluate(objective.model, 10, 1)
    assert len(sensor_training.card_text_lines(card)) == 4 and 0 < card["coverage"] <= 1
    generator = DataSheetGenerator({}, {kind: objective.model.network})
    again = data_sheet_generation.unpack_sheet_generator(
        data_sheet_generation.pack_sheet_generator(generator)
    )
    one, two = (each.generate_soft_sensor(_sheet(), None).tensors for each in (generator, again))
    assert all((one[name] == two[name]).all() for name in one)
    assert again.uses_statistic(_sheet()) and (one["half_width"] > 0).all()


def test_the_unit_of_the_page_is_trained_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    for block in blocks("soft-sensors", "python")[1:]:
        exec(compile(block, "docs/soft-sensors.md", "exec"), names)
    monkeypatch.setitem(PROCESS_SIMULATORS, "pump_line", names["Pumps"])
    windows = names["Pumps"](1).simulate_windows(names["Pumps"](1).draw_units(3), 4)
    assert (
        windows.displayed_values.shape == (3, 4, 3, process.WINDOW_SAMPLES)
        and windows.displayed_values.isfinite().all()
    )
    objective = SensorObjective("pump_line", None, 4, 1)
    before = float(objective.loss(0).detach())
    schedule = TrainingSchedule(
        steps=40, learning_rate=5e-3, average_decay=0.5, steps_per_evaluation=40
    )
    training.train_module(objective, schedule, lambda *_: None)
    with torch.inference_mode():
        assert float(objective.loss(9)) < before
    assert (
        "efficiency, %"
        in sensor_training.calibrate_and_evaluate(objective.model, 10, 1)["error"]["sheet alone"]
    )


def test_the_bench_trains_every_rival_and_prints_its_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(soft_sensors, "UNITS", 12)
    monkeypatch.setattr(soft_sensors, "UNITS_BY_LABELS", {5: 2, 20: 2})
    objective = soft_sensors.Objective("heat_exchanger", 1)
    training.train_module(objective, TrainingSchedule(steps=2), lambda *_: None)
    with torch.inference_mode():
        rows = soft_sensors.unseen_unit_errors(objective.model, 1)
        assert rows["ridge on 100 values"].mean() < 0.5 * rows[soft_sensors.MEAN].mean()
        assert list(soft_sensors.quantity_table(objective.model.unit, rows))
        assert list(soft_sensors.selected_table(objective.model, 1))
