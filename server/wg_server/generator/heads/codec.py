"""The latent codec: residual class rows to a few standardised numbers, by PCA.

A token is the difference between a trained row (weight and bias) and the prior head's. PCA keeps
the leading directions; how much of the *function* survives is measured, and stands on the card.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Codec:
    """A linear codec.

    Attributes:
        encode_matrix: ``[d + 1, latent]``.
        decode_matrix: ``[latent, d + 1]``.
    """

    encode_matrix: Tensor
    decode_matrix: Tensor

    @property
    def latent(self) -> int:
        """Size of a latent token."""
        return self.encode_matrix.shape[1]

    def shrunk(self, share: float) -> Codec:
        """The codec that decodes a share of each residual."""
        return Codec(self.encode_matrix, share * self.decode_matrix)

    def to(self, device: torch.device) -> Codec:
        """The codec on a device."""
        return Codec(self.encode_matrix.to(device), self.decode_matrix.to(device))

    def encode(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Latents ``[..., latent]`` of residual rows ``[..., d]`` and biases ``[...]``."""
        return torch.cat([weight, bias.unsqueeze(-1)], dim=-1) @ self.encode_matrix

    def decode(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Residual rows and biases of latents."""
        rows = latent @ self.decode_matrix
        return rows[..., :-1], rows[..., -1]


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
