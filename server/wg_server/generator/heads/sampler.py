"""Sampling: a few Euler steps of rectified flow with a denoiser that predicts the clean latent.

``z_t = (1 - t) z_0 + t e`` (Liu et al., ICLR 2023); the velocity is ``(z_t - z_0) / t``. At t = 1
with a zero latent the denoiser gives its deterministic answer, for which it is also trained.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from wg_server.generator.heads.codec import Codec
from wg_server.generator.heads.denoiser import Batch, Denoiser

STEPS = 8


def deterministic(denoiser: Denoiser, batch: Batch) -> Tensor:
    """The latent that the denoiser answers without noise, ``[B, K, latent]``."""
    b, k = batch.bias.shape
    nothing = batch.bias.new_zeros(b, k, denoiser.config.latent)
    out: Tensor = denoiser(nothing, batch.bias.new_ones(b), batch)
    return out


def sample(denoiser: Denoiser, batch: Batch, noise: Tensor, steps: int = STEPS) -> Tensor:
    """Latents sampled from noise ``[B, K, latent]``."""
    times = torch.linspace(1, 0, steps + 1)
    latent = noise
    for now, then in itertools.pairwise(times):
        clean = denoiser(latent, now.expand(len(noise)), batch)
        latent = clean + (latent - clean) * (then / now)
    return latent


def label_noise(labels: Sequence[str], latent: int, samples: int, seed: int) -> Tensor:
    """Noise ``[samples, K, latent]`` that belongs to label names, not to their order.

    So permuting the labels permutes the generated rows, sample by sample.
    """
    rows = []
    for label in labels:
        digest = hashlib.sha256(f"{seed}:{label}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        rows.append(torch.randn(samples, latent, generator=generator))
    return torch.stack(rows, dim=1)


def decode(codec: Codec, batch: Batch, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``[B, K, d]`` and biases ``[B, K]`` of ``features - centre``."""
    weight, bias = codec.decode(latent)
    return batch.weight + weight, batch.bias + bias
