"""How a text is written: its words and pieces of words as one vector, whatever the language.

Counts of character n-grams within words, of words and of pairs of words, damped by a logarithm, as
TF-IDF has them, but for what it counts in other texts: nothing is fitted. Each n-gram has a fixed
sparse direction of random signs (Li, Hastie and Church 2006, *Very Sparse Random Projections*,
KDD), so that cosines of vectors are about those of counts and columns vary about alike. A sentence
encoder (``sentences``) knows what words mean; this knows codes, names of parts and components,
which mean nothing to it.

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
_LENGTHS = range(2, 6)  # Characters of a piece of a word
_ENTRIES = 8  # Numbers of a direction that are not zero


def vector(text: str) -> NDArray[np.float32]:
    """Unit vector of a text, float32 ``[2048]``."""
    total = np.zeros(WIDTH)
    for ngram, count in sorted(Counter(_ngrams(text)).items()):
        digest = hashlib.blake2b(ngram.encode(), digest_size=2 * _ENTRIES).digest()
        bits = np.frombuffer(digest, "<u2")
        np.add.at(total, bits % WIDTH, np.log1p(count) * (1.0 - 2.0 * (bits >> 15)))
    return np.asarray(total / (np.linalg.norm(total) + 1e-12), dtype=np.float32)


def _ngrams(text: str) -> Iterator[str]:
    """Words, pairs of words, and pieces of words with a blank at either end."""
    words = unicodedata.normalize("NFKC", text).lower().split()
    yield from words
    yield from (" ".join(pair) for pair in pairwise(words))
    for word in words:
        padded_word = f" {word} "
        for length in _LENGTHS:
            for start in range(max(len(padded_word) - length + 1, 1)):
                yield f"#{padded_word[start : start + length]}"
