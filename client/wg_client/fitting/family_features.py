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

_AT_ONCE = 256  # Records


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
        """Return the same head on features before their standardisation."""
        return LinearHead(
            *self.head.adapt_to_site(self.features, FeatureLayout(self.features.shape[1], ()))
        )


@dataclass(frozen=True, slots=True, eq=False)
class LogitFeatureMap:
    """Affine map of local features, with the logits of family heads appended.

    Attributes:
        scaling: Map of the first columns; None: identity.
        column_count: Number of columns that ``scaling`` maps.
        heads: Family heads, stacked as one head on all columns.
        logit_factor: Factor on each logit of ``heads``.
    """

    scaling: LocalFeatureMap | None
    column_count: int
    heads: LinearHead
    logit_factor: Floats

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """Return the head's inputs for the local features of any records."""
        plain = features.astype(np.float64)
        encoder_features = plain[:, : self.column_count]
        scaled_features = (
            encoder_features if self.scaling is None else self.scaling.apply(encoder_features)
        )
        return np.hstack([scaled_features, self.logit_factor * self.heads.logits(plain)])

    def to_local_head(self, head: LinearHead) -> LinearHead:
        """Return a head on local features that equals ``head`` on the map's output."""
        count = head.weight.shape[1] - len(self.logit_factor)
        front = LinearHead(head.weight[:, :count], head.bias)
        if self.scaling is not None:
            front = self.scaling.to_local_head(front)
        front = front.pad_features(self.heads.weight.shape[1])
        share = self.logit_factor * head.weight[:, count:]
        return LinearHead(
            front.weight + share @ self.heads.weight, front.bias + share @ self.heads.bias
        )


def append_family_logits(
    family: FamilyHead,
    local_features: Features,
    layout: FeatureLayout,
    trunk: TrunkFeatures,
    released_width: int,
    network: FamilyNetworkHead | None = None,
) -> tuple[TrunkFeatures, LinearHead]:
    """Append a family head's logits to a plant's features; return these, and the head on them.

    The head returned outputs the appended logits, or the mean of both heads' logits.

    Args:
        local_features: Local features of all of the plant's records, ``[n, D]``.
        layout: Layout of the encoder's local features.
        trunk: Features of the same records to which the logits are appended.
        released_width: Number of features that are released; they come first.
        network: Head of the family's network, whose features come after all others.
    """
    shared_features = local_features[:, : layout.scaled + sum(layout.blocks)]
    columns, heads = local_features, [LinearHead(*family.adapt_to_site(shared_features, layout))]
    if network is not None:
        columns, second = JoinedColumns((columns, network.features)), network.unstandardised_head()
        behind = np.pad(second.weight, ((0, 0), (local_features.shape[1], 0)))
        heads.append(LinearHead(behind, second.bias))
    heads[0] = heads[0].pad_features(columns.shape[1])
    classes, size = len(family.bias), _root_variance(local_features[:, :released_width])
    loudness = np.repeat(
        [size / _root_variance(_logits_by_rows(head, columns)) for head in heads], classes
    )
    stacked_head = LinearHead(
        np.vstack([head.weight for head in heads]), np.concatenate([head.bias for head in heads])
    )
    view = LogitFeatureMap(trunk.scaling, local_features.shape[1], stacked_head, loudness)
    mean = np.tile(np.eye(classes), len(heads)) / (len(heads) * loudness)
    weight = np.hstack([np.zeros((classes, trunk.features.shape[1])), mean])
    features = np.hstack([trunk.features, loudness * _logits_by_rows(stacked_head, columns)])
    return TrunkFeatures(features, scaling=view), LinearHead(weight, np.zeros(classes))


def _logits_by_rows(head: LinearHead, columns: Features) -> Floats:
    """Return a head's logits of all records, of which few at a time are converted to float64."""
    starts = range(0, max(len(columns), 1), _AT_ONCE)
    parts = (columns[start : start + _AT_ONCE, :].astype(np.float64) for start in starts)
    return np.concatenate([head.logits(part) for part in parts])


def _root_variance(features: NDArray[np.floating]) -> float:
    """Return the root of the sum of all features' variances, plus a tiny positive number."""
    return float(np.sqrt(features.var(axis=0, dtype=np.float64).sum())) + block_scale.TINY
