"""Vectors of a text's character n-grams, words and pairs of words, for any language.

Counts are damped by a logarithm, as in TF-IDF without the document frequencies, so nothing is
fitted. Each n-gram has a fixed sparse direction of random signs (Li, Hastie and Church 2006, *Very
Sparse Random Projections*, KDD), so cosines of vectors approximate those of counts, and columns
have similar variances. A sentence encoder (``sentences``) captures the meaning of words; n-grams
capture codes and names of parts, which a sentence encoder does not know.

Nothing here is random or learnt: directions are bits of a hash.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

WIDTH = 2048
VERSION = "n-grams-1"
_NGRAM_LENGTHS = range(2, 6)  # Lengths of character n-grams
_NONZERO_ENTRIES = 8  # Number of nonzero entries in a direction


def text_vector(text: str) -> NDArray[np.float32]:
    """Return the unit vector of a text's n-grams and words, float32 ``[2048]``."""
    total = np.zeros(WIDTH)
    for ngram, count in sorted(Counter(_ngrams(text)).items()):
        digest = hashlib.blake2b(ngram.encode(), digest_size=2 * _NONZERO_ENTRIES).digest()
        bits = np.frombuffer(digest, "<u2")
        np.add.at(total, bits % WIDTH, np.log1p(count) * (1.0 - 2.0 * (bits >> 15)))
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
