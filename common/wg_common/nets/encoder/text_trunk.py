"""The trunk of the text encoder: a sentence's vector (``sentences``), and how it is written.

Released is of the vector alone. A plant learns on it and, by themselves, on the words and pieces of
words (``ngrams``). Both run before the torch module, which sees numbers: an exported model takes
``[n, 2560]``, and its metadata name the trunk, so that whoever runs it knows what to install.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder import ngrams, sentences
from wg_common.nets.encoder.trunk import NamedTrunk


class TextTrunk(NamedTrunk):
    """Texts as ``[n, 512 + 2048]`` to raw features, which are the first 512."""

    label = f"use-multilingual-3 {sentences.PACKAGE} {ngrams.VERSION}"
    width = sentences.WIDTH
    local_blocks = (sentences.WIDTH, ngrams.WIDTH)
    batch = 32
    needs_process = False
    directions = 448
    # Cosines are what these vectors were trained for: local learners see them nearly as they are,
    # and hardly hear the released features.
    whitening = 0.0
    local_norm = 8.0

    @classmethod
    def digest(cls) -> str:
        """Digest of the pinned package's files and of the rule that counts n-grams, hex."""
        return hashlib.sha256(f"{sentences.SHA256} {ngrams.VERSION}".encode()).hexdigest()

    @classmethod
    def block_weights(cls) -> NDArray[np.float64]:
        """All alike."""
        return np.ones(sentences.WIDTH)

    def bounds(self) -> float:
        """Vectors have unit length, but for rounding."""
        return 1.01

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Sentence vectors and n-grams of texts; of one text, computed by itself."""
        texts = [str(record) for record in records]
        vectors = np.stack([ngrams.vector(text) for text in texts])
        return torch.from_numpy(np.hstack([sentences.embed(texts), vectors]))

    def read(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Sentence vectors, and these and n-grams as blocks."""
        raw = self(records)
        return raw, (raw, records[:, sentences.WIDTH :])

    def forward(self, records: Tensor) -> Tensor:
        """Raw features ``[n, 512]``."""
        return records[:, : sentences.WIDTH]


TRUNK = TextTrunk
