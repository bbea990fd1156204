"""The codec of layer parts: PCA of deltas from the base, part by part.

It is not centred: the latent zero is the base. Each direction is scaled to unit mean square, so
that one diffusion serves parts and sizes of any scale. What it keeps of the *function* is measured
(``evaluation.codec_fidelity``) and stands on the model card.
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

    def encode(self, tokens: Tokens) -> Array:
        """Latents ``[P, l]`` of flat deltas."""
        rows = [
            tokens[name] @ matrix.numpy()
            for name, matrix in zip(self.parts, self.encode_matrices, strict=True)
        ]
        return np.stack(rows).astype(np.float32)

    def decode(self, latents: Tensor) -> dict[str, Tensor]:
        """Flat deltas of latents ``[P, l]`` of any device; differentiable."""
        device = self.decode_matrices[0].device if self.parts else latents.device
        return {
            name: row @ matrix
            for name, row, matrix in zip(
                self.parts, latents.to(device), self.decode_matrices, strict=True
            )
        }

    def tensors(self) -> dict[str, Tensor]:
        """What a package keeps of it: ``encode.NN`` and ``decode.NN``."""
        both = {"encode": self.encode_matrices, "decode": self.decode_matrices}
        return {
            f"{kind}.{number:02}": matrix
            for kind, matrices in both.items()
            for number, matrix in enumerate(matrices)
        }

    def to(self, device: torch.device) -> LayerCodec:
        """The codec on a device, to decode there; it encodes on the CPU."""
        both = self.encode_matrices, self.decode_matrices
        inward, outward = (tuple(matrix.to(device) for matrix in each) for each in both)
        return LayerCodec(self.parts, inward, outward)


def fit_layer_codec(parts: Sequence[str], tokens: Sequence[Tokens], latent: int) -> LayerCodec:
    """Fit PCA on the tokens of N networks.

    Args:
        parts: Names, in order.
        tokens: One mapping a network.
        latent: Size l; directions beyond N are zero.
    """
    encode, decode = [], []
    for name in parts:
        directions, spread = principal_scores(np.stack([t[name] for t in tokens]), latent)
        inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        encode.append(torch.tensor(directions * inverse, dtype=torch.float32))
        decode.append(
            torch.tensor(np.ascontiguousarray((directions * spread).T), dtype=torch.float32)
        )
    return LayerCodec(tuple(parts), tuple(encode), tuple(decode))


def read_layer_codec(
    parts: Sequence[str], sizes: Sequence[int], tensors: Mapping[str, Tensor]
) -> LayerCodec:
    """A codec from ``LayerCodec.tensors``.

    Raises:
        KeyError: A matrix is missing.
        ValueError: One has the wrong shape.
    """
    codec = LayerCodec(
        tuple(parts),
        *(
            tuple(tensors[f"{kind}.{number:02}"] for number in range(len(parts)))
            for kind in ("encode", "decode")
        ),
    )
    for name, size, inward, outward in zip(
        parts, sizes, codec.encode_matrices, codec.decode_matrices, strict=True
    ):
        if inward.ndim != 2 or inward.shape != outward.T.shape or len(inward) != size:
            raise ValueError(f"the codec of {name} has the wrong shape")
    return codec
