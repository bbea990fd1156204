"""Names and shapes of an architecture's tensors, and the check of a set of tensors."""

import numpy as np

from wg_common.catalogue import HEAD_BIAS_TENSOR, HEAD_WEIGHT_TENSOR, find_architecture
from wg_common.inference import hostile_tensors
from wg_common.inference.hostile_tensors import Tensors
from wg_common.nets import network
from wg_core.errors import DecodeError


def tensor_shapes(
    architecture: str, classes: int, feature_count: int
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a model by its name.

    Args:
        architecture: Name in the catalogue, of a head on the encoder or of a network.
        classes: Number of classes K.
        feature_count: Number of the encoder's features that a head uses; ignored for networks.

    Raises:
        ConfigError: There is no such architecture.
    """
    head = {HEAD_WEIGHT_TENSOR: (classes, feature_count), HEAD_BIAS_TENSOR: (classes,)}
    if not find_architecture(architecture).is_network:
        return head
    trunk = network.trunk_shapes(architecture)
    return trunk | head | {HEAD_WEIGHT_TENSOR: (classes, network.feature_count(architecture))}


def check_tensors(architecture: str, tensors: Tensors, classes: int, feature_count: int) -> None:
    """Check that tensors have the names and shapes of ``tensor_shapes``, and finite float32 values.

    Raises:
        DecodeError: A name, shape or type is wrong, or a value is not finite.
        ConfigError: There is no such architecture.
    """
    for name, value in tensors.items():
        if value.dtype != np.float32:
            raise DecodeError(f"{architecture}: tensor {name!r} is {value.dtype}, expected float32")
    hostile_tensors.check_tensors(
        architecture, tensors, tensor_shapes(architecture, classes, feature_count)
    )
