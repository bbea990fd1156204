"""Soft sensor of a process unit: a small network for one plant, delivered in a package.

It turns readings of a window (``wg_common.machines.process``), standardised by the plant's own
records, into scores of the kind's quantities. A half width is the error that nine of ten scores did
not exceed at held-out simulated units.
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
"""Width of each hidden layer."""
HALF_WIDTH = "half_width"
_LAYERS = ("trunk.first", "trunk.second")


@dataclass(frozen=True, slots=True, eq=False)
class ProcessSensor:
    """Soft sensor at its plant.

    Attributes:
        unit: Kind of the process unit.
        figures: Declared figures of the unit, ``[1, f]``.
        tensors: Tensors of the network by name.
        records: Readings of the plant's records, ``[k, R]``, which standardise all readings.
    """

    unit: ProcessUnit
    figures: Tensor
    tensors: Mapping[str, Tensor]
    records: Tensor

    @property
    def half_width(self) -> NDArray[np.float64]:
        """Half widths of the scores' intervals, ``[Q]``."""
        return self.tensors[HALF_WIDTH].double().numpy()

    def features(self, windows: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute standardised readings ``[n, R]`` of windows ``[n, C, T]``.

        Raises:
            DataError: The windows do not have the unit's channels and length.
        """
        plain = readings(self.unit, self.figures, windows)
        return process.standardise(plain[None], self.records[None])[0].double().numpy()

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute scores ``[n, Q]`` from standardised readings."""
        return self.network(torch.from_numpy(features)).double().numpy()

    def network(self, features: Tensor) -> Tensor:
        """Compute scores ``[n, Q]`` in single precision from standardised readings."""
        x = features.float()
        for layer in _LAYERS:
            weight, bias = (self.tensors[f"{layer}.{name}"] for name in ("weight", "bias"))
            x = F.gelu(F.linear(x, weight, bias))
        return F.linear(x, self.tensors[HEAD_WEIGHT], self.tensors[HEAD_BIAS])


def readings(unit: ProcessUnit, figures: Tensor, windows: NDArray[np.floating]) -> Tensor:
    """Compute readings ``[n, R]`` of windows ``[n, C, T]``.

    Raises:
        DataError: The windows do not have the unit's channels and length.
    """
    expected = (len(unit.channels), SAMPLES)
    if windows.ndim != 3 or windows.shape[1:] != expected:
        raise DataError(
            f"windows of shape {windows.shape[1:]}, expected {expected[0]} instruments and"
            f" {expected[1]} samples of a {unit.name}"
        )
    return unit.readings(torch.from_numpy(windows.astype(np.float32))[None], figures)[0]


def tensor_shapes(unit: ProcessUnit) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a soft sensor's tensors by name."""
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
    """Rebuild a soft sensor from a package's tensors.

    Args:
        unit: Kind of the process unit.
        figures: Declared figures of the unit, ``[1, f]``.
        tensors: Tensors by name.
        windows: Records of the plant, ``[k, C, T]``.

    Raises:
        DecodeError: The tensors are not those of a soft sensor for this kind.
        DataError: The windows do not have the unit's channels and length.
    """
    if {name: value.shape for name, value in tensors.items()} != tensor_shapes(unit):
        raise DecodeError(f"its tensors are not those of a soft sensor of a {unit.name}")
    if not (tensors[HALF_WIDTH] >= 0).all():
        raise DecodeError("half width of an interval: below 0")
    values = {name: torch.from_numpy(value.copy()) for name, value in tensors.items()}
    return ProcessSensor(unit, figures, values, readings(unit, figures, windows))
