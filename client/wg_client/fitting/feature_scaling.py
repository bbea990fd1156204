"""Feature scaling at the plant: standardisation and principal directions of local features.

Local features beyond the released ones come in blocks without a common scale: one plant's windows
are in bars and another's in millivolts, and features that distinguish marks on steel vary a
hundredth as much as those that distinguish photographs. The plant divides each feature by its
spread over its own records, gives each block the same variance, and projects it on its leading
principal directions. The blocks are concatenated, so a learner may use one of them or all. The
released features come before them, with less variance, since the blocks contain their information.
No label is used, so held-out predictions stay valid. Every model is trained on scaled features, and
its head is converted to a head on local features, which is stored, exported and run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wg_client.fitting.joined_columns import Features
from wg_client.fitting.linear_head import Floats, LinearHead
from wg_common.inference.block_scale import block_scale_factors
from wg_common.inference.discriminants import principal_components

MOST_SCALING_RECORDS = 2000  # Most records, evenly spread, from which directions are computed
MOST_BLOCK_DIRECTIONS = 256  # Most directions of a block
_BLOCK_TO_RELEASED_SPREAD = (
    4.0  # Root total variance of a scaled block, relative to that of the released features
)
_RECORDS_AT_ONCE = 256  # Records that are scaled at a time


@dataclass(frozen=True, slots=True, eq=False)
class FeatureScaling:
    """Affine map from local features to released features and principal directions of each block.

    Attributes:
        released_width: Number d of features that are released; they come first.
        scaled_width: Number P of features that have a public scale; the blocks come after them.
        block_means: For each block, the means of its B features, ``[B]``.
        block_directions: For each block, its r principal directions in columns, ``[B, r]``.
    """

    released_width: int
    scaled_width: int
    block_means: tuple[Floats, ...]
    block_directions: tuple[Floats, ...]

    @property
    def direction_counts(self) -> tuple[int, ...]:
        """Number r of principal directions of each block of features."""
        return tuple(directions.shape[1] for directions in self.block_directions)

    def apply(self, features: Features) -> Floats:
        """Map local features ``[n, D]`` to scaled features ``[n, d + R]``.

        These are the d released features, then R coordinates in all blocks' directions.
        """
        output = np.zeros((len(features), self.released_width + sum(self.direction_counts)))
        for start in range(0, len(features), _RECORDS_AT_ONCE):
            rows = features[start : start + _RECORDS_AT_ONCE, :].astype(np.float64)
            parts, column = [rows[:, : self.released_width]], self.scaled_width
            for mean, directions in zip(self.block_means, self.block_directions, strict=True):
                parts.append((rows[:, column : column + len(mean)] - mean) @ directions)
                column += len(mean)
            output[start : start + _RECORDS_AT_ONCE] = np.hstack(parts)
        return output

    def to_local_head(self, head: LinearHead) -> LinearHead:
        """Return a head on local features that equals ``head`` on the d + R scaled ones."""
        released_part, *parts = np.split(
            head.weight, self.released_width + np.cumsum((0, *self.direction_counts))[:-1], axis=1
        )
        weights = [part @ turn.T for part, turn in zip(parts, self.block_directions, strict=True)]
        offsets = [weight @ mean for weight, mean in zip(weights, self.block_means, strict=True)]
        unheard = np.zeros((len(released_part), self.scaled_width - self.released_width))
        return LinearHead(np.hstack([released_part, unheard, *weights]), head.bias - sum(offsets))


def fit_feature_scaling(
    features: Features, released_width: int, scaled_width: int, block_sizes: Sequence[int]
) -> FeatureScaling | None:
    """Fit the scaling on a plant's records, with and without labels.

    Args:
        features: Local features ``[n, D]``, n at least 1.
        released_width: Number d of features that are released; they come first.
        scaled_width: Number P of features that have a public scale; they come before the blocks.
            Those not released are ignored: the blocks contain their information, and more.
        block_sizes: Sizes of the blocks; they add up to D - P.

    Returns:
        None if there are no blocks: nothing is scaled.
    """
    if not block_sizes:
        return None
    rows = np.linspace(0, len(features) - 1, min(len(features), MOST_SCALING_RECORDS)).astype(
        np.int64
    )
    total = features[rows, :released_width].astype(np.float64).var(axis=0).sum()
    target = _BLOCK_TO_RELEASED_SPREAD * float(np.sqrt(total)) or 1.0
    means, turns = [], []
    for end, size in zip(scaled_width + np.cumsum(block_sizes), block_sizes, strict=True):
        x = features[rows, end - size : end].astype(np.float64)  # a block at a time: memory
        mean = x.mean(axis=0)
        x -= mean
        std = np.sqrt(np.einsum("nb,nb->b", x, x) / len(x))
        scale = target * block_scale_factors(std, (x.shape[1],))
        x *= scale
        values, vectors = principal_components(x, min(MOST_BLOCK_DIRECTIONS, *x.shape))
        nonzero = values > 1e-9 * values[0]
        means.append(mean)
        turns.append(scale[:, None] * vectors[:, nonzero])
    return FeatureScaling(released_width, scaled_width, tuple(means), tuple(turns))
