"""Inputs of a head at a plant: features of the shared encoder, and of additional networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.feature_scaling import fit_feature_scaling
from wg_client.fitting.joined_columns import Features
from wg_client.fitting.linear_head import Floats, LinearHead


class LocalFeatureMap(Protocol):
    """Interface of an affine map from local features to the inputs of a head."""

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """Map local features of any records, ``[n, D]``, to the inputs of a head, ``[n, d]``."""

    def to_local_head(self, head: LinearHead) -> LinearHead:
        """Return a head on local features that equals ``head`` on the map's output."""


@dataclass(frozen=True, slots=True, eq=False)
class TrunkFeatures:
    """Features of the plant's records, as input of heads.

    Attributes:
        features: Features of all records, float64 ``[n, d]``.
        feature_map: Map from the encoder's local features to ``features``; None: identity.
        local_feature_count: Number of local features that the trunk uses.
        block_sizes: Sizes of the blocks of features that the plant's learners use one by one, the
            last features of all; empty: learners use all features together.
        trunk_block_counts: Number of blocks of each of the encoder's trunks; empty: there is one
            trunk.
    """

    features: Floats
    feature_map: LocalFeatureMap | None = None
    local_feature_count: int = 0
    block_sizes: tuple[int, ...] = ()
    trunk_block_counts: tuple[int, ...] = ()

    def to_local_head(self, head: LinearHead) -> LinearHead:
        """Return a head on the encoder's local features that equals ``head`` on ``features``."""
        return head if self.feature_map is None else self.feature_map.to_local_head(head)


def scale_encoder_features(
    local_features: Features,
    released_width: int,
    scaled_width: int,
    block_sizes: Sequence[int],
    trunk_block_counts: Sequence[int] = (),
) -> TrunkFeatures:
    """Scale local features of a plant's records for use by heads.

    Args:
        local_features: Local features ``[n, D]``, n at least 1.
        released_width: Number of features that are released; they come first.
        scaled_width: Number of features that have a public scale; the blocks come after them.
        block_sizes: Sizes of the blocks, which are scaled; empty: nothing is scaled.
        trunk_block_counts: Number of blocks of each of the encoder's trunks.
    """
    scaling = fit_feature_scaling(local_features, released_width, scaled_width, block_sizes)
    if scaling is None:
        return TrunkFeatures(
            local_features[:, :].astype(np.float64), local_feature_count=local_features.shape[1]
        )
    counts = tuple(trunk_block_counts)
    return TrunkFeatures(
        scaling.apply(local_features),
        scaling,
        local_features.shape[1],
        scaling.direction_counts,
        counts,
    )


@dataclass(frozen=True, slots=True, eq=False)
class NetworkFeatureMap:
    """Affine map of local features, with a network's features appended unchanged.

    Attributes:
        encoder_map: Scaling of the local features; None: identity.
        local_feature_count: Number of local features.
        network_feature_count: Number of the network's features.
    """

    encoder_map: LocalFeatureMap | None
    local_feature_count: int
    network_feature_count: int

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """Map local features of any records, ``[n, D]``, to the inputs of a head, ``[n, d]``."""
        plain = features.astype(np.float64)
        encoder_features = plain[:, : self.local_feature_count]
        scaled_features = (
            encoder_features
            if self.encoder_map is None
            else self.encoder_map.apply(encoder_features)
        )
        return np.hstack([scaled_features, plain[:, self.local_feature_count :]])

    def to_local_head(self, head: LinearHead) -> LinearHead:
        """Return a head on local and network features that equals ``head`` on the map's output."""
        front = LinearHead(head.weight[:, : -self.network_feature_count], head.bias)
        if self.encoder_map is not None:
            front = self.encoder_map.to_local_head(front)
        return LinearHead(
            np.hstack([front.weight, head.weight[:, -self.network_feature_count :]]), front.bias
        )


def append_network_features(
    trunk_features: TrunkFeatures, network_features: NDArray[np.floating]
) -> TrunkFeatures:
    """Append a network's features ``[n, F]`` of the same records to those of the encoder."""
    scaling = NetworkFeatureMap(
        trunk_features.feature_map, trunk_features.local_feature_count, network_features.shape[1]
    )
    return TrunkFeatures(
        np.hstack([trunk_features.features, network_features]).astype(np.float64),
        feature_map=scaling,
    )
