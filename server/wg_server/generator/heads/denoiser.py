"""The denoiser: a diffusion transformer over class tokens.

Self-attention among class and domain tokens, cross-attention from each class to its own rows in
tokens of other sites, and adaptive layer norms driven by the diffusion time and the own domain
token (adaLN-Zero; Peebles and Xie, *DiT*, ICCV 2023). There are no positions, so permuting classes
permutes outputs. The last layer starts at zero: an untrained denoiser is the T-BLUP skeleton.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wg_server.generator.prior import conditioning as c


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
        self.embed_time = nn.Sequential(nn.Linear(32, w), nn.SiLU(), nn.Linear(w, w))
        self.own = nn.Parameter(torch.zeros(w))
        self.blocks = nn.ModuleList(_Block(w, config.heads) for _ in range(config.depth))
        self.last_norm = nn.LayerNorm(w, elementwise_affine=False)
        self.last_modulation = nn.Linear(w, 2 * w)
        self.last = nn.Linear(w, config.latent)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(12.0)))
        for layer in (self.last, self.last_modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def draw(self, generator: torch.Generator) -> None:
        """Draw initial weights; what starts at zero stays there."""
        draw_linear(self, generator)

    def forward(self, latent: Tensor, time: Tensor, batch: Batch) -> Tensor:
        """Clean latents.

        Args:
            latent: Noisy latents ``[B, K, latent]``.
            time: ``[B]``, 0 is clean and 1 is noise.
            batch: The condition.

        Returns:
            ``[B, K, latent]``.
        """
        classes = latent.shape[1]
        tokens = self.embed_class(_join(batch.class_vectors, batch.class_scalars))
        tokens = tokens + self.embed_latent(latent)  # [B, K, w]
        domain = self.embed_domain(_join(batch.domain_vectors, batch.domain_scalars))
        drive = F.silu(self.embed_time(waves(time)) + domain[:, 0] + self.own)  # [B, w]
        others = self.embed_memory(_join(batch.other_vectors, batch.other_scalars))
        others = F.silu(others).transpose(1, 2)  # [B, K, M, w]
        other_mask = batch.other_mask.transpose(1, 2)  # [B, K, M]
        x = torch.cat([tokens, domain], dim=1)  # [B, K + 1 + M, w]
        mask = torch.cat([batch.class_mask, batch.domain_mask], dim=1)
        for block in self.blocks:
            x = block(x, mask, others, other_mask, drive, classes)
        shift, scale = self.last_modulation(drive).unsqueeze(1).chunk(2, dim=-1)
        out: Tensor = self.last(self.last_norm(x[:, :classes]) * (1 + scale) + shift)
        return out * batch.class_mask.unsqueeze(-1)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.nothing = nn.Parameter(torch.zeros(1, 1, 1, 2 * width))
        self.memory_out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )
        self.modulation = nn.Linear(width, 9 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        others: Tensor,
        other_mask: Tensor,
        drive: Tensor,
        classes: int,
    ) -> Tensor:
        parts = self.modulation(drive).unsqueeze(1).chunk(9, dim=-1)
        h = self.norms[0](x) * (1 + parts[0]) + parts[1]
        q, k, v = (_split(part, self.heads) for part in self.qkv(h).chunk(3, dim=-1))
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + (1 + parts[2]) * self.out(_merge(seen))
        own = x[:, :classes]
        h = self.norms[1](own) * (1 + parts[3]) + parts[4]
        own = own + (1 + parts[5]) * self.memory_out(self._look(h, others, other_mask))
        x = torch.cat([own, x[:, classes:]], dim=1)
        h = self.norms[2](x) * (1 + parts[6]) + parts[7]
        out: Tensor = x + (1 + parts[8]) * self.mlp(h)
        return out

    def _look(self, h: Tensor, others: Tensor, mask: Tensor) -> Tensor:
        """Each class looks at its own rows at other sites, or at nothing. ``[B, K, w]``."""
        b, k, _ = h.shape
        kv = self.key_value(others)  # [B, K, M, 2w]
        kv = torch.cat([self.nothing.expand(b, k, 1, -1), kv], dim=2)
        key, value = (part.flatten(0, 1) for part in kv.chunk(2, dim=-1))
        query = self.query(h).reshape(b * k, 1, -1)
        seen = torch.cat([torch.ones_like(mask[..., :1]), mask], dim=2).reshape(b * k, 1, 1, -1)
        found = F.scaled_dot_product_attention(
            _split(query, self.heads),
            _split(key, self.heads),
            _split(value, self.heads),
            attn_mask=seen,
        )
        return _merge(found).reshape(b, k, -1)


def _join(vectors: Tensor, scalars: Tensor) -> Tensor:
    # Vectors have length about 1; entries of about 1 suit a linear layer better.
    return torch.cat([vectors.flatten(-2) * vectors.shape[-1] ** 0.5, scalars], dim=-1)


def _split(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:-1], heads, -1).transpose(-3, -2)


def _merge(x: Tensor) -> Tensor:
    return x.transpose(-3, -2).flatten(-2)


@torch.no_grad()
def draw_linear(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every linear layer, uniform within 1/sqrt(fan-in); what is zero stays zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and layer.weight.any():
            bound = 1 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)


def waves(time: Tensor) -> Tensor:
    """Sines and cosines of times ``[B]``, ``[B, 32]``."""
    rate = torch.exp(torch.linspace(0, math.log(100.0), 16, dtype=time.dtype, device=time.device))
    angle = time[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)
