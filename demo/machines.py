"""Accuracy of networks generated for the demo's bearings, and the contribution of a statistic.

All figures are on bearings of ``demo.bearings``, which were never used in training, and are
computed by the code that writes a generator's card (``wg_server.generator.weights.sheet_card``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demo import bearings
from demo.evaluation import Right
from demo.plants import STATISTIC, Plant
from wg_common.machines import bearing as kinds
from wg_common.nets import spectrum_lines
from wg_common.nets.encoder import package as encoders
from wg_server.generator import versions
from wg_server.generator.weights import machine_trial, sheet_card, sheet_generation
from wg_server.generator.weights.machine_model import TREATMENTS
from wg_server.site.home import ServerHome

EPSILON = 1.0
_COUNT = 40
_HALF_LOAD = 0.5  # Assumed load, which no data sheet of the demo declares


@dataclass(frozen=True, slots=True, eq=False)
class _Machines:
    """Batch of bearings: data sheets, empty hidden parameters, and simulators."""

    figures: Tensor
    hidden: Tensor
    bearings: list[bearings.Bearing]

    def __len__(self) -> int:
        return len(self.bearings)


class _BearingSimulator:
    """Sampler of the demo's bearings, with the interface of the samplers for training.

    Attributes:
        kind: Machine kind of rolling bearings.
        hidden_size: Number of hidden parameters, all zero here.
    """

    kind, hidden_size = kinds.KIND, 1

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def machines(self, count: int) -> _Machines:
        """Draw ``count`` bearings."""
        drawn = [bearings.draw(self._rng) for _ in range(count)]
        figures = torch.tensor([[*each.sheet.values(), _HALF_LOAD] for each in drawn])
        return _Machines(figures.float(), torch.zeros(count, self.hidden_size), drawn)

    def windows(self, machines: _Machines, count: int) -> Tensor:
        """Simulate windows of each condition, ``[m, K, count, WINDOW]``."""
        labels = np.repeat(np.arange(len(bearings.CLASSES)), count)
        rows = [bearings.records(each, labels, self._rng) for each in machines.bearings]
        return torch.from_numpy(np.stack(rows)).reshape(len(rows), -1, count, bearings.WINDOW)


def measure(server: Path, plant: Plant, seed: int) -> tuple[dict[str, Any], Right]:
    """Return the figures of the statistic's story, and the correct records of one fixed network.

    Args:
        server: Home of the server that made networks for the plant.
        plant: Plant with a bearing.
        seed: Seed of the further bearings that are evaluated.
    """
    home = ServerHome(server)
    (reading_map,) = encoders.unpack(home.read_encoder()).maps.values()
    packed = versions.installed_version(home).sheets.read_bytes()
    (generator,) = sheet_generation.unpack(packed).kinds.values()
    torch.set_num_threads(1)
    trial = machine_trial.draw(_BearingSimulator(seed), reading_map, _COUNT)
    rows = sheet_card.measure(generator.model, trial, machine_trial.MOSTLY_SOUND, EPSILON, seed)
    conditioned = [name for name in TREATMENTS if generator.ships[name] == "conditioned"]
    treatment = (conditioned or TREATMENTS)[-1]
    methods = {
        "own": sheet_card.MADE,
        "another": sheet_card.ANOTHER,
        "none": sheet_card.WITHOUT,
        "template": sheet_card.TEMPLATE,
        "fixed": sheet_card.FIXED,
    }
    right = {key: rows[sheet_card.row(name, treatment)] for key, name in methods.items()}
    best = max(
        TREATMENTS, key=lambda name: float(rows[sheet_card.row(sheet_card.FIXED, name)].mean())
    )
    right["fixed"] = rows[sheet_card.row(sheet_card.FIXED, best)]

    def less(key: str) -> dict[str, float]:
        gain, error = sheet_card.difference(right["own"], right[key])
        return {"mean": gain, "se": error}

    found = {
        "name": f"{_COUNT} others",
        "story": STATISTIC,
        "records": machine_trial.RECORDS,
        "used": bool(conditioned),
        "epsilon": EPSILON,
        "accuracy": {key: float(value.mean()) for key, value in right.items()},
        "accuracy_se": {
            key: float(value.std()) / len(value) ** 0.5 for key, value in right.items()
        },
        "alone": None,
        "instead": float(right["none"].mean()),
        "kept": float(right["own"].mean()),
        "gain": less("none"),
        "over": {key: less(key) for key in ("another", "template", "fixed")},
    }
    return found, _fixed(generator.model.fixed[best], plant, standardised=best == "standardised")


def _fixed(network: torch.nn.Module, plant: Plant, *, standardised: bool) -> Right:
    """Return a plant's test records that a network without data sheets labels correctly."""
    with np.load(plant.data) as own, np.load(plant.test) as test, torch.inference_mode():
        known, inputs = (
            spectrum_lines.spectra(torch.from_numpy(part["x"][:, 0])) for part in (own, test)
        )
        if standardised:
            inputs = spectrum_lines.standardised_by(inputs, known.mean(dim=0), known.std(dim=0))
        answers = network(inputs[None])[0].argmax(dim=1).numpy()
        right: Right = answers == test["y"]
    return right
