"""Public sentence encoder multilingual-e5-small: from a text to a unit vector of 384 numbers.

Wang et al., *Multilingual E5 Text Embeddings*, 2024, arXiv 2402.05672: a BERT of twelve blocks on
the tokens of XLM-RoBERTa, trained on pairs of texts in a hundred languages, including Japanese and
German. Its weights (MIT) are stored in four bits each (``weights``) and run in float32. Words are
split into the likeliest tokens of a unigram model (Kudo, *Subword Regularization*, ACL 2018).

Only the first 2,000 characters of a text are read, and of these the first 128 tokens, with those
of start and end.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.modalities.base import Record
from wg_e5 import weights
from wg_e5.weights import BLOCK_COLUMNS, UnigramVocabulary, Weights

FEATURE_COUNT: Final = 384
TOKENS_LIMIT: Final = 128
"""Largest number of a text's tokens that are read, including those of start and end."""
CHARACTERS_LIMIT: Final = 2000  # Largest number of a text's characters that are read

_BLOCKS, _HEADS, _WIDE, _EPSILON = 12, 12, 1536, 1e-12
_PREFIX = "query: "  # Precedes each text, as in training on comparisons of texts of one kind
PADDING_TOKEN_ID: Final = 1  # Token id that fills up short texts
_START, _END = 0, 2  # Token ids at the start and the end of each text
_SPACE = "\u2581"  # Mark before each word, in place of the blank


class E5Encoder(nn.Module):
    """Sentence encoder e5: torch module from batches of ``prepare_texts`` to vectors ``[n, 384]``.

    Raises:
        ConfigError: The package with the weights is not installed.
        VerificationError: Another version of the package is installed.
    """

    def __init__(self) -> None:
        super().__init__()
        source = weights.load_weights()
        self.embedding = _TokenEmbedding(source)
        self.blocks = nn.ModuleList(
            _TransformerBlock(source, f"l{number}.") for number in range(_BLOCKS)
        )

    def forward(self, batch: Tensor) -> Tensor:
        """Return unit vectors ``[n, 384]`` of rows of token ids ``[n, T]``: means over tokens."""
        ids = batch.long()
        present = ids != PADDING_TOKEN_ID
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, present)
        weight = present[:, :, None].to(x.dtype)
        return F.normalize((x * weight).sum(dim=1), dim=1)


class _TokenEmbedding(nn.Module):
    """First layer: sum of token, position and type embeddings, normalised.

    Attributes:
        values: Token embeddings as 4-bit numbers, uint8 ``[tokens, 384]``; 8 stands for zero.
        scales: Factor for each block of ``BLOCK_COLUMNS`` values, float32 ``[tokens, 384 /
            BLOCK_COLUMNS]``.
    """

    values: Tensor
    scales: Tensor

    def __init__(self, stored_weights: Weights) -> None:
        super().__init__()
        words = stored_weights.unpack_matrix("emb.word", FEATURE_COUNT)
        self.register_buffer("values", torch.from_numpy(words.values))
        self.register_buffer("scales", torch.from_numpy(words.scales))
        places = stored_weights.vectors["emb.pos"].reshape(-1, FEATURE_COUNT)[:TOKENS_LIMIT]
        kind = stored_weights.vectors["emb.type"][:FEATURE_COUNT]
        self.places = nn.Parameter(torch.from_numpy(places + kind), requires_grad=False)
        self.norm = _build_layer_norm(stored_weights, "emb.ln.")

    def forward(self, ids: Tensor) -> Tensor:
        words = (self.values[ids].float() - 8) * self.scales[ids].repeat_interleave(
            BLOCK_COLUMNS, dim=-1
        )
        vectors: Tensor = self.norm(words + self.places[: ids.shape[1]])
        return vectors


