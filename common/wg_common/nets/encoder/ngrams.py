"""Text vectors from counts of character n-grams, words and pairs of words, for any language.

A text's vector is the sum of a fixed sparse direction for each of its n-grams, weighted by the
logarithm of the n-gram's count. The directions are very sparse random projections (Li, Hastie and
Church, KDD 2006) whose signs and places are bits of a hash, so cosines of vectors approximate those
of weighted counts, and nothing is fitted or drawn. A sentence encoder (``sentence_encoder``)
captures the meaning of words; n-grams capture codes and names of parts, which it does not know.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

VECTOR_LENGTH = 2048  # Length of a text's vector
NGRAM_RULE_VERSION = "n-grams-1"  # Name of this rule in hashes; a changed rule gets another name
_NGRAM_LENGTHS = range(2, 6)  # Lengths of character n-grams
_NONZERO_COUNT = 8  # Number of nonzero entries in a direction


def text_vector(text: str) -> NDArray[np.float32]:
    """Return a text's vector, float32 ``[2048]``, of unit length, or 0 without any word."""
    total = np.zeros(VECTOR_LENGTH)
    for ngram, count in sorted(Counter(_ngrams(text)).items()):
        digest = hashlib.blake2b(ngram.encode(), digest_size=2 * _NONZERO_COUNT).digest()
        bits = np.frombuffer(digest, "<u2")
        np.add.at(total, bits % VECTOR_LENGTH, np.log1p(count) * (1.0 - 2.0 * (bits >> 15)))
    return np.asarray(total / (np.linalg.norm(total) + 1e-12), dtype=np.float32)


def _ngrams(text: str) -> Iterator[str]:
    """Yield a text's words, pairs of words, and character n-grams of padded words."""
    words = unicodedata.normalize("NFKC", text).lower().split()
    yield from words
    yield from (" ".join(pair) for pair in pairwise(words))
    for word in words:
        padded_word = f" {word} "
        for length in _NGRAM_LENGTHS:
            for start in range(max(len(padded_word) - length + 1, 1)):
                yield f"#{padded_word[start : start + length]}"
