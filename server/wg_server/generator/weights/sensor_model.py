"""Modules that are trained for a kind of process unit: networks for a condition, and their rivals.

The condition is a data sheet and, where there is one, a statistic with its noise, as of machines
(``machine_model``). All rivals stand on the same windows, and most on what the sheet's balances
make of them: a fixed network on the balances, one on plain readings, networks that take the same
sheet and statistic as inputs, at the first layer or at every one (FiLM, Perez et al., 2018), and
networks from the sheet alone.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wg_common.machines.process import ProcessUnit
from wg_common.nets.encoder.reading_map import ReadingMap
from wg_server.generator.weights.machine_model import ConditionedNetworks, StatisticEmbedding
from wg_server.generator.weights.machine_networks import (
    LineDecoder,
    Sizes,
    TemplateNetwork,
    Weights,
    draw_parameters,
    mlp,
    run,
)
from wg_server.generator.weights.machine_statistic import Statistics

RAW, STANDARDISED, WHITENED = "raw", "standardised", "whitened"
TREATMENTS = (RAW, STANDARDISED)
_LEAST_SPREAD = 0.1  # Added to a reading's spread before it is divided by it
_LEAST_VARIANCE = 0.01  # Added to each direction's when readings are whitened
Views = dict[str, Tensor]
"""Readings of windows ``[m, n, R]`` by their treatment."""


class Moments(NamedTuple):
    """Mean ``[m, R]`` and covariance ``[m, R, R]`` of the readings of m plants."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, readings: Tensor, shares: Tensor) -> "Moments":
        """Moments of readings ``[m, n, R]`` of weights ``[m, n]``."""
        mean = (shares[..., None] * readings).sum(dim=1)
        deviations = readings - mean[:, None]
        return cls(mean, torch.einsum("mnr,mns->mrs", deviations * shares[..., None], deviations))

    def views(self, readings: Tensor, plain_count: int) -> Views:
        """Readings ``[m, n, R]`` by treatment; plain ones alone are whitened."""
        spread = self.covariance.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
        deviations = readings - self.mean[:, None]
        plain = self.covariance[:, :plain_count, :plain_count]
        values, directions = torch.linalg.eigh(plain + _LEAST_VARIANCE * torch.eye(plain_count))
        whitener = (directions * values.rsqrt()[:, None]) @ directions.mT
        return {
            RAW: readings,
            STANDARDISED: deviations / (spread[:, None] + _LEAST_SPREAD),
            WHITENED: deviations[..., :plain_count] @ whitener,
        }


class ConditionInputs(nn.Module):
    """A fixed network with the condition beside its inputs, or changing its units (FiLM)."""

    def __init__(self, unit: ProcessUnit, films: bool) -> None:
        super().__init__()
        condition, width = unit.condition_size + StatisticEmbedding.size, 64
        self.embedding, self.films = StatisticEmbedding(), films
        self.change = mlp(condition, 96, 4 * width) if films else None
        self.first = nn.Linear(unit.reading_count + (0 if films else condition), width)
        self.second, self.head = nn.Linear(width, width), nn.Linear(width, unit.output_count)

    def forward(self, readings: Tensor, stated_numbers: Tensor, statistics: Statistics) -> Tensor:
        """Outputs of readings ``[m, n, R]``."""
        condition = torch.cat([stated_numbers, self.embedding(statistics)], dim=1)[:, None]
        if self.change is None:
            both = torch.cat([readings, condition.expand(-1, readings.shape[1], -1)], dim=2)
            out: Tensor = self.head(F.gelu(self.second(F.gelu(self.first(both)))))
            return out
        gain, shift, gain_2, shift_2 = self.change(condition).chunk(4, dim=2)
        x = F.gelu(self.first(readings) * (1 + gain) + shift)
        out = self.head(F.gelu(self.second(x) * (1 + gain_2) + shift_2))
        return out


class SensorModel(nn.Module):
    """All that is trained for a kind of process unit.

    Attributes:
        unit: The kind.
        map: Turns readings into the numbers of a statistic.
        made: Networks for a sheet and a statistic, by the treatment of readings.
        sheet: Networks for a sheet alone, on raw readings.
        balances: Fixed networks on all readings, by their treatment.
        plain: Fixed networks on plain readings, by their treatment.
        beside: Fixed networks with the condition as an input, by how and by treatment.
    """

    def __init__(self, unit: ProcessUnit, hidden_size: int, sizes: Sizes) -> None:
        super().__init__()
        self.unit, self.map = unit, ReadingMap(unit)
        self.made = nn.ModuleDict(
            {name: ConditionedNetworks(unit, hidden_size, sizes) for name in TREATMENTS}
        )
        self.sheet = LineDecoder(unit, unit.condition_size, sizes)
        self.balances = nn.ModuleDict({name: TemplateNetwork(unit, sizes) for name in TREATMENTS})
        self.plain = nn.ModuleDict(
            {
                name: mlp(unit.plain_count, sizes.width, unit.output_count)
                for name in (*TREATMENTS, WHITENED)
            }
        )
        self.beside = nn.ModuleDict(
            {
                f"{place} {name}": ConditionInputs(unit, place == "FiLM")
                for place in ("inputs", "FiLM")
                for name in TREATMENTS
            }
        )

    def made_for(self, treatment: str) -> ConditionedNetworks:
        """Networks for a condition, for one treatment of readings."""
        return cast(ConditionedNetworks, self.made[treatment])

    def rivals(self, views: Views, figures: Tensor, statistics: Statistics) -> Views:
        """Outputs ``[m, n, outputs]`` of every rival by its name."""
        stated_numbers = self.unit.stated_numbers(figures)
        outputs = {
            f"fixed on plain readings, {name}": network(views[name][..., : self.unit.plain_count])
            for name, network in self.plain.items()
        }
        for name, network in self.balances.items():
            outputs[f"fixed on balances, {name}"] = run(
                Weights(*network(len(figures))), views[name]
            )
        outputs["sheet alone"] = run(Weights(*self.sheet(stated_numbers)), views[RAW])
        for name, network in self.beside.items():
            outputs[f"sheet and statistic as {name}"] = network(
                views[name.split()[1]], stated_numbers, statistics
            )
        return outputs

    def draw(self, generator: torch.Generator) -> None:
        """Draw what training starts from."""
        draw_parameters(self, generator)
