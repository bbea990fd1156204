"""A soft sensor of a process unit, as a package holds it: a small network for one plant.

It turns readings of a window (``wg_common.machines.process``), standardised by the plant's own
records, into scores of the kind's quantities. Half widths say how far nine scores in ten were off
at most, at simulated units that no training had seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT
from wg_common.machines import process
from wg_common.machines.process import SAMPLES, ProcessUnit
from wg_core.errors import DataError, DecodeError

WIDTH = 64
"""Units of each hidden layer."""
HALF_WIDTH = "half_width"
_LAYERS = ("trunk.first", "trunk.second")


@dataclass(frozen=True, slots=True, eq=False)
class ProcessSensor:
    """The network at its plant.

    Attributes:
        unit: The kind of the process unit.
        figures: Stated figures of it, ``[1, f]``.
        tensors: The network's tensors by name.
        records: Readings of the plant's records, by which all are standardised, ``[k, R]``.
    """

    unit: ProcessUnit
    figures: Tensor
    tensors: Mapping[str, Tensor]
    records: Tensor

    @property
    def half_width(self) -> NDArray[np.float64]:
        """Half widths of intervals of scores, ``[Q]``."""
        return self.tensors[HALF_WIDTH].double().numpy()

    def features(self, windows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Standardised readings ``[n, R]`` of windows ``[n, C, T]``.

        Raises:
            DataError: The windows are not of such a unit.
        """
        plain = readings(self.unit, self.figures, windows)
        return process.standardise(plain[None], self.records[None])[0].double().numpy()

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores ``[n, Q]`` of standardised readings."""
        x = torch.from_numpy(features).float()
        for layer in _LAYERS:
            weight, bias = (self.tensors[f"{layer}.{name}"] for name in ("weight", "bias"))
            x = F.gelu(F.linear(x, weight, bias))
        return F.linear(x, self.tensors[HEAD_WEIGHT], self.tensors[HEAD_BIAS]).double().numpy()


def readings(unit: ProcessUnit, figures: Tensor, windows: NDArray[np.floating]) -> Tensor:
    """Readings ``[n, R]`` of windows ``[n, C, T]``.

    Raises:
        DataError: The windows are not of such a unit.
    """
    expected = (len(unit.channels), SAMPLES)
    if windows.ndim != 3 or windows.shape[1:] != expected:
        raise DataError(
            f"windows of shape {windows.shape[1:]}, expected {expected[0]} instruments and"
            f" {expected[1]} samples of a {unit.name}"
        )
    return unit.readings(torch.from_numpy(windows.astype(np.float32))[None], figures)[0]


def tensor_shapes(unit: ProcessUnit) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of such a network by name."""
    quantities = len(unit.quantities)
    return {
        "trunk.first.weight": (WIDTH, unit.reading_count),
        "trunk.first.bias": (WIDTH,),
        "trunk.second.weight": (WIDTH, WIDTH),
        "trunk.second.bias": (WIDTH,),
        HEAD_WEIGHT: (quantities, WIDTH),
        HEAD_BIAS: (quantities,),
        HALF_WIDTH: (quantities,),
    }


def read(
    unit: ProcessUnit,
    figures: Tensor,
    tensors: Mapping[str, NDArray[np.float32]],
    windows: NDArray[np.floating],
) -> ProcessSensor:
    """Read the network of a unit of stated figures ``[1, f]`` from a package's tensors.

    Args:
        windows: The plant's records, ``[k, C, T]``.

    Raises:
        DecodeError: They are not those of such a network.
        DataError: The windows are not of such a unit.
    """
    if {name: value.shape for name, value in tensors.items()} != tensor_shapes(unit):
        raise DecodeError(f"its tensors are not those of a soft sensor of a {unit.name}")
    if not (tensors[HALF_WIDTH] >= 0).all():
        raise DecodeError("half width of an interval: below 0")
    values = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
    return ProcessSensor(unit, figures, values, readings(unit, figures, windows))
