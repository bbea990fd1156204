"""A head of the plant's family beside what the plant learns on by itself.

The head stands on local features that the plant standardises; what the plant learns on are other
directions of the same features (``feature_scaling``). The logits of the head stand beside these as
further features, as loud as the released ones, so that training goes on from the head in a space
that is no poorer than that of a model of the plant's own (docs/decisions/0159).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.backbone import Scaled, Trunk
from wg_client.fitting.linear_head import Floats, LinearHead
from wg_common.inference.family_head import FamilyHead, Layout

_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class WithLogits:
    """An affine map of local features: those of another one, and the logits of a head.

    Attributes:
        scaling: The other one; None: local features as they are.
        head: On local features.
        loudness: Factor on its logits.
    """

    scaling: Scaled | None
    head: LinearHead
    loudness: float

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """What a head stands on, of any records."""
        own = features.astype(np.float64) if self.scaling is None else self.scaling.apply(features)
        logits = self.head.logits(features.astype(np.float64))
        return np.hstack([own, self.loudness * logits])

    def outward(self, head: LinearHead) -> LinearHead:
        """The same function of local features as a head is of what they are turned into."""
        count = head.weight.shape[1] - len(self.head.bias)
        own = LinearHead(head.weight[:, :count], head.bias)
        if self.scaling is not None:
            own = self.scaling.outward(own)
        share = self.loudness * head.weight[:, count:]
        return LinearHead(own.weight + share @ self.head.weight, own.bias + share @ self.head.bias)


def family_view(
    family: FamilyHead, local: NDArray[np.floating], layout: Layout, own: Trunk, released: int
) -> tuple[Trunk, LinearHead]:
    """What the head of a family stands on at a plant, and the head.

    Args:
        local: Local features of all of the plant's records, ``[n, D]``.
        layout: Of the shared encoder's local features; those of a local encoder come behind.
        released: Number of features that are released; they come first.
    """
    shared = local[:, : layout.scaled + sum(layout.blocks)]
    head = LinearHead(*family.at(shared, layout)).padded(local.shape[1])
    logits = head.logits(local.astype(np.float64))
    loudness = _size(local[:, :released]) / _size(logits)
    view = WithLogits(own.scaling, head, loudness)
    features = np.hstack([own.features, loudness * logits])
    classes = len(family.bias)
    weight = np.hstack([np.zeros((classes, own.features.shape[1])), np.eye(classes) / loudness])
    return Trunk(features, scaling=view), LinearHead(weight, np.zeros(classes))


def _size(features: NDArray[np.floating]) -> float:
    """Root of the total variance; positive."""
    return float(np.sqrt(features.var(axis=0, dtype=np.float64).sum())) + _TINY
