"""Simulated bearings: damages have their lines, and machines are drawn by their seed."""

from __future__ import annotations

from dataclasses import replace

import torch

from wg_common.machines.base import HALF_BIN_COUNT
from wg_common.nets.spectrum_lines import piece_inputs
from wg_server.generator.weights import bearing_simulation as simulation


def test_a_simulated_damage_has_its_line() -> None:
    simulator = simulation.BearingSimulator(3)
    machines = simulator.draw_machines(60)
    loud = replace(
        machines,
        severity_db=torch.full_like(machines.severity_db, 25.0),
        impact_properties=torch.tensor([0.0, 0.9, 0.0, 0.0, 0.1]).expand(60, 5),
    )
    windows = simulator.simulate_windows(loud, 4)
    inputs = (
        piece_inputs(windows.flatten(0, 2)).reshape(60, 4, 4, -1)[..., :HALF_BIN_COUNT].mean(dim=2)
    )
    outer = (2 * machines.line_rates[:, 4]).round().long()
    rows = torch.arange(60)
    clear = (outer > 8) & (outer < HALF_BIN_COUNT - 30)
    line = torch.stack([inputs[rows, :, outer + away] for away in (-1, 0, 1)]).amax(dim=0)
    beside = inputs[rows, :, outer + 5]
    height = (line - beside)[clear].mean(dim=0)
    assert height[3] > 2.0 > 0.8 > height[0]


def test_machines_are_drawn_by_their_seed_and_bearings_can_exist() -> None:
    one, two, other = (simulation.BearingSimulator(seed).draw_machines(200) for seed in (1, 1, 2))
    assert torch.equal(one.hidden_figures, two.hidden_figures) and not torch.equal(
        one.hidden_figures, other.hidden_figures
    )
    assert (
        one.hidden_figures.shape == (200, simulation.HIDDEN_FIGURE_COUNT)
        and one.hidden_figures.isfinite().all()
    )
    _, _, elements, element, pitch, _, _ = one.figures.unbind(dim=1)
    assert (element <= pitch * torch.sin(torch.pi / elements)).all()
