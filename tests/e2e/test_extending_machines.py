"""A new kind of machine: a module on both sides, a simulator, a line in each registry.

The toy is a siren, whose wheel chops the air so many times a second. Whole, it wails at that rate,
and cracked at twice the rate: only who knows the wheel can tell.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from wg_client.release.machine_hints import machine_hints
from wg_common.machines.registry import MACHINE_KINDS
from wg_common.nets import tensor_set
from wg_common.nets.encoder.reading_map import ReadingMap
from wg_server.generator.weights import machine_pool, training
from wg_server.generator.weights.data_sheet_generation import (
    DataSheetGenerator,
    MachineKindGenerator,
)
from wg_server.generator.weights.machine_networks import NetworkSizes
from wg_server.generator.weights.machine_training import MachineObjective, SimulatedMachineCounts
from wg_server.generator.weights.simulators import SIMULATORS
from wg_server.generator.weights.training import TrainingSchedule

KIND = '''
import torch

from wg_common.machines import condition_words
from wg_common.machines.base import (
    BUMPS_PER_LINE, WINDOW_SAMPLES, FigureRange, MachineKind, check_figures_simulated, line_bumps
)
from wg_common.language import text

RANGES = (FigureRange(text("chops in 1,024 samples"), 20.0, 80.0, text("build another siren")),)


def chops(figures):
    """Chops of the whole wheel in a window, [m]."""
    return figures[:, 0] * WINDOW_SAMPLES / figures[:, 1]


def read_figures(sheet):
    values = torch.tensor([[float(sheet.machine.chops_hz), float(sheet.machine.sampling_hz)]])
    check_figures_simulated(RANGES, chops(values).tolist())
    return values


MACHINE_KIND = MachineKind(
    name="siren",
    words_by_condition={
        "whole": condition_words.HEALTHY_WORDS, "cracked": ("cracked", "Riss", "亀裂")
    },
    figure_feature_count=1,
    template_count=2 * BUMPS_PER_LINE,
    read_figures=read_figures,
    figure_features=lambda figures: chops(figures).log()[:, None] - 4,
    line_templates=lambda figures: line_bumps(
        2 * chops(figures)[:, None] * torch.arange(1, 3), 0.002
    ),
)
'''

SIMULATION = """
from dataclasses import dataclass

import torch

from toy_machine import siren
from wg_common.machines.base import WINDOW_SAMPLES


@dataclass
class Machines:
    figures: torch.Tensor
    hidden_figures: torch.Tensor

    def __len__(self):
        return len(self.figures)


class SirenSimulator:
    kind, hidden_figure_count = siren.MACHINE_KIND, 1

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def draw_machines(self, count):
        chops = 20 * 4 ** torch.rand(count, generator=self.generator)
        depth = 0.3 + 0.4 * torch.rand(count, 1, generator=self.generator)
        figures = torch.stack([chops, torch.full((count,), float(WINDOW_SAMPLES))], dim=1)
        return Machines(figures, 5 * depth - 2.5)

    def simulate_windows(self, machines, count):
        rate = siren.chops(machines.figures)[:, None] * torch.tensor([1.0, 2.0])
        turn = torch.rand(len(machines), 2, count, 1, generator=self.generator)
        time = torch.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
        wave = (2 * torch.pi * (rate[..., None, None] * time + turn)).sin()
        noise = torch.randn(wave.shape, generator=self.generator)
        return noise * (1 + (machines.hidden_figures / 5 + 0.5)[..., None, None] * wave)
"""


@pytest.fixture
def siren(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A package of two files, and the line in each registry; the simulator's module."""
    folder = tmp_path / "toy_machine"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "siren.py").write_text(KIND, encoding="utf-8")
    (folder / "siren_simulation.py").write_text(SIMULATION, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    added = importlib.import_module("toy_machine.siren_simulation")
    monkeypatch.setitem(MACHINE_KINDS, "siren", added.siren.MACHINE_KIND)
    monkeypatch.setitem(SIMULATORS, "siren", added.SirenSimulator)
    yield added
    for name in [name for name in sys.modules if name.startswith("toy_machine")]:
        del sys.modules[name]


def _sheet(chops: float) -> Any:
    """What a data sheet is to a kind: a field of the core's is the third thing that it takes."""
    return SimpleNamespace(kind="siren", machine=SimpleNamespace(chops_hz=chops, sampling_hz=1024))


def test_networks_for_a_new_kind_are_trained_made_and_explained(siren: Any) -> None:
    sizes = NetworkSizes(latent=2, rank=2, hidden=16)
    draws = SimulatedMachineCounts(per_step=8, pool=40, renewals_per_step=1, validation=16)
    reading_map = ReadingMap(siren.siren.MACHINE_KIND).eval()
    objective = MachineObjective("siren", reading_map, sizes, draws, seed=1)
    schedule = TrainingSchedule(
        steps=80, learning_rate=1e-2, average_decay=0.9, steps_per_evaluation=80
    )
    training.train_module(objective, schedule, lambda *_: None)
    judged = machine_pool.batch_with_plants(
        machine_pool.draw_pooled_machines(siren.SirenSimulator(7), 30),
        torch.Generator().manual_seed(1),
    )
    view, model = judged.inputs_by_scaling["raw"], objective.model
    with torch.inference_mode():
        right = {
            name: float((logits.argmax(dim=2) == judged.labels).float().mean())
            for name, logits in (
                ("template", model.template_network_for("raw")(30).logits(view)),
                ("fixed", model.fixed["raw"](view.inputs)),
            )
        }
    assert right["template"] > right["fixed"] + 0.1 and right["template"] > 0.8
    generator = DataSheetGenerator(
        {"siren": MachineKindGenerator(model, {"raw": "template", "standardised": "template"})}
    )
    for made in generator.generate_networks(_sheet(50), ("gut", "horn", "Riss")):
        tensor_set.check_tensors("spectrum-lines", made.tensors, 3, 64)


def test_a_plant_reads_what_is_made_for_a_new_kind(siren: Any) -> None:
    tell, unsaid = machine_hints(_sheet(50), ("gut", "horn", "亀裂"))
    assert "亀裂 = cracked" in tell and "horn" in unsaid
    (refused,) = machine_hints(_sheet(500), ("gut", "亀裂"))
    assert "build another siren" in refused