class _TransformerBlock(nn.Module):
    """Transformer block of the sentence encoder, with the weights stored under a name prefix."""

    def __init__(self, stored_weights: Weights, name_prefix: str) -> None:
        super().__init__()
        self.query, self.key, self.value, self.mix = (
            _build_linear(stored_weights, f"{name_prefix}{name}.", FEATURE_COUNT)
            for name in ("q", "k", "v", "ao")
        )
        self.mix_norm, self.narrow_norm = (
            _build_layer_norm(stored_weights, f"{name_prefix}aln."),
            _build_layer_norm(stored_weights, f"{name_prefix}oln."),
        )
        self.widen = _build_linear(stored_weights, f"{name_prefix}fi.", FEATURE_COUNT)
        self.narrow = _build_linear(stored_weights, f"{name_prefix}fo.", _WIDE)

    def forward(self, x: Tensor, token_mask: Tensor) -> Tensor:
        n, t, width = x.shape
        query, key, value = (
            layer(x).view(n, t, _HEADS, width // _HEADS).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        mask = token_mask[:, None, None, :]
        mixture = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.mix_norm(x + self.mix(mixture.transpose(1, 2).reshape(n, t, width)))
        out: Tensor = self.narrow_norm(x + self.narrow(F.gelu(self.widen(x))))
        return out


def _build_linear(stored_weights: Weights, name: str, columns: int) -> nn.Linear:
    matrix = stored_weights.unpack_matrix(f"{name}w", columns)
    numbers = (matrix.values.astype(np.float32) - 8) * matrix.scales.repeat(BLOCK_COLUMNS, axis=1)
    layer = nn.Linear(columns, len(numbers))
    bias = torch.from_numpy(stored_weights.vectors[f"{name}b"].copy())
    layer.load_state_dict({"weight": torch.from_numpy(numbers), "bias": bias})
    return layer


def _build_layer_norm(stored_weights: Weights, name: str) -> nn.LayerNorm:
    layer = nn.LayerNorm(FEATURE_COUNT, _EPSILON)
    parts = (("weight", f"{name}w"), ("bias", f"{name}b"))
    layer.load_state_dict(
        {at: torch.from_numpy(stored_weights.vectors[of].copy()) for at, of in parts}
    )
    return layer


def prepare_texts(texts: Sequence[Record] | Record) -> NDArray[np.int32]:
    """Convert n valid texts to one batch of token ids, int32 ``[n, 128]``, padded at the end.

    Raises:
        ConfigError: The package with the weights is not installed.
        VerificationError: Another version of the package is installed.
    """
    batch = np.full((len(texts), TOKENS_LIMIT), PADDING_TOKEN_ID, np.int32)
    for row, text in enumerate(texts):
        numbers = token_ids(str(text))
        batch[row, : len(numbers)] = numbers
    return batch


def token_ids(text: str) -> list[int]:
    """Return the ids of a text's first tokens, between the ids that mark start and end."""
    words = weights.load_weights().vocabulary
    pieces = likeliest_token_ids(
        normalise_spelling(f"{_PREFIX}{text[:CHARACTERS_LIMIT]}", words), words
    )
    return [_START, *pieces[: TOKENS_LIMIT - 2], _END]


def normalise_spelling(text: str, vocabulary: UnigramVocabulary) -> str:
    """Spell a text as the tokenizer expects it, with the mark U+2581 in place of each blank."""
    plain = "".join(
        vocabulary.character_replacements.get(character, character) for character in text
    )
    return _SPACE + _SPACE.join(part for part in plain.split(" ") if part)


def likeliest_token_ids(text: str, vocabulary: UnigramVocabulary) -> list[int]:
    """Return the ids of the likeliest tokens into which a text can be split (Viterbi algorithm)."""
    unknown, penalty = vocabulary.unknown_token
    best = [0.0] + [-np.inf] * len(text)
    last: list[tuple[int, int]] = [(0, 0)] * (len(text) + 1)  # Number and start of the last piece
    for start in range(len(text)):
        for end in range(start + 1, min(start + vocabulary.longest_token_bytes, len(text)) + 1):
            number, score = vocabulary.tokens.get(text[start:end], (unknown, -np.inf))
            if end == start + 1 and number == unknown:
                score = penalty
            if best[start] + score > best[end]:
                best[end], last[end] = best[start] + score, (number, start)
    numbers = []
    end = len(text)
    while end > 0:
        number, end = last[end]
        numbers.append(number)
    return numbers[::-1]
