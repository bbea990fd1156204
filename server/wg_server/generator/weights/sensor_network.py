"""Soft sensors of process units: a network per kind of unit, and its weights for one plant.

The inputs of the network are the readings of a window, standardised by the plant's own records, and
the condition: the data sheet, and the statistic of the plant with its noise
(``machine_statistic``). At one plant the condition is constant, so it is folded into the biases of
the first layer: a package contains an ordinary small network for this plant.
"""

import numpy as np
import torch
from torch import Tensor, nn

from wg_common.machines.process import ProcessUnit
from wg_common.nets.encoder.reading_map import ReadingMap
from wg_common.nets.process_sensor import (
    FIRST_LAYER,
    HALF_WIDTH,
    HIDDEN_WIDTH,
    OTHER_LAYERS,
    build_later_layers,
)
from wg_server.generator.weights.candidates import NumpyTensors
from wg_server.generator.weights.machine_model import StatisticEmbedding
from wg_server.generator.weights.machine_networks import initialise_parameters
from wg_server.generator.weights.machine_statistic import StatisticBatch


class SensorNetwork(nn.Module):
    """Soft sensor network of a kind of process unit.

    Attributes:
        unit: Kind of process unit.
        half_width: Half width of the 90 % prediction interval of each score, calibrated on unseen
            units, ``[Q]`` for Q estimated quantities.
    """

    half_width: Tensor

    def __init__(self, unit: ProcessUnit) -> None:
        super().__init__()
        self.unit, self.embedding = unit, StatisticEmbedding()
        condition = unit.figure_feature_count + self.embedding.size
        self.first = nn.Linear(unit.reading_count + condition, HIDDEN_WIDTH)
        self.rest = build_later_layers(unit)
        self.register_buffer("half_width", torch.zeros(len(unit.quantities)))

    def forward(self, readings: Tensor, figures: Tensor, statistics: StatisticBatch) -> Tensor:
        """Return scaled estimates (scores) of Q quantities in n windows of m units, ``[m, n, Q]``.

        Args:
            readings: Standardised readings of the windows, ``[m, n, R]``.
            figures: Declared figures of the units, ``[m, f]``.
            statistics: Statistics of the units, some of which may be absent.
        """
        weight, bias = self._first_layer(figures, statistics)
        x = torch.baddbmm(bias[:, None], readings, weight.mT.expand(len(bias), -1, -1))
        out: Tensor = self.rest(x)
        return out

    def package_tensors(self, figures: Tensor, statistics: StatisticBatch) -> NumpyTensors:
        """Return the tensors of a soft sensor for one unit, with figures ``[1, f]``, by name."""
        weight, bias = self._first_layer(figures, statistics)
        values = {
            f"{FIRST_LAYER}.weight": weight,
            f"{FIRST_LAYER}.bias": bias[0],
            HALF_WIDTH: self.half_width,
        }
        values |= {
            f"{OTHER_LAYERS}.{name}": value for name, value in self.rest.state_dict().items()
        }
        return {name: value.detach().numpy().astype(np.float32) for name, value in values.items()}

    def _first_layer(self, figures: Tensor, statistics: StatisticBatch) -> tuple[Tensor, Tensor]:
        """Return the first layer's weights on readings, and biases ``[m, HIDDEN_WIDTH]``."""
        numbers = [self.unit.figure_features(figures), self.embedding(statistics)]
        weight, readings = self.first.weight, self.unit.reading_count
        over_readings, over_condition = weight[:, :readings], weight[:, readings:]
        return over_readings, self.first.bias + torch.cat(numbers, dim=1) @ over_condition.mT


class SensorModel(nn.Module):
    """Soft sensor network, with the reading map that computes its statistic.

    Attributes:
        network: Soft sensor network.
        map: Reading map, trained with the network, or frozen if it was given.
    """

    def __init__(self, network: SensorNetwork, reading_map: ReadingMap | None, seed: int) -> None:
        super().__init__()
        self.network, self.map = network, ReadingMap(network.unit)
        initialise_parameters(self, torch.Generator().manual_seed(seed))
        if reading_map is not None:
            self.map.load_state_dict(reading_map.state_dict())
            self.map.requires_grad_(False)
