"""Second image trunk: EfficientNet-Lite0 at the resolution of its training, 224 pixels.

The default trunk (``image_trunk``) uses images of 128 pixels a side, which costs less time. At 224
pixels the same network separates small objects and fine marks that are blurred at 128. In an
encoder with both, only the default trunk's features are released; these serve a plant's models.
"""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder import published_weights
from wg_common.nets.encoder.image_trunk import (
    LAST_MAP_CHANNELS,
    FusedLite0,
    resized_batch,
    to_channels_last,
)
from wg_common.nets.encoder.trunk import NamedTrunk

_IMAGE_SIDE = 224


class ObjectTrunk(NamedTrunk):
    """Trunk from images to unit vectors ``[n, 1280]``, the spatial means of the last map."""

    label = f"{published_weights.NETWORK_NAME}-{_IMAGE_SIDE}"
    width = LAST_MAP_CHANNELS
    batch_size = 16
    needs_process = False
    direction_count = 448
    advice = "plants without a known kind are right two points more often with it; 30 ms a record"

    def __init__(self) -> None:
        super().__init__()
        self.stages = to_channels_last(FusedLite0())

    @classmethod
    def digest(cls) -> str:
        """Return the SHA-256 of the trunk's ImageNet weights, hex."""
        return published_weights.FILE_SHA256

    @classmethod
    def released_fit_weights(cls) -> NDArray[np.float64]:
        """Return ones: all features have equal weight in the fit."""
        return np.ones(LAST_MAP_CHANNELS)

    def feature_bounds(self) -> float:
        """Return 1.01 as bound on feature magnitudes, since vectors have unit length."""
        return 1.01

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Resize images to one batch ``[n, 3, 224, 224]``, channels last."""
        return resized_batch(records, _IMAGE_SIDE)

    def forward(self, images: Tensor) -> Tensor:
        """Return unit vectors ``[n, 1280]`` of images ``[n, 3, 224, 224]``, 0 to 255."""
        return F.normalize(self.stages.last_map_means(images), dim=1)


TRUNK = ObjectTrunk
