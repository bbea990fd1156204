"""Feature scaling at the plant: many local features as few numbers, whatever units they are in.

Sensor windows have thousands of local features without a public scale: one plant's are in bars and
another's in millivolts (``wg_common.nets.encoder.window_kernels``). The plant divides each by how
much its own records vary in it, gives all of them together twice the standard deviation of the
local features that do have a scale, and takes the leading principal directions of both, as many as
there are of the latter. No label is looked at, so held-out predictions stay honest. Every model is
learnt on scaled features, and its head is turned back into one on local features, which is what is
kept, exported and run.

Images have a public scale throughout: their features are left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.fitting.linear_head import Floats, LinearHead
from wg_common.inference.discriminants import principal

_RECORDS = 2000
"""Directions are those of as many records at most, spread evenly."""
_FLOOR = 0.01
"""Least spread that a feature is divided by, in units of the mean spread of all."""
_LOUDER = 2.0
"""Root of the total variance of features without a public scale, over that of those with one."""
_CHUNK = 1024
_TINY = 1e-12


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
        found = np.zeros((len(features), released + self.directions.shape[1]))
        for start in range(0, len(features), _CHUNK):
            rows = features[start : start + _CHUNK].astype(np.float64)
            found[start : start + _CHUNK, :released] = rows[:, :released]
            others = (rows[:, released:] - self.mean) @ self.directions
            found[start : start + _CHUNK, released:] = others
        return found

    def outward(self, head: LinearHead) -> LinearHead:
        """The same function of local features as a head ``[K, P]`` is of scaled ones."""
        released = head.weight.shape[1] - self.directions.shape[1]
        weight = head.weight[:, released:] @ self.directions.T
        return LinearHead(
            np.hstack([head.weight[:, :released], weight]), head.bias - weight @ self.mean
        )


def feature_scaling(
    features: NDArray[np.floating], released: int, scaled: int
) -> FeatureScaling | None:
    """The scaling that a plant's records ask for, with and without labels.

    Args:
        features: Local features ``[n, D]``, n at least 1.
        released: Number d of them that are released; they come first.
        scaled: Number P of them that have a public scale; they come before the others.

    Returns:
        None where all have one: nothing is scaled.
    """
    if scaled == features.shape[1]:
        return None
    rows = np.linspace(0, len(features) - 1, min(len(features), _RECORDS)).astype(np.int64)
    x = features[rows, released:].astype(np.float64)
    mean = x.mean(axis=0)
    x -= mean
    public = scaled - released
    spread = x.std(axis=0)
    own = spread[public:]
    scale = np.ones(len(mean))
    scale[public:] = 1 / (own + _FLOOR * float(own.mean()) + _TINY)
    loud, other = (float(np.sqrt(np.sum(part**2))) for part in np.split(spread * scale, [public]))
    scale[public:] *= _LOUDER * loud / (other + _TINY)
    # Learners' strengths are made for the variance of features with a public scale.
    scale /= np.sqrt(1 + _LOUDER**2)
    x *= scale
    values, vectors = principal(x, min(public, *x.shape))
    held = values > 1e-9 * values[0]
    directions = np.zeros((len(mean), public))
    directions[:, : held.sum()] = scale[:, None] * vectors[:, held]
    return FeatureScaling(mean, directions)
