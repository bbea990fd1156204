"""Text trunk: sentence vectors (``sentence_encoder``) and n-gram vectors (``ngrams``).

Released features come from the sentence vector alone. A plant learns on both vectors, as separate
blocks. ``TextTrunk.prepare`` computes them, because torch modules cannot read texts. So an exported
model has numeric inputs ``[n, 2560]``; its metadata name the packages that compute them.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder import ngrams, sentence_encoder
from wg_common.nets.encoder.trunk import NamedTrunk


class TextTrunk(NamedTrunk):
    """Text trunk, which receives sentence and n-gram vectors ``[n, 512 + 2048]`` as its batch."""

    label = f"use-multilingual-3 {sentence_encoder.PACKAGE_REQUIREMENT} {ngrams.NGRAM_RULE_VERSION}"
    width = sentence_encoder.VECTOR_LENGTH
    local_block_sizes = (sentence_encoder.VECTOR_LENGTH, ngrams.VECTOR_LENGTH)
    batch_size = 32
    needs_process = False
    direction_count = 448
    # Sentence vectors were trained for cosine similarity: a plant's models get them unwhitened, at
    # a scale that outweighs the released features.
    whitening_exponent = 0.0
    median_local_norm = 8.0

    @classmethod
    def digest(cls) -> str:
        """Return the SHA-256 of the pinned package's hash and the n-gram rule's name, hex."""
        return hashlib.sha256(
            f"{sentence_encoder.FILES_SHA256} {ngrams.NGRAM_RULE_VERSION}".encode()
        ).hexdigest()

    @classmethod
    def released_fit_weights(cls) -> NDArray[np.float64]:
        """Return ones: all features have equal weight in the fit."""
        return np.ones(sentence_encoder.VECTOR_LENGTH)

    def feature_bounds(self) -> float:
        """Return 1.01 as bound on feature magnitudes, since vectors have unit length."""
        return 1.01

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Compute sentence and n-gram vectors of texts, ``[n, 2560]``."""
        texts = [str(record) for record in records]
        vectors = np.stack([ngrams.text_vector(text) for text in texts])
        return torch.from_numpy(np.hstack([sentence_encoder.embed_sentences(texts), vectors]))

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the raw features of prepared texts, and two blocks of local features.

        Raw features and first block are the sentence vectors ``[n, 512]``, the second block is the
        n-gram vectors ``[n, 2048]``.
        """
        raw = self(records)
        return raw, (raw, records[:, sentence_encoder.VECTOR_LENGTH :])

    def forward(self, records: Tensor) -> Tensor:
        """Return the raw features ``[n, 512]`` of prepared texts, their sentence vectors."""
        return records[:, : sentence_encoder.VECTOR_LENGTH]


TRUNK = TextTrunk
