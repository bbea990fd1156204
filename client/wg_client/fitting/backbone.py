"""What stands before a head at a plant: the shared encoder, or a whole network's own trunk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.feature_scaling import feature_scaling
from wg_client.fitting.linear_head import Floats, LinearHead

Tensors = Mapping[str, NDArray[np.float32]]


class Scaled(Protocol):
    """An affine map of local features."""

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """What a head stands on, of any records."""

    def outward(self, head: LinearHead) -> LinearHead:
        """The same function of local features as a head is of what they are turned into."""


@dataclass(frozen=True, slots=True, eq=False)
class Trunk:
    """A trunk, seen through the plant's records.

    Attributes:
        features: float64 ``[n, d]`` of all local records.
        tensors: ``trunk.*``; empty for the frozen encoder, which is no part of a model's tensors.
        scaling: What turned the encoder's local features into ``features``; None: nothing.
    """

    features: Floats
    tensors: Tensors = field(default_factory=dict)
    scaling: Scaled | None = None

    def outward(self, head: LinearHead) -> LinearHead:
        """A head on ``features`` as one on what the trunk gives of any record."""
        return head if self.scaling is None else self.scaling.outward(head)


def encoder_trunk(
    local: NDArray[np.floating], released: int, scaled: int, blocks: Sequence[int]
) -> Trunk:
    """The encoder's trunk; arguments as of ``feature_scaling``."""
    scaling = feature_scaling(local, released, scaled, blocks)
    features = local.astype(np.float64) if scaling is None else scaling.apply(local)
    return Trunk(features, scaling=scaling)


def network_trunk(architecture: str, tensors: Tensors, batch: NDArray[Any]) -> Trunk:
    """The trunk of a whole network.

    Args:
        tensors: The network's tensors; those of its head are left out.
        batch: All local records, from ``network.prepared``.
    """
    from wg_common.nets import network  # torch: seconds to import, only when needed

    trunk = network.trunk_only(tensors)
    values = network.features(network.load_trunk(architecture, trunk), batch)
    return Trunk(values.astype(np.float64), trunk)
