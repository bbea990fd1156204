"""Text trunk: sentence vectors (``sentences``) and n-gram vectors (``ngrams``).

Released features come from the sentence vector alone. A plant learns on both vectors, as separate
blocks. They are computed before the torch module, whose input is numeric: an exported model takes
``[n, 2560]``, and its metadata name the trunk, so that a user of the model knows what to install.
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
    """Trunk whose batch ``[n, 512 + 2048]`` already holds the features; the first 512 are raw."""

    label = f"use-multilingual-3 {sentences.PACKAGE} {ngrams.VERSION}"
    width = sentences.WIDTH
    local_blocks = (sentences.WIDTH, ngrams.WIDTH)
    batch = 32
    needs_process = False
    directions = 448
    # These vectors were trained for cosines: local learners get them unwhitened, at a scale that
    # outweighs the released features.
    whitening = 0.0
    local_norm = 8.0

    @classmethod
    def digest(cls) -> str:
        """Return the digest of the pinned package and the n-gram rule's version, hex."""
        return hashlib.sha256(f"{sentences.FILES_SHA256} {ngrams.VERSION}".encode()).hexdigest()

    @classmethod
    def block_weights(cls) -> NDArray[np.float64]:
        """Return ones: no feature counts for more than another."""
        return np.ones(sentences.WIDTH)

    def feature_bounds(self) -> float:
        """Return 1.01 as bound on features: unit vectors, up to rounding."""
        return 1.01

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Compute sentence and n-gram vectors of texts, ``[n, 2560]``."""
        texts = [str(record) for record in records]
        vectors = np.stack([ngrams.text_vector(text) for text in texts])
        return torch.from_numpy(np.hstack([sentences.embed_sentences(texts), vectors]))

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return texts' sentence vectors, and both kinds of vectors as local blocks."""
        raw = self(records)
        return raw, (raw, records[:, sentences.WIDTH :])

    def forward(self, records: Tensor) -> Tensor:
        """Return raw features ``[n, 512]`` of prepared texts: their sentence vectors."""
        return records[:, : sentences.WIDTH]


TRUNK = TextTrunk
