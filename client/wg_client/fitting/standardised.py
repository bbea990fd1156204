"""A head of the plant's family beside what the plant learns on by itself.

The head stands on local features that the plant standardises; what the plant learns on are other
directions of the same features (``feature_scaling``). The logits of the head stand beside these as
further features, as loud as the released ones, so that training goes on from the head in a space
that is no poorer than that of a model of the plant's own.

Where a network of the family came with the head, its features stand behind the local ones, and its
logits beside the head's: training goes on from the mean of both, which is one of log odds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.backbone import Scaled, Trunk
from wg_client.fitting.linear_head import Floats, LinearHead
from wg_common.inference.family_head import FamilyHead, Layout

_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class HeadBeside:
    """A network of the family at a plant: a head on F features that the plant standardises.

    Attributes:
        head: The head.
        features: Features of all of the plant's records, ``[n, F]``.
    """

    head: FamilyHead
    features: NDArray[np.floating]

    def at(self) -> LinearHead:
        """The head on its features as they are."""
        return LinearHead(*self.head.at(self.features, Layout(self.features.shape[1], ())))


@dataclass(frozen=True, slots=True, eq=False)
class WithLogits:
    """An affine map of local features: those of another one, and the logits of heads.

    Attributes:
        scaling: The other one, of the first columns; None: local features as they are.
        columns: Number of these.
        heads: On all columns, one below the other.
        loudness: Factor on each of their logits.
    """

    scaling: Scaled | None
    columns: int
    heads: LinearHead
    loudness: Floats

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """Compute the inputs of the head, for any records."""
        plain = features.astype(np.float64)
        encoder_features = plain[:, : self.columns]
        scaled_features = (
            encoder_features if self.scaling is None else self.scaling.apply(encoder_features)
        )
        return np.hstack([scaled_features, self.loudness * self.heads.logits(plain)])

    def outward(self, head: LinearHead) -> LinearHead:
        """The same function of local features as a head is of what they are turned into."""
        count = head.weight.shape[1] - len(self.loudness)
        front = LinearHead(head.weight[:, :count], head.bias)
        if self.scaling is not None:
            front = self.scaling.outward(front)
        front = front.pad_features(self.heads.weight.shape[1])
        share = self.loudness * head.weight[:, count:]
        return LinearHead(
            front.weight + share @ self.heads.weight, front.bias + share @ self.heads.bias
        )


def family_view(
    family: FamilyHead,
    local: NDArray[np.floating],
    layout: Layout,
    trunk: Trunk,
    released: int,
    network: HeadBeside | None = None,
) -> tuple[Trunk, LinearHead]:
    """Return the inputs of a family's head at a plant, and the head.

    Args:
        local: Local features of all of the plant's records, ``[n, D]``.
        layout: Layout of the encoder's local features.
        released: Number of features that are released; they come first.
        network: The family's network, whose features come behind all of these.
    """
    shared_features = local[:, : layout.scaled + sum(layout.blocks)]
    columns, heads = local.astype(np.float64), [LinearHead(*family.at(shared_features, layout))]
    if network is not None:
        columns, second = np.hstack([columns, network.features]), network.at()
        behind = np.pad(second.weight, ((0, 0), (local.shape[1], 0)))
        heads.append(LinearHead(behind, second.bias))
    heads[0] = heads[0].pad_features(columns.shape[1])
    classes, size = len(family.bias), _size(local[:, :released])
    loudness = np.repeat([size / _size(head.logits(columns)) for head in heads], classes)
    stacked_head = LinearHead(
        np.vstack([head.weight for head in heads]), np.concatenate([head.bias for head in heads])
    )
    view = WithLogits(trunk.scaling, local.shape[1], stacked_head, loudness)
    mean = np.tile(np.eye(classes), len(heads)) / (len(heads) * loudness)
    weight = np.hstack([np.zeros((classes, trunk.features.shape[1])), mean])
    features = np.hstack([trunk.features, loudness * stacked_head.logits(columns)])
    return Trunk(features, scaling=view), LinearHead(weight, np.zeros(classes))


def _size(features: NDArray[np.floating]) -> float:
    """Root of the total variance; positive."""
    return float(np.sqrt(features.var(axis=0, dtype=np.float64).sum())) + _TINY
