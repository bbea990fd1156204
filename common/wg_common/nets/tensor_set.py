"""Which tensors an architecture has: names and shapes, and whether a set of them is one."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT, architecture_of
from wg_common.inference import hostile_tensors
from wg_common.nets import network
from wg_core.errors import DecodeError

Tensors = Mapping[str, NDArray[np.float32]]


def tensor_shapes(architecture: str, classes: int, dimension: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the generated tensors.

    Raises:
        ConfigError: No such architecture.
    """
    head = {HEAD_WEIGHT: (classes, dimension), HEAD_BIAS: (classes,)}
    if not architecture_of(architecture).is_network:
        return head
    trunk = network.trunk_shapes(architecture)
    return trunk | head | {HEAD_WEIGHT: (classes, network.feature_count(architecture))}


def check_tensors(architecture: str, tensors: Tensors, classes: int, dimension: int) -> None:
    """Refuse tensors that are not those of the architecture.

    Raises:
        DecodeError: A name, shape or type is wrong, or a value is not finite.
        ConfigError: No such architecture.
    """
    for name, value in tensors.items():
        if value.dtype != np.float32:
            raise DecodeError(f"{architecture}: tensor {name!r} is {value.dtype}, expected float32")
    hostile_tensors.check_tensors(
        architecture, tensors, tensor_shapes(architecture, classes, dimension)
    )
