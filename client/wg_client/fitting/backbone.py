"""What stands before a head at a plant: the shared encoder, and a network that may be beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.feature_scaling import feature_scaling
from wg_client.fitting.linear_head import Floats, LinearHead

Tensors = Mapping[str, NDArray[np.float32]]


class Scaled(Protocol):
    """An affine map of local features."""

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """Compute the inputs of the head, for any records."""

    def outward(self, head: LinearHead) -> LinearHead:
        """The same function of local features as a head is of what they are turned into."""


@dataclass(frozen=True, slots=True, eq=False)
class Trunk:
    """A trunk, seen through the plant's records.

    Attributes:
        features: float64 ``[n, d]`` of all local records.
        scaling: What turned the encoder's local features into ``features``; None: nothing.
        columns: Number of local features that it stands on.
        blocks: Sizes of the blocks of features that a plant's own learners see one by one, the
            last of the features; none: they see all.
        trunk_blocks: Number of blocks of each of the encoder's trunks; none: all are of one.
    """

    features: Floats
    scaling: Scaled | None = None
    columns: int = 0
    blocks: tuple[int, ...] = ()
    trunk_blocks: tuple[int, ...] = ()

    def outward(self, head: LinearHead) -> LinearHead:
        """A head on ``features`` as one on what the trunk gives of any record."""
        return head if self.scaling is None else self.scaling.outward(head)


def encoder_trunk(
    local: NDArray[np.floating],
    released: int,
    scaled: int,
    blocks: Sequence[int],
    trunk_blocks: Sequence[int] = (),
) -> Trunk:
    """The encoder's trunk; arguments as of ``feature_scaling`` and ``Trunk``."""
    scaling = feature_scaling(local, released, scaled, blocks)
    if scaling is None:
        return Trunk(local.astype(np.float64), columns=local.shape[1])
    counts = tuple(trunk_blocks)
    return Trunk(scaling.apply(local), scaling, local.shape[1], scaling.blocks, counts)


@dataclass(frozen=True, slots=True, eq=False)
class WithNetwork:
    """Local features as a trunk has them, and behind them those of a network, as they are.

    Attributes:
        scaling: Scaling of local features; None: nothing.
        columns: Number of these.
        width: Number of the network's features.
    """

    scaling: Scaled | None
    columns: int
    width: int

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """Compute the inputs of the head, for any records."""
        plain = features.astype(np.float64)
        encoder_features = plain[:, : self.columns]
        scaled_features = (
            encoder_features if self.scaling is None else self.scaling.apply(encoder_features)
        )
        return np.hstack([scaled_features, plain[:, self.columns :]])

    def outward(self, head: LinearHead) -> LinearHead:
        """The same function of local features as a head is of what they are turned into."""
        front = LinearHead(head.weight[:, : -self.width], head.bias)
        if self.scaling is not None:
            front = self.scaling.outward(front)
        return LinearHead(np.hstack([front.weight, head.weight[:, -self.width :]]), front.bias)


def with_network(encoder: Trunk, features: NDArray[np.floating]) -> Trunk:
    """The encoder's trunk with a network's features ``[n, F]`` of all local records behind it."""
    scaling = WithNetwork(encoder.scaling, encoder.columns, features.shape[1])
    return Trunk(np.hstack([encoder.features, features]).astype(np.float64), scaling=scaling)
