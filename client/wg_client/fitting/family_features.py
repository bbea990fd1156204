"""Logits of a family head as further features of the plant's trunk.

The family head uses local features that the plant standardises; the plant's own models use other
directions of the same features (``feature_scaling``). The head's logits are appended to these as
features, scaled to the variance of the released ones, so that fine-tuning starts from the head in a
space that contains the local-only model's.

If a network of the family came with the head, its features are appended to the local ones, and its
logits to the head's: fine-tuning starts from the mean of both logits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.joined_columns import Features, JoinedColumns
from wg_client.fitting.linear_head import Floats, LinearHead
from wg_client.fitting.trunk_features import LocalFeatureMap, TrunkFeatures
from wg_common.inference import block_scale
from wg_common.inference.family_head import FamilyHead, FeatureLayout

_RECORDS_AT_ONCE = 256  # Records


@dataclass(frozen=True, slots=True, eq=False)
class FamilyNetworkHead:
    """Head of a family's network, with the network's F features of a plant's records.

    Attributes:
        head: The network's head, on features that the plant standardises.
        features: Features of all of the plant's records, ``[n, F]``, not standardised.
    """

    head: FamilyHead
    features: NDArray[np.floating]

    def unstandardised_head(self) -> LinearHead:
        """Return the head as an equal head on ``features``, which are not standardised."""
        return LinearHead(
            *self.head.adapt_to_site(self.features, FeatureLayout(self.features.shape[1], ()))
        )


@dataclass(frozen=True, slots=True, eq=False)
class LogitFeatureMap:
    """Affine map of local features, with the logits of family heads appended.

    Attributes:
        leading_map: Map of the first columns; None: identity.
        leading_column_count: Number of columns that ``leading_map`` maps.
        stacked_head: Family heads, stacked as one head on all columns.
        logit_factors: Factor on each logit of ``stacked_head``.
    """

    leading_map: LocalFeatureMap | None
    leading_column_count: int
    stacked_head: LinearHead
    logit_factors: Floats

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """Map local features of any records, ``[n, D]``, to the inputs of a head, ``[n, d]``."""
        plain = features.astype(np.float64)
        encoder_features = plain[:, : self.leading_column_count]
        scaled_features = (
            encoder_features
            if self.leading_map is None
            else self.leading_map.apply(encoder_features)
        )
        return np.hstack([scaled_features, self.logit_factors * self.stacked_head.logits(plain)])

    def to_local_head(self, head: LinearHead) -> LinearHead:
        """Return a head on local features that equals ``head`` on the map's output."""
        count = head.weight.shape[1] - len(self.logit_factors)
        front = LinearHead(head.weight[:, :count], head.bias)
        if self.leading_map is not None:
            front = self.leading_map.to_local_head(front)
        front = front.pad_features(self.stacked_head.weight.shape[1])
        share = self.logit_factors * head.weight[:, count:]
        return LinearHead(
            front.weight + share @ self.stacked_head.weight,
            front.bias + share @ self.stacked_head.bias,
        )


def append_family_logits(
    family_head: FamilyHead,
    local_features: Features,
    layout: FeatureLayout,
    trunk_features: TrunkFeatures,
    released_width: int,
    network_head: FamilyNetworkHead | None = None,
) -> tuple[TrunkFeatures, LinearHead]:
    """Append a family head's logits to a plant's features; return these, and the head on them.

    The head returned outputs the family head's logits, or the mean of these and the logits of
    ``network_head`` if it is given.

    Args:
        local_features: Local features of all of the plant's records, ``[n, D]``.
        layout: Layout of the encoder's local features.
        trunk_features: Features of the same records to which the logits are appended.
        released_width: Number of features that are released; they come first.
        network_head: Head of the family's network, whose features come after all others.
    """
    shared_features = local_features[:, : layout.scaled_count + sum(layout.block_sizes)]
    columns, heads = (
        local_features,
        [LinearHead(*family_head.adapt_to_site(shared_features, layout))],
    )
    if network_head is not None:
        columns, second = (
            JoinedColumns((columns, network_head.features)),
            network_head.unstandardised_head(),
        )
        behind = np.pad(second.weight, ((0, 0), (local_features.shape[1], 0)))
        heads.append(LinearHead(behind, second.bias))
    heads[0] = heads[0].pad_features(columns.shape[1])
    classes, size = len(family_head.bias), _root_total_variance(local_features[:, :released_width])
    loudness = np.repeat(
        [size / _root_total_variance(_logits_in_batches(head, columns)) for head in heads], classes
    )
    stacked_head = LinearHead(
        np.vstack([head.weight for head in heads]), np.concatenate([head.bias for head in heads])
    )
    view = LogitFeatureMap(
        trunk_features.feature_map, local_features.shape[1], stacked_head, loudness
    )
    mean = np.tile(np.eye(classes), len(heads)) / (len(heads) * loudness)
    weight = np.hstack([np.zeros((classes, trunk_features.features.shape[1])), mean])
    features = np.hstack(
        [trunk_features.features, loudness * _logits_in_batches(stacked_head, columns)]
    )
    return TrunkFeatures(features, feature_map=view), LinearHead(weight, np.zeros(classes))


def _logits_in_batches(head: LinearHead, columns: Features) -> Floats:
    """Return a head's logits of all records, of which few at a time are converted to float64."""
    starts = range(0, max(len(columns), 1), _RECORDS_AT_ONCE)
    parts = (columns[start : start + _RECORDS_AT_ONCE, :].astype(np.float64) for start in starts)
    return np.concatenate([head.logits(part) for part in parts])


def _root_total_variance(features: NDArray[np.floating]) -> float:
    """Return the root of the sum of all features' variances, plus a tiny positive number."""
    return (
        float(np.sqrt(features.var(axis=0, dtype=np.float64).sum())) + block_scale.DIVISION_EPSILON
    )
