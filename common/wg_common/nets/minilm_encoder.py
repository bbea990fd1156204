"""MiniLM as a local encoder: what the public network says of a text, which stays at one plant.

The shared encoder of texts knows words in many languages and not their order. A plant whose notes
are English may add MiniLM's 384 numbers (``wg_common.nets.minilm``), of which
nothing is released.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets import minilm
from wg_common.nets.encoder import isolation
from wg_common.nets.encoder.local_encoder import LocalEncoder
from wg_core.site.encoder_names import MINILM


class MiniLmEncoder(LocalEncoder):
    """Texts to unit vectors ``[n, 384]``.

    Raises:
        ConfigError: The package of the weights is missing.
        VerificationError: It is another one.
    """

    name = MINILM
    width = minilm.FEATURES
    shape = (1, 1)  # texts have no sides
    batch = 32

    def __init__(self) -> None:
        super().__init__()
        self.network = isolation.aligned(minilm.MiniLm())
        self.weight_bytes = sum(4 * value.numel() for value in self.network.parameters())

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Numbers of pieces of words ``[n, T]``, as many as the longest text has."""
        batch = torch.from_numpy(minilm.prepared(records))
        return batch[:, : int((batch > 0).sum(dim=1).max())]

    def forward(self, batch: Tensor) -> Tensor:
        """Unit vectors of texts."""
        vectors: Tensor = self.network(batch)
        return vectors
