"""The denoiser: a diffusion transformer over class tokens.

Self-attention among class and domain tokens, cross-attention from each class to its own rows in
tokens of other sites, and adaptive layer norms driven by the diffusion time and the own domain
token (adaLN-Zero; Peebles and Xie, *DiT*, ICCV 2023). There are no positions, so permuting classes
permutes outputs. The last layer starts at zero: an untrained denoiser is the T-BLUP prior head.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wg_server.generator.prior import conditioning as c
from wg_server.generator.prior.conditioning import Condition
from wg_server.generator.weights.codec import Codec
from wg_server.generator.weights.flow import State
from wg_server.generator.weights.transformer import (
    Block,
    TimeEmbedding,
    draw_linear,
    mask,
    stacked,
    zeroed,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiserConfig:
    """Size of the denoiser.

    Attributes:
        dimension: Number of features d.
        latent: Size of a latent token.
        width: Size of a token inside.
        depth: Number of blocks.
        heads: Attention heads.
    """

    dimension: int
    latent: int
    width: int = 96
    depth: int = 3
    heads: int = 4


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Conditions padded to one size. B episodes, K classes, M other sites."""

    weight: Tensor  # [B, K, d]
    bias: Tensor  # [B, K]
    centre: Tensor  # [B, d]
    class_vectors: Tensor  # [B, K, 4, d]
    class_scalars: Tensor  # [B, K, 5]
    class_mask: Tensor  # [B, K] true where there is a class
    other_vectors: Tensor  # [B, M, K, 2, d]
    other_scalars: Tensor  # [B, M, K, 4]
    other_mask: Tensor  # [B, M, K]
    domain_vectors: Tensor  # [B, 1 + M, 1, d]
    domain_scalars: Tensor  # [B, 1 + M, 4]
    domain_mask: Tensor  # [B, 1 + M]


class Denoiser(nn.Module):
    """Predicts clean latents from noisy ones, the time and the condition."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        d, w = config.dimension, config.width
        self.config = config
        self.embed_class = nn.Linear(c.CLASS_VECTORS * d + c.CLASS_SCALARS, w)
        self.embed_memory = nn.Linear(c.OTHER_VECTORS * d + c.OTHER_SCALARS, w)
        self.embed_domain = nn.Linear(c.DOMAIN_VECTORS * d + c.DOMAIN_SCALARS, w)
        self.embed_latent = nn.Linear(config.latent, w)
        self.embed_time = TimeEmbedding(w)
        self.own = nn.Parameter(torch.zeros(w))
        self.blocks = nn.ModuleList(Block(w, config.heads, looks=True) for _ in range(config.depth))
        self.last_norm = nn.LayerNorm(w, elementwise_affine=False)
        self.last_modulation = nn.Linear(w, 2 * w)
        self.last = nn.Linear(w, config.latent)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(12.0)))
        zeroed(self.last, self.last_modulation)

    def draw(self, generator: torch.Generator) -> None:
        """Draw initial weights; what starts at zero stays there."""
        draw_linear(self, generator)

    def nothing(self, batch: Batch) -> State:
        """Latents of zeros, ``[B, K, latent]``."""
        return (batch.bias.new_zeros(*batch.bias.shape, self.config.latent),)

    def clean(self, noisy: State, time: Tensor, batch: Batch) -> State:
        """Clean latents, as ``forward``."""
        return (self(noisy[0], time, batch),)

    def forward(self, latent: Tensor, time: Tensor, batch: Batch) -> Tensor:
        """Clean latents.

        Args:
            latent: Noisy latents ``[B, K, latent]``.
            time: ``[B]``, 0 is clean and 1 is noise.

        Returns:
            ``[B, K, latent]``.
        """
        classes = latent.shape[1]
        tokens = self.embed_class(_join(batch.class_vectors, batch.class_scalars))
        tokens = tokens + self.embed_latent(latent)  # [B, K, w]
        domain = self.embed_domain(_join(batch.domain_vectors, batch.domain_scalars))
        drive = F.silu(self.embed_time(time) + domain[:, 0] + self.own)  # [B, w]
        memory = self.embed_memory(_join(batch.other_vectors, batch.other_scalars))
        memory = F.silu(memory).transpose(1, 2)  # [B, K, M, w]
        other_mask = batch.other_mask.transpose(1, 2)  # [B, K, M]
        x = torch.cat([tokens, domain], dim=1)  # [B, K + 1 + M, w]
        mask = torch.cat([batch.class_mask, batch.domain_mask], dim=1)
        for block in self.blocks:
            x = block(x, mask, drive, memory, other_mask)
        shift, scale = self.last_modulation(drive).unsqueeze(1).chunk(2, dim=-1)
        out: Tensor = self.last(self.last_norm(x[:, :classes]) * (1 + scale) + shift)
        return out * batch.class_mask.unsqueeze(-1)


def joined(weight: Tensor, bias: Tensor) -> Tensor:
    """Rows ``[..., d + 1]`` of weights ``[..., d]`` and biases ``[...]``, as the codec has them."""
    return torch.cat([weight, bias.unsqueeze(-1)], dim=-1)


def decode(codec: Codec, batch: Batch, latents: State) -> tuple[Tensor, Tensor]:
    """Rows ``[B, K, d]`` and biases ``[B, K]`` of ``features - centre``."""
    rows = codec.decode(latents[0])
    return batch.weight + rows[..., :-1], batch.bias + rows[..., -1]


def collate(conditions: Sequence[Condition]) -> Batch:
    """Pad conditions to the largest number of classes and of other sites."""
    classes = max(len(x.bias) for x in conditions)
    other_count = max(1, *(len(x.other_mask) for x in conditions))

    def of(names: str, *sizes: int) -> dict[str, Tensor]:
        return {n: stacked([getattr(x, n) for x in conditions], *sizes) for n in names.split()}

    return Batch(
        **of("centre"),
        **of("weight bias class_vectors class_scalars", classes),
        **of("other_vectors other_scalars other_mask", other_count, classes),
        **of("domain_vectors domain_scalars", 1 + other_count),
        class_mask=mask([len(x.bias) for x in conditions], classes),
        domain_mask=mask([len(x.domain_scalars) for x in conditions], 1 + other_count),
    )


def _join(vectors: Tensor, scalars: Tensor) -> Tensor:
    # Vectors have length about 1; entries of about 1 suit a linear layer better.
    return torch.cat([vectors.flatten(-2) * vectors.shape[-1] ** 0.5, scalars], dim=-1)
