"""Simulators of machines: seeds, sizes, sheets that can exist, and lines where the sheet says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import torch
from tests.bearings import GEARS, MOTOR
from torch import Tensor

from wg_common.machines import gearbox, motor
from wg_common.machines.base import HALF_BIN_COUNT, WINDOW_SAMPLES
from wg_common.machines.registry import MACHINE_KINDS
from wg_common.nets.spectrum_lines import ENVELOPE_BANDS, piece_inputs
from wg_core.wire.data_sheet import DataSheet, Gearbox, InductionMotor
from wg_server.generator.weights import gearbox_simulation, motor_simulation
from wg_server.generator.weights.simulators import SIMULATORS


def test_every_kind_has_a_simulator() -> None:
    assert {name: make(0).kind for name, make in SIMULATORS.items()} == MACHINE_KINDS


@pytest.mark.parametrize("name", SIMULATORS)
def test_machines_and_windows_are_drawn_by_their_seed(name: str) -> None:
    shops = [SIMULATORS[name](seed) for seed in (1, 1, 2)]
    one, two, other = (shop.draw_machines(60) for shop in shops)
    assert torch.equal(one.hidden_figures, two.hidden_figures) and not torch.equal(
        one.hidden_figures, other.hidden_figures
    )
    assert (
        one.hidden_figures.shape == (60, shops[0].hidden_figure_count)
        and one.hidden_figures.isfinite().all()
    )
    assert (
        one.hidden_figures.std(dim=0).mean() < 2 and one.hidden_figures.abs().mean() < 2
    )  # Of order 1
    few = [shop.draw_machines(3) for shop in shops[:2]]
    first, again = (shop.simulate_windows(m, 2) for shop, m in zip(shops[:2], few, strict=True))
    assert first.shape == (3, len(shops[0].kind.conditions), 2, WINDOW_SAMPLES)
    assert first.isfinite().all() and torch.equal(first, again)


def _stated(name: str, figures: Tensor) -> Iterator[DataSheet]:
    """Sheets that state simulated machines."""
    for row in figures.double().tolist():
        numbers = [Decimal(f"{value:.9g}") for value in row]
        if name == "gearbox":
            machine: Any = Gearbox(
                pinion_speed_rpm=numbers[0],
                sampling_hz=numbers[1],
                pinion_teeth=round(row[2]),
                gear_teeth=round(row[3]),
                load_percent=100 * numbers[4],
            )
        else:
            speed = 60 * row[0] / row[2] * (1 - row[3])
            machine = InductionMotor(
                supply_hz=numbers[0],
                sampling_hz=numbers[1],
                poles=2 * round(row[2]),
                shaft_speed_rpm=Decimal(f"{speed:.9g}"),
                load_percent=100 * numbers[4],
            )
        yield DataSheet(**{name: machine})


@pytest.mark.parametrize("name", ["gearbox", "induction_motor"])
def test_what_is_simulated_can_be_stated_and_is_no_stranger(name: str) -> None:
    figures = SIMULATORS[name](4).draw_machines(200).figures
    read_figures = torch.cat(
        [MACHINE_KINDS[name].read_figures(sheet) for sheet in _stated(name, figures)]
    )
    torch.testing.assert_close(read_figures, figures, rtol=1e-4, atol=1e-4)


def _line_heights(windows: Tensor, places: Tensor, band: int) -> Tensor:
    """Height of a line over its surroundings in the envelope spectrum of a band, ``[m, K]``.

    Args:
        windows: ``[m, K, n, WINDOW]``.
        places: Of the line in half bins, ``[m]``.
    """
    shape = windows.shape
    inputs = piece_inputs(windows.flatten(0, 2))[:, : len(ENVELOPE_BANDS) * HALF_BIN_COUNT]
    bands = inputs.reshape(*shape[:3], len(ENVELOPE_BANDS), HALF_BIN_COUNT)[:, :, :, band].mean(
        dim=2
    )
    rows, at = torch.arange(shape[0]), places.round().long()
    line = torch.stack([bands[rows, :, at + away] for away in (-1, 0, 1)]).amax(dim=0)
    return line - torch.stack([bands[rows, :, at + away] for away in (-6, 6)]).mean(dim=0)


def test_a_broken_bar_and_an_eccentric_rotor_have_their_lines() -> None:
    simulator = motor_simulation.MotorSimulator(3)
    machines = simulator.draw_machines(120)
    quiet = replace(
        machines,
        noise_deviation=machines.noise_deviation * 0,
        drift_deviation=machines.drift_deviation * 0,
    )
    windows = simulator.simulate_windows(quiet, 4)
    lines = 2 * motor.line_frequencies(machines.figures)
    clear = (lines[:, 2] > 10) & (lines[:, 1] > 40) & (lines[:, 1] < HALF_BIN_COUNT - 10)
    assert clear.sum() >= 5
    bars = _line_heights(windows, lines[:, 2].clamp(8, 370), 1)[clear].mean(dim=0)
    eccentric = _line_heights(windows, lines[:, 1].clamp(8, 370), 1)[clear].mean(dim=0)
    assert bars[1] > bars[[0, 2, 3]].max() + 0.3
    assert eccentric[2] > eccentric[[0, 1, 3]].max() + 0.3


def test_shorted_turns_raise_the_third_harmonic() -> None:
    simulator = motor_simulation.MotorSimulator(3)
    machines = simulator.draw_machines(20)
    power = torch.fft.rfft(
        simulator.simulate_windows(machines, 4) * torch.hann_window(WINDOW_SAMPLES)
    ).abs()
    third = (3 * machines.supply_periods).round().long()
    rows = torch.arange(20)
    heights = torch.stack([power[rows, :, :, third + away] for away in (-1, 0, 1)]).amax(dim=0)
    level = heights.log().mean(dim=(0, 2))
    assert level[3] > level[:3].max() + 1


def test_a_damaged_tooth_strikes_once_a_turn_of_its_shaft() -> None:
    simulator = gearbox_simulation.GearboxSimulator(3)
    machines = simulator.draw_machines(60)
    loud = replace(
        machines,
        impact_levels_db=torch.full_like(machines.impact_levels_db, 25.0),
        driven_impacts=torch.tensor([1.0, -80.0]).expand(60, 2),
    )
    windows = simulator.simulate_windows(loud, 4)
    turns = 2 * gearbox.line_frequencies(machines.figures)[:, :2]  # Half bins
    for shaft in (0, 1):
        places = 3 * turns[:, shaft]  # The third harmonic of its shaft
        clear = (places > 12) & (places < HALF_BIN_COUNT - 10)
        height = _line_heights(windows, places.clamp(8, 370), 0)[clear].mean(dim=0)
        assert height[1 + shaft] > height[[0, 3, 2 - shaft]].max() + 0.5


def test_wear_raises_the_second_harmonic_of_the_mesh_most() -> None:
    machines = gearbox_simulation.GearboxSimulator(3).draw_machines(200)
    assert (
        machines.wear_gains_db.mean(dim=0).argmax() == 1
        and (machines.wear_gains_db.mean(dim=0) > 1).all()
    )


def test_half_of_simulated_bearings_hum_in_every_condition() -> None:
    machines = SIMULATORS["rotating_machine"](1).draw_machines(400)
    humming = machines.magnetic_forces[:, 1] > 0
    assert 0.4 < humming.float().mean() < 0.6
    assert (machines.magnetic_forces[:, 2] > 0)[humming].float().mean() > 0.95
    assert torch.equal(
        machines.magnetic_forces[~humming, 1:3], torch.zeros(int((~humming).sum()), 2)
    )


def test_sheets_of_tests_state_machines_that_are_simulated() -> None:
    for name, machine in (("gearbox", GEARS), ("induction_motor", MOTOR)):
        assert MACHINE_KINDS[name].read_figures(DataSheet(**{name: machine})).shape[0] == 1  # type: ignore[arg-type]
