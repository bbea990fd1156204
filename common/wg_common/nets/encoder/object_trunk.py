"""The second trunk of images: EfficientNet-Lite0 at the side that it was trained at.

The usual trunk looks at 128 pixels, for its numbers are released and a record must cost little. On
224 pixels the same network tells small objects and fine marks apart that it blurs; nothing of it is
released, and a plant's own model weighs it by its records.
"""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder import published_weights
from wg_common.nets.encoder.image_trunk import LAST, Stages, channels_last, encoder_batch
from wg_common.nets.encoder.trunk import NamedTrunk

_SIDE = 224


class ObjectTrunk(NamedTrunk):
    """Images to the last feature map's mean, of unit length: ``[n, 1280]``."""

    label = f"{published_weights.NAME}-{_SIDE}"
    width = LAST
    batch = 16
    needs_process = False
    directions = 448
    advice = "plants without a known kind are right two points more often with it; 30 ms a record"

    def __init__(self) -> None:
        super().__init__()
        self.stages = channels_last(Stages())

    @classmethod
    def digest(cls) -> str:
        """SHA-256 of ImageNet's weights, hex."""
        return published_weights.SHA256

    @classmethod
    def block_weights(cls) -> NDArray[np.float64]:
        """Equal weights."""
        return np.ones(LAST)

    def bounds(self) -> float:
        """Vectors have unit length, but for rounding."""
        return 1.01

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Images as one batch ``[n, 3, 224, 224]``, channels last."""
        return encoder_batch(records, _SIDE)

    def forward(self, images: Tensor) -> Tensor:
        """Unit vectors of images ``[n, 3, 224, 224]``, 0 to 255."""
        return F.normalize(self.stages.last_map(images), dim=1)


TRUNK = ObjectTrunk
