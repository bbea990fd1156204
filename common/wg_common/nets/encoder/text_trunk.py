"""The trunk of the text encoder: a sentence's vector (``sentences``), as it is.

It runs before the torch module, which sees vectors: an exported model takes ``[n, 512]``, and its
metadata name the trunk, so that whoever runs it knows what to install.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder import sentences
from wg_common.nets.encoder.trunk import NamedTrunk


class TextTrunk(NamedTrunk):
    """Vectors ``[n, 512]`` of texts to raw features: themselves."""

    label = f"use-multilingual-3 {sentences.PACKAGE}"
    width = sentences.WIDTH
    batch = 32
    directions = 448
    # Cosines are what these vectors were trained for: local learners see them nearly as they are,
    # and hardly hear the released features.
    whitening = 0.0
    local_norm = 8.0

    @classmethod
    def digest(cls) -> str:
        """Of the pinned package's files, hex."""
        return sentences.SHA256

    @classmethod
    def block_weights(cls) -> NDArray[np.float64]:
        """All alike."""
        return np.ones(sentences.WIDTH)

    def bounds(self) -> float:
        """Vectors have unit length, but for rounding."""
        return 1.01

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Vectors of texts; of one text, computed by itself."""
        return torch.from_numpy(sentences.embed([str(record) for record in records])).clone()

    def forward(self, vectors: Tensor) -> Tensor:
        """Raw features ``[n, 512]``."""
        return vectors


TRUNK = TextTrunk
