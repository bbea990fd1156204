"""Feature scaling at the plant: many local features as few numbers, whatever units they are in.

Local features beyond the released ones come in blocks that have no scale in common: one plant's
windows are in bars and another's in millivolts, and what tells marks on steel apart is a hundredth
of what tells photographs apart. The plant divides each by how much its own records vary in it,
gives each block the same variance, and takes the leading principal directions of all blocks. The
released features stand beside them, and quietly, since the blocks say all that they say. No label
is looked at, so held-out predictions stay honest. Every model is learnt on scaled features, and its
head is turned back into one on local features, which is what is kept, exported and run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.linear_head import Floats, LinearHead
from wg_common.inference.block_scale import block_scale
from wg_common.inference.discriminants import principal

RECORDS = 2000  # Directions are those of as many records at most, spread evenly
_LOUDER = 4.0  # Root of the total variance of a block, over that of the released features
_CHUNK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class FeatureScaling:
    """An affine map: the released features as they are, and directions of the others.

    Attributes:
        mean: Of the features that are not released, ``[D - d]``.
        directions: ``[D - d, P - d]``; zeros where there are fewer than P - d.
    """

    mean: Floats
    directions: Floats

    def apply(self, features: NDArray[np.floating]) -> Floats:
        """Scaled features ``[n, P]`` of local features ``[n, D]``."""
        released = features.shape[1] - len(self.mean)
        output = np.zeros((len(features), released + self.directions.shape[1]))
        for start in range(0, len(features), _CHUNK):
            rows = features[start : start + _CHUNK].astype(np.float64)
            output[start : start + _CHUNK, :released] = rows[:, :released]
            projected = (rows[:, released:] - self.mean) @ self.directions
            output[start : start + _CHUNK, released:] = projected
        return output

    def outward(self, head: LinearHead) -> LinearHead:
        """The same function of local features as a head ``[K, P]`` is of scaled ones."""
        released = head.weight.shape[1] - self.directions.shape[1]
        weight = head.weight[:, released:] @ self.directions.T
        return LinearHead(
            np.hstack([head.weight[:, :released], weight]), head.bias - weight @ self.mean
        )


def feature_scaling(
    features: NDArray[np.floating],
    released: int,
    scaled: int,
    blocks: Sequence[int],
) -> FeatureScaling | None:
    """The scaling that a plant's records ask for, with and without labels.

    Args:
        features: Local features ``[n, D]``, n at least 1.
        released: Number d of them that are released; they come first.
        scaled: Number P of them that have a public scale; they come before the others. Those of
            them that are not released have no part: the others say the same, and more.
        blocks: Sizes of the blocks of the others; they add up to D - P.

    Returns:
        None where there are no blocks: nothing is scaled.
    """
    if not blocks:
        return None
    rows = np.linspace(0, len(features) - 1, min(len(features), RECORDS)).astype(np.int64)
    x = features[rows].astype(np.float64)
    mean = x.mean(axis=0)
    x -= mean
    spread = x.std(axis=0)
    target = _LOUDER * float(np.sqrt(np.sum(spread[:released] ** 2))) or 1.0
    scale = target * block_scale(spread[scaled:], blocks)
    x, count = x[:, scaled:] * scale, scaled - released
    values, vectors = principal(x, min(count, *x.shape))
    nonzero = values > 1e-9 * values[0]
    directions = np.zeros((len(mean) - released, count))
    directions[count:, : nonzero.sum()] = scale[:, None] * vectors[:, nonzero]
    return FeatureScaling(mean[released:], directions)
