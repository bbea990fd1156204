"""Interface of the machine simulators, and the simulators by kind of machine.

A simulator draws machines, each with the figures of a data sheet and with hidden properties that no
data sheet declares, and windows of these machines in each condition. Networks for machines are
trained only on such windows.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

from wg_common.machines.base import MachineKind
from wg_server.generator.weights import (
    bearing_simulation,
    gearbox_simulation,
    motor_simulation,
)


class SimulatedMachines(Protocol):
    """Batch of m simulated machines of one kind.

    Attributes:
        figures: Declared figures, ``[m, f]``, as the kind reads them from a data sheet.
        hidden_figures: Hidden properties, scaled to order 1, ``[m, h]``.
    """

    @property
    def figures(self) -> Tensor: ...  # noqa: D102 - an attribute

    @property
    def hidden_figures(self) -> Tensor: ...  # noqa: D102 - an attribute

    def __len__(self) -> int: ...


class MachineSimulator(Protocol):
    """Simulator of machines of one kind and their windows; all randomness comes from one seed.

    Attributes:
        kind: Kind of the machines.
        hidden_figure_count: Number h of hidden properties of a machine.
    """

    kind: MachineKind
    hidden_figure_count: int

    def draw_machines(self, count: int) -> Any:
        """Draw ``count`` new machines of the kind; returns ``SimulatedMachines``."""
        ...

    def simulate_windows(self, machines: Any, count: int) -> Tensor:
        """Draw ``count`` windows of each of K conditions, ``[m, K, count, WINDOW_SAMPLES]``."""
        ...


SIMULATORS: Mapping[str, Callable[[int], MachineSimulator]] = {
    simulator.kind.name: simulator
    for simulator in (
        bearing_simulation.BearingSimulator,
        gearbox_simulation.GearboxSimulator,
        motor_simulation.MotorSimulator,
    )
}
"""Simulators by the name of the kind of machine; each is called with a seed."""
