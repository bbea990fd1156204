"""A local encoder: a second one, whose features stand beside the shared encoder's at one plant.

The shared encoder is the same at all sites, since what is released stands on it. Features of
records that stay on site are free of privacy, so a plant may add those of another network: one more
block of local features, behind the others, which the plant scales as it does every block
(``Encoder.beside``). Releases, the zoo and delivered weights know nothing of
it.

Of a network each row is divided by its length, as the last map of the shared encoder is. So no
value of a record is above 1, whatever the network gives, and one that is not finite counts as
zeros. Of windows it is no network but their course (``window_course``).
"""

from abc import abstractmethod
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from wg_common.modalities.base import Record
from wg_common.nets.encoder import image_trunk, isolation, published_weights
from wg_core.site.encoder_names import LITE2, LITE2_SHA256


class LocalEncoder(nn.Module):
    """Records to further local features.

    Attributes:
        name: For people.
        width: Number of features.
        shape: First two sides of a record of the size that it sees.
        batch: Records that run together where nothing is frozen.
        weight_bytes: Size of its weights.
        activations: Megabytes of a record at work, about: of a network of the size of Lite2.
        exports: Whether it is a torch module on the batch that the shared encoder sees.
    """

    name: str
    width: int
    shape: tuple[int, int]
    batch: int = 1
    weight_bytes: int = 0
    activations: float = 60.0
    exports: bool = False

    @abstractmethod
    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Up to ``batch`` valid records as one batch."""

    @abstractmethod
    def forward(self, batch: Tensor) -> Tensor:
        """Features ``[n, width]``; of a network each row of length 1."""


class Lite2(LocalEncoder):
    """EfficientNet-Lite2 with ImageNet's weights, read at its last map.

    Args:
        pixels: Side of the images, as the shared encoder's fine scale: both see one batch.
    """

    name = LITE2
    width = image_trunk.LAST
    batch = image_trunk.Trunk.batch
    exports = True

    def __init__(self, pixels: int) -> None:
        super().__init__()
        weights = published_weights.load(LITE2, LITE2_SHA256)
        net = published_weights.network(LITE2, weights)
        self.stages = isolation.aligned(image_trunk.channels_last(image_trunk.Stages(net)))
        self.pixels, self.shape = pixels, (pixels, pixels)
        self.weight_bytes = sum(4 * value.numel() for value in weights.values())

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """See ``Trunk.prepare``."""
        return image_trunk.encoder_batch(records, self.pixels)

    def forward(self, batch: Tensor) -> Tensor:
        """Features of images ``[n, 3, pixels, pixels]``, 0 to 255."""
        return F.normalize(self.stages.last(batch), dim=1)
