"""What would take a data sheet without generating weights: a part of ``bench.day_one``."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wg_common.machines import bearing
from wg_common.machines.base import HALF_BINS
from wg_common.nets.spectrum_lines import BANDS, ENVELOPES, INPUTS
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights.sheet_networks import (
    CLASSES,
    CONDITION,
    SheetModel,
    Weights,
    condition,
    run,
)
from wg_server.generator.weights.sheet_training import Batch

Logits = Callable[[Tensor, Tensor], Tensor]
"""Inputs ``[m, n, INPUTS]`` and sheets ``[m, 7]`` to logits ``[m, n, CLASSES]``."""


class SheetAsInput(nn.Module):
    """A network that takes the sheet as an input, in every layer (FiLM, Perez et al. 2018)."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(INPUTS, width), nn.Linear(width, width)
        self.head = nn.Linear(width, CLASSES)
        self.change = nn.Sequential(
            nn.Linear(16 * CONDITION, 256), nn.GELU(), nn.Linear(256, 4 * width)
        )

    def forward(self, inputs: Tensor, sheets: Tensor) -> Tensor:
        """As ``Logits``."""
        waves = condition(sheets)[..., None] * 2 ** torch.arange(8)
        told = self.change(torch.cat([waves.sin(), waves.cos()], dim=2).flatten(1))[:, None]
        gain, shift, gain_2, shift_2 = told.chunk(4, dim=2)
        x = F.gelu(self.first(inputs) * (1 + gain) + shift)
        out: Tensor = self.head(F.gelu(self.second(x) * (1 + gain_2) + shift_2))
        return out


def heights(inputs: Tensor, sheets: Tensor) -> Tensor:
    """What an analyst reads: each stated line over its surroundings, ``[m, n, 4, 5, 3]``."""
    lines = 2 * bearing.lines(sheets)  # [m, 5], half bins
    at = (lines[..., None] * torch.tensor([1, 2, 3])).round().long().clamp(10, HALF_BINS - 10)
    bands = inputs[..., :ENVELOPES].reshape(*inputs.shape[:2], len(BANDS), HALF_BINS)

    def read(away: int) -> Tensor:
        place = (at + away).flatten(1)[:, None, None].expand(*bands.shape[:3], -1)
        return bands.gather(3, place).reshape(*bands.shape[:3], *at.shape[1:])

    peak = torch.stack([read(away) for away in (-1, 0, 1)]).amax(dim=0)
    return peak - torch.stack([read(away) for away in (-9, -7, -5, 5, 7, 9)]).mean(dim=0)


def analyst_features(inputs: Tensor, sheets: Tensor) -> Tensor:
    """Heights, and what stands beside envelope spectra."""
    return torch.cat([heights(inputs, sheets).flatten(2), inputs[..., ENVELOPES:]], dim=2)


class Analyst(nn.Module):
    """The analyst's features with a trained classifier."""

    def __init__(self) -> None:
        super().__init__()
        features = 15 * len(BANDS) + INPUTS - ENVELOPES
        self.layers = nn.Sequential(
            nn.Linear(features, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, CLASSES)
        )

    def forward(self, inputs: Tensor, sheets: Tensor) -> Tensor:
        """As ``Logits``."""
        out: Tensor = self.layers(analyst_features(inputs, sheets))
        return out


def rule(quantile: float, on: Batch) -> Logits:
    """The highest of the lines that damages have, if it is above what sound machines have."""

    def read(inputs: Tensor, sheets: Tensor) -> Tensor:
        return heights(inputs, sheets)[..., 2:, :].mean(dim=4).amax(dim=2)  # [m, n, 3]

    sound = read(on.inputs, on.machines.figures)[on.labels == 0]
    level = sound.quantile(quantile, dim=0)

    def logits(inputs: Tensor, sheets: Tensor) -> Tensor:
        return F.pad(read(inputs, sheets) - level, (1, 0))

    return logits


def known_networks(model: SheetModel, zoo: simulation.Machines, penalty: float) -> list[Logits]:
    """Retrieval by sheet, and a ridge map from sheet to weights, of a zoo's networks.

    The map is of second order in the sheet's figures, so the weights are sums of the zoo's.
    """
    known = condition(zoo.figures)
    with torch.inference_mode():
        networks = model.decoder(zoo.figures, model.posterior(zoo)[0])

    def nearest(inputs: Tensor, sheets: Tensor) -> Tensor:
        chosen = torch.cdist(condition(sheets), known).argmin(dim=1)
        return run(Weights(*(value[chosen] for value in networks)), inputs)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (1 + a @ b.mT) ** 2

    inverse = torch.linalg.inv(kernel(known, known) + penalty * len(known) * torch.eye(len(known)))

    def ridge(inputs: Tensor, sheets: Tensor) -> Tensor:
        share = kernel(condition(sheets), known) @ inverse  # [m, zoo]
        weights = [(share @ value.flatten(1)).reshape(-1, *value.shape[1:]) for value in networks]
        return run(Weights(*weights), inputs)

    return [nearest, ridge]
