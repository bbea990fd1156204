"""The simulators of machines, one module a kind, by the kind's name.

A simulator draws machines, each with figures that a sheet states and figures that it leaves open,
and windows of every condition of theirs. Networks are trained on nothing else.
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


class Machines(Protocol):
    """Some simulated machines, m of them.

    Attributes:
        figures: Stated figures, ``[m, f]``, as the kind reads them of a data sheet.
        hidden: Numbers of order 1 that a sheet leaves open, ``[m, h]``.
    """

    @property
    def figures(self) -> Tensor: ...  # noqa: D102 - an attribute

    @property
    def hidden(self) -> Tensor: ...  # noqa: D102 - an attribute

    def __len__(self) -> int: ...


class Workshop(Protocol):
    """Draws machines of one kind, and windows; all that is random comes from one seed.

    Attributes:
        kind: The kind of the machines.
        hidden_size: Number h of hidden figures of a machine.
    """

    kind: MachineKind
    hidden_size: int

    def machines(self, count: int) -> Any:
        """Draw new machines, as ``Machines``."""
        ...

    def windows(self, machines: Any, count: int) -> Tensor:
        """Draw windows ``[m, K, count, WINDOW]`` of each condition of drawn machines."""
        ...


SIMULATORS: Mapping[str, Callable[[int], Workshop]] = {
    workshop.kind.name: workshop
    for workshop in (
        bearing_simulation.Workshop,
        gearbox_simulation.Workshop,
        motor_simulation.Workshop,
    )
}
"""Workshops by the name of their kind, each built from a seed."""
