"""Latent codecs of layer parts: PCA of deltas from the base, part by part.

Not centred: the latent zero is the base. Each direction is scaled to unit mean square, so that one
diffusion serves parts and sizes of any scale. ``wg_server.generator.networks.vae`` has the
alternative; which of them keeps more of the *function* is measured and stands on the model card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LayerCodec:
    """A linear codec for each part of one architecture. P parts, latent size l.

    Attributes:
        parts: Names, in order.
        encode_matrices: ``[size, l]`` each.
        decode_matrices: ``[l, size]`` each.
    """

    parts: tuple[str, ...]
    encode_matrices: tuple[Tensor, ...]
    decode_matrices: tuple[Tensor, ...]

    def encode(self, tokens: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Latents ``[P, l]`` of flat deltas."""
        rows = [
            tokens[name] @ matrix.numpy()
            for name, matrix in zip(self.parts, self.encode_matrices, strict=True)
        ]
        return np.stack(rows).astype(np.float32)

    def decode(self, latents: Tensor) -> dict[str, Tensor]:
        """Flat deltas of latents ``[P, l]``."""
        return {
            name: row @ matrix
            for name, row, matrix in zip(self.parts, latents, self.decode_matrices, strict=True)
        }


def fit_layer_codec(
    parts: Sequence[str], tokens: Sequence[Mapping[str, NDArray[np.float32]]], latent: int
) -> LayerCodec:
    """Fit PCA on the tokens of N networks, by their Gram matrix: parts are wide and N is small.

    Args:
        parts: Names, in order.
        tokens: One mapping a network.
        latent: Size l; directions beyond N are zero.
    """
    encode, decode = [], []
    for name in parts:
        rows = np.stack([t[name] for t in tokens]).astype(np.float64)  # [N, size]
        values, vectors = np.linalg.eigh(rows @ rows.T)
        values, vectors = values[::-1][:latent], vectors[:, ::-1][:, :latent]
        values = np.maximum(values, 1e-12 * max(float(values[0]), 1e-12))
        directions = rows.T @ vectors / np.sqrt(values)  # [size, <= l], orthonormal
        scale = np.sqrt(values / len(rows))
        kept = values > 1e-9 * values[0]
        inward, outward = np.zeros((rows.shape[1], latent)), np.zeros((latent, rows.shape[1]))
        count = len(values)
        inward[:, :count] = np.where(kept, directions / scale, 0.0)
        outward[:count] = np.where(kept, directions * scale, 0.0).T
        encode.append(torch.tensor(inward, dtype=torch.float32))
        decode.append(torch.tensor(outward, dtype=torch.float32))
    return LayerCodec(tuple(parts), tuple(encode), tuple(decode))
