"""Soft sensor of a process unit: a small network for one plant, delivered in a package.

It turns the readings of a window (``wg_common.machines.process``), standardised by those of the
plant's own records, into scores (``LogScale``) of unmeasured quantities. Each score has an
interval, whose half width nine of ten errors at held-out simulated units did not exceed.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.machines import process
from wg_common.machines.process import WINDOW_SAMPLES, ProcessUnit
from wg_core.errors import DataError, DecodeError

HIDDEN_WIDTH = 64
"""Width of each hidden layer."""
FIRST_LAYER, OTHER_LAYERS, HALF_WIDTH = "first", "rest", "half_width"
"""Names of the layers and of the half widths in a package."""


@dataclass(frozen=True, slots=True, eq=False)
class ProcessSensor:
    """Soft sensor of a process unit, ready for use at its plant.

    Attributes:
        unit: Kind of the process unit.
        figures: Declared figures of the unit, ``[1, f]``.
        network: Network from R standardised readings to scores of Q quantities.
        half_widths: Half widths of the scores' 90 % intervals, ``[Q]``.
        plant_readings: Readings of the plant's records, ``[k, R]``, by which readings are
            standardised.
    """

    unit: ProcessUnit
    figures: Tensor
    network: nn.Module
    half_widths: Tensor
    plant_readings: Tensor

    def readings_and_scores(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return standardised readings ``[n, R]`` and scores ``[n, Q]`` of windows ``[n, C, T]``.

        Raises:
            DataError: The windows do not have the unit's channels and length.
        """
        features = self.standardise(unit_readings(self.unit, self.figures, windows))
        return features.double(), self.network(features).double()

    def standardise(self, readings: Tensor) -> Tensor:
        """Standardise readings ``[n, R]`` by those of the plant's records."""
        return process.standardise_readings(readings[None], self.plant_readings[None])[0]


def unit_readings(unit: ProcessUnit, figures: Tensor, windows: Tensor) -> Tensor:
    """Compute a process unit's readings ``[n, R]`` of windows ``[n, C, T]``.

    Raises:
        DataError: The windows do not have the unit's channels and length.
    """
    expected = (len(unit.channels), WINDOW_SAMPLES)
    if windows.ndim != 3 or windows.shape[1:] != expected:
        raise DataError(
            f"windows of shape {tuple(windows.shape[1:])}, expected {expected[0]} instruments and"
            f" {expected[1]} samples of a {unit.name}"
        )
    return unit.unit_readings(windows.float()[None], figures)[0]


def build_later_layers(unit: ProcessUnit) -> nn.Sequential:
    """Return a soft sensor network's layers after the first one."""
    head = nn.Linear(HIDDEN_WIDTH, len(unit.quantities))
    return nn.Sequential(nn.GELU(), nn.Linear(HIDDEN_WIDTH, HIDDEN_WIDTH), nn.GELU(), head)


def rebuild_sensor(
    unit: ProcessUnit,
    figures: Tensor,
    tensors: Mapping[str, NDArray[np.float32]],
    windows: NDArray[np.floating],
) -> ProcessSensor:
    """Rebuild a soft sensor from the tensors of a weights package.

    Args:
        unit: Kind of the process unit.
        figures: Declared figures of the unit, ``[1, f]``.
        tensors: Tensors by name.
        windows: Records of the plant, ``[k, C, T]``.

    Raises:
        DecodeError: The tensors are not those of a soft sensor for this kind.
        DataError: The windows do not have the unit's channels and length.
    """
    first = nn.Linear(unit.reading_count, HIDDEN_WIDTH)
    network = nn.Sequential(
        OrderedDict({FIRST_LAYER: first, OTHER_LAYERS: build_later_layers(unit)})
    )
    expected = {name: value.shape for name, value in network.state_dict().items()}
    expected[HALF_WIDTH] = torch.Size([len(unit.quantities)])
    if {name: value.shape for name, value in tensors.items()} != expected:
        raise DecodeError(f"its tensors are not those of a soft sensor of a {unit.name}")
    if not (tensors[HALF_WIDTH] >= 0).all():
        raise DecodeError("half width of an interval: below 0")
    values = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
    half_width = values.pop(HALF_WIDTH)
    network.load_state_dict(values)
    plain = unit_readings(unit, figures, torch.from_numpy(windows))
    return ProcessSensor(unit, figures, network.requires_grad_(False), half_width, plain)
