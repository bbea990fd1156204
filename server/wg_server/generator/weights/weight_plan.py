"""Weight plans: which parts of a network are generated, and as which tokens.

A *part* is one layer's tensors that change together: a convolution, a norm (scale and shift) or the
projection. The delta of each part from the public base is one token; classes are tokens of their
own, one head row each, and are part of every plan. What a plan does not name stays the base's.

==========  ==========================================================================
head        head rows only
norm        and scale and shift of every norm
low-rank    and norms, and of each larger matrix the best ``RANK`` singular directions
layers      and the last stage: two convolutions, their norms, and what follows them
whole       and everything else
==========  ==========================================================================

Tokens to parameters and back is exact; for ``low-rank`` it is exact on deltas of that rank, and the
nearest such delta (Eckart and Young, 1936) otherwise. ``lite0`` has the first three: all that may
change in it are norms and deltas that are of low rank by their making (``wg_common.nets.lite0``).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common import catalogue
from wg_common.nets import network
from wg_core.errors import ConfigError

RANK = 4
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """One layer part.

    Attributes:
        name: As in the network, without the trunk's prefix: ``blocks.0.conv``, ``project``.
        tensors: Full names and shapes of its tensors, in order.
    """

    name: str
    tensors: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(int(np.prod(shape)) for _, shape in self.tensors)


@dataclass(frozen=True, slots=True)
class WeightPlan:
    """The parts of an architecture's trunk that a plan generates.

    Attributes:
        name: ``head``, ``norm``, ``low-rank``, ``layers`` or ``whole``.
        architecture: A whole network of the catalogue.
        parts: In the network's order.
    """

    name: str
    architecture: str
    parts: tuple[Part, ...]

    def tokens(self, delta: Mapping[str, Array]) -> dict[str, Array]:
        """A flat token ``[size]`` for each part of a delta."""
        tokens = {}
        for part in self.parts:
            values = [self._project(np.asarray(delta[name])) for name, _ in part.tensors]
            tokens[part.name] = np.concatenate([value.ravel() for value in values])
        return tokens

    def delta(self, tokens: Mapping[str, Array]) -> dict[str, Array]:
        """The delta of tokens: one array for each tensor of its own, zero where not planned."""
        shapes = network.own_shapes(self.architecture)
        delta = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        for part in self.parts:
            place = 0
            for name, shape in part.tensors:
                size = int(np.prod(shape))
                value = np.asarray(tokens[part.name][place : place + size], np.float32)
                delta[name] = self._project(value.reshape(shape))
                place += size
        return delta

    def _project(self, value: Array) -> Array:
        """The value itself, or for ``low-rank`` its nearest of rank ``RANK``."""
        if self.name != "low-rank" or value.ndim < 2 or network.on_encoder(self.architecture):
            return value
        matrix = value.reshape(len(value), -1).astype(np.float64)
        if min(matrix.shape) <= RANK:
            return value
        u, s, v = np.linalg.svd(matrix, full_matrices=False)
        nearest = (u[:, :RANK] * s[:RANK]) @ v[:RANK]
        return np.asarray(nearest.reshape(value.shape), np.float32)


def weight_plan(architecture: str, name: str) -> WeightPlan:
    """A plan by name.

    Raises:
        ConfigError: The architecture has no trunk of its own, or no such plan.
    """
    catalogue_entry = catalogue.known(architecture)
    if not catalogue_entry.whole or name not in catalogue_entry.plans:
        plans = ", ".join(catalogue_entry.plans)
        raise ConfigError(f"weight plan {name!r} of {architecture}: expected one of {plans}")
    return WeightPlan(
        name,
        architecture,
        tuple(p for p in _parts(architecture) if _planned(name, p.name, architecture)),
    )


def _parts(architecture: str) -> list[Part]:
    """Tensors grouped by their layer."""
    grouped: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for full, shape in network.own_shapes(architecture).items():
        layer = full.removeprefix(network.TRUNK).rpartition(".")[0]
        grouped.setdefault(layer, []).append((full, shape))
    return [Part(name, tuple(tensors)) for name, tensors in grouped.items()]


def _planned(plan: str, part: str, architecture: str) -> bool:
    if plan in ("whole", "low-rank"):
        return True
    if plan == "layers":
        return part.startswith(network.kind(architecture).last)
    return plan == "norm" and part.endswith("norm")
