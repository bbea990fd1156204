"""Latent codecs: PCA without a mean, from weights to a few standardised numbers and back.

What is encoded is a difference: of a trained head row (weight, and bias last) from the prior
head's, or of a layer part from the public base's. So the latent zero is where generation starts.
Each direction is scaled to unit mean square, so that one diffusion serves rows, parts and sizes of
any scale. How much of the *function* survives is measured, and stands on the model card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.inference.discriminants import principal_scores

Array = NDArray[np.float32]
Tokens = Mapping[str, Array]
"""Flat deltas from the base by part: one network."""


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """A linear codec of vectors of one size.

    Attributes:
        encode_matrix: ``[size, latent]``.
        decode_matrix: ``[latent, size]``.
    """

    encode_matrix: Tensor
    decode_matrix: Tensor

    @property
    def latent(self) -> int:
        """Size of a latent."""
        return self.encode_matrix.shape[1]

    def shrunk(self, share: float) -> Codec:
        """The codec that decodes a share of each difference."""
        return Codec(self.encode_matrix, share * self.decode_matrix)

    def to(self, device: torch.device) -> Codec:
        """The codec on a device."""
        return Codec(self.encode_matrix.to(device), self.decode_matrix.to(device))

    def encode(self, values: Tensor) -> Tensor:
        """Latents ``[..., latent]`` of differences ``[..., size]``."""
        return values @ self.encode_matrix

    def decode(self, latent: Tensor) -> Tensor:
        """Differences ``[..., size]`` of latents."""
        return latent @ self.decode_matrix


@dataclass(frozen=True, slots=True, eq=False)
class LayerCodec:
    """A codec for each part of one architecture. P parts, latent size l.

    Attributes:
        parts: Names, in order.
        codecs: Of the parts.
    """

    parts: tuple[str, ...]
    codecs: tuple[Codec, ...]

    def encode(self, tokens: Tokens) -> Array:
        """Latents ``[P, l]`` of flat deltas, on the CPU."""
        rows = [
            tokens[name] @ codec.encode_matrix.numpy()
            for name, codec in zip(self.parts, self.codecs, strict=True)
        ]
        return np.stack(rows).astype(np.float32)

    def decode(self, latents: Tensor) -> dict[str, Tensor]:
        """Flat deltas of latents ``[P, l]`` of any device; differentiable."""
        device = self.codecs[0].decode_matrix.device if self.parts else latents.device
        return {
            name: codec.decode(row)
            for name, row, codec in zip(self.parts, latents.to(device), self.codecs, strict=True)
        }

    def tensors(self) -> dict[str, Tensor]:
        """What a package keeps of it: ``encode.NN`` and ``decode.NN``."""
        matrices = {}
        for number, codec in enumerate(self.codecs):
            matrices[f"encode.{number:02}"] = codec.encode_matrix
            matrices[f"decode.{number:02}"] = codec.decode_matrix
        return matrices

    def to(self, device: torch.device) -> LayerCodec:
        """The codec on a device, to decode there."""
        return LayerCodec(self.parts, tuple(codec.to(device) for codec in self.codecs))


def fit_codec(rows: NDArray[np.float64], latent: int) -> Codec:
    """Fit PCA without a mean, since residuals have none.

    Args:
        rows: Residual rows with their bias last, ``[n, d + 1]``.
    """
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    values, vectors = values[::-1][:latent], vectors[:, ::-1][:, :latent]
    scale = np.sqrt(np.maximum(values, 1e-8))
    return Codec(
        torch.tensor(vectors / scale, dtype=torch.float32),
        torch.tensor((vectors * scale).T, dtype=torch.float32),
    )


def fit_layer_codec(parts: Sequence[str], tokens: Sequence[Tokens], latent: int) -> LayerCodec:
    """Fit PCA on the tokens of N networks.

    Args:
        parts: Names, in order.
        tokens: One mapping a network.
        latent: Size l; directions beyond N are zero.
    """
    codecs = []
    for name in parts:
        directions, spread = principal_scores(np.stack([t[name] for t in tokens]), latent)
        inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        inward = torch.tensor(directions * inverse, dtype=torch.float32)
        outward = torch.tensor(np.ascontiguousarray((directions * spread).T), dtype=torch.float32)
        codecs.append(Codec(inward, outward))
    return LayerCodec(tuple(parts), tuple(codecs))


def read_layer_codec(
    parts: Sequence[str], sizes: Sequence[int], tensors: Mapping[str, Tensor]
) -> LayerCodec:
    """A codec from ``LayerCodec.tensors``.

    Raises:
        KeyError: A matrix is missing.
        ValueError: One has the wrong shape.
    """
    codecs = []
    for number, (name, size) in enumerate(zip(parts, sizes, strict=True)):
        inward, outward = tensors[f"encode.{number:02}"], tensors[f"decode.{number:02}"]
        if inward.ndim != 2 or inward.shape != outward.T.shape or len(inward) != size:
            raise ValueError(f"the codec of {name} has the wrong shape")
        codecs.append(Codec(inward, outward))
    return LayerCodec(tuple(parts), tuple(codecs))
