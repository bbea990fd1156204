"""Tensors at random, for tests of what takes tensors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import HEAD_BIAS_TENSOR, HEAD_WEIGHT_TENSOR, find_architecture
from wg_common.nets import network
from wg_common.nets.tensor_set import tensor_shapes


def initial_tensors(
    architecture: str, classes: int, dimension: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Tensors of an architecture, at random.

    Args:
        classes: K.
        dimension: d.
    """
    shapes = tensor_shapes(architecture, classes, dimension)
    trunk = {}
    if find_architecture(architecture).is_network:
        trunk = draw_trunk(architecture, rng)
    weight = rng.normal(0, shapes[HEAD_WEIGHT_TENSOR][1] ** -0.5, shapes[HEAD_WEIGHT_TENSOR])
    return trunk | {
        HEAD_WEIGHT_TENSOR: weight.astype(np.float32),
        HEAD_BIAS_TENSOR: np.zeros(shapes[HEAD_BIAS_TENSOR], np.float32),
    }


def draw_trunk(architecture: str, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """A random trunk: matrices scaled by their inputs, norms at rest."""
    trunk = {}
    for name, shape in network.trunk_shapes(architecture).items():
        if len(shape) == 1:
            value = np.ones(shape) if name.endswith("norm.weight") else np.zeros(shape)
        else:
            value = rng.normal(0, float(np.prod(shape[1:])) ** -0.5, shape)
        trunk[name] = value.astype(np.float32)
    return trunk
