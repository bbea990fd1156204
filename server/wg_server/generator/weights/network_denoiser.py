"""The denoiser of whole networks: one diffusion transformer for all sizes.

Tokens are classes (head rows), layer parts and zoo neighbours; an architecture token tells the
sizes apart. Architectures with fewer parts or features than the largest are padded: padded parts
are seen by nobody, and what is beyond an architecture's own is zero in every answer. Classes have
no positions: permuting them permutes head rows and changes no layer.
The answer is a learned share of each prior plus a residual; shares start at fixed values and the
residual at zero, and ``gate`` keeps only a part of the way from there: training on a small zoo must
not spoil good priors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wg_server.generator.weights import flow
from wg_server.generator.weights.network_condition import (
    CLASS_SCALARS,
    SEEN,
    NetworkCondition,
)
from wg_server.generator.weights.transformer import (
    Block,
    TimeEmbedding,
    draw_linear,
    mask,
    stacked,
    zeroed,
)

_KEPT = 1.0
KEPT_SHARE = 1 / (1 + math.exp(-_KEPT))
"""Share of the neighbours' mean latents kept before training, at the full retrieval weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkDenoiserConfig:
    """Size of the denoiser.

    Attributes:
        dimension: Number of encoder features d.
        parts: Number of layer parts P, of the architecture with most.
        latent: Size of a part's latent l.
        architectures: Number of architectures.
        row: Length R of a head row with its bias, F + 1, of the architecture with most features.
        width: Size of a token inside.
        depth: Number of blocks.
        heads: Attention heads.
    """

    dimension: int
    parts: int
    latent: int
    architectures: int
    row: int = 65
    width: int = 96
    depth: int = 3
    heads: int = 4


@dataclass(frozen=True, slots=True, eq=False)
class NetworkBatch:
    """Conditions padded to one size. B plants, K classes, P parts, M neighbours, rows of R."""

    architecture: Tensor  # [B] int64
    retrieved_rows: Tensor  # [B, K, R]
    regression_rows: Tensor  # [B, K, R]
    regression_share: Tensor  # [B, K]
    retrieval_weight: Tensor  # [B]
    retrieved_latents: Tensor  # [B, P, l]
    class_vectors: Tensor  # [B, K, 2, d]
    class_scalars: Tensor  # [B, K, CLASS_SCALARS]
    class_mask: Tensor  # [B, K]
    row_mask: Tensor  # [B, R]
    part_mask: Tensor  # [B, P]
    neighbour_latents: Tensor  # [B, M, P, l]
    likeness: Tensor  # [B, M]
    neighbour_mask: Tensor  # [B, M]
    domain: Tensor  # [B, d]


class Weights(NamedTuple):
    """Head rows ``[B, K, R]`` in row units and layer latents ``[B, P, l]``: clean or noisy."""

    rows: Tensor
    latents: Tensor

    def mix(self, noise: Weights, time: Tensor) -> Weights:
        """``(1 - t)`` of these and ``t`` of others, ``t`` being ``[B]``."""
        return Weights(*(flow.mix(*pair, time) for pair in zip(self, noise, strict=True)))

    def to(self, device: torch.device) -> Weights:
        """The same on a device."""
        return Weights(*(tensor.to(device) for tensor in self))


class NetworkDenoiser(nn.Module):
    """Predicts clean weights from noisy ones, the time and the condition."""

    gate: Tensor

    def __init__(self, config: NetworkDenoiserConfig) -> None:
        super().__init__()
        w, d = config.width, config.dimension
        self.config = config
        self.embed_class = nn.Linear(2 * d + CLASS_SCALARS + 3 * config.row, w)
        self.embed_part = nn.Linear(2 * config.latent, w)
        self.part = nn.Parameter(torch.zeros(config.parts, w))
        self.embed_neighbour = nn.Linear(config.parts * config.latent + 1, w)
        self.embed_domain = nn.Linear(d + SEEN, w)
        self.embed_time = TimeEmbedding(w)
        self.architecture = nn.Embedding(config.architectures, w)
        self.blocks = nn.ModuleList(Block(w, config.heads) for _ in range(config.depth))
        self.last_norm = nn.LayerNorm(w, elementwise_affine=False)
        self.last_modulation = nn.Linear(w, 2 * w)
        self.row_out = nn.Linear(w, config.row)
        self.row_share = nn.Linear(w, 2)
        self.latent_out = nn.Linear(w, config.latent)
        self.latent_share = nn.Linear(w, 1)
        self.register_buffer("gate", torch.ones(()))
        zeroed(self.row_out, self.row_share, self.latent_out, self.latent_share)
        zeroed(self.last_modulation)

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Draw initial weights; what starts at zero stays there."""
        draw_linear(self, generator)
        for table in (self.part, self.architecture.weight):
            table.normal_(0, 0.5, generator=generator)

    def nothing(self, batch: NetworkBatch) -> Weights:
        """Rows and latents of zeros."""
        b, classes = batch.class_mask.shape
        config, new = self.config, batch.domain.new_zeros
        return Weights(new(b, classes, config.row), new(b, config.parts, config.latent))

    def clean(self, noisy: flow.State, time: Tensor, batch: NetworkBatch) -> Weights:
        """Clean weights, as ``forward``."""
        prediction: Weights = self(Weights(*noisy), time, batch)
        return prediction

    def forward(self, noisy: Weights, time: Tensor, batch: NetworkBatch) -> Weights:
        """Clean weights; ``time`` is ``[B]``, 0 is clean and 1 is noise."""
        classes, parts = batch.class_mask.shape[1], self.config.parts
        size = self.config.dimension**0.5
        tokens = torch.cat(
            [
                batch.class_vectors.flatten(-2) * size,
                batch.class_scalars,
                batch.retrieved_rows,
                batch.regression_rows,
                noisy.rows,
            ],
            dim=-1,
        )
        likeness = F.pad(batch.likeness, (0, SEEN - batch.likeness.shape[1]))
        domain = self.embed_domain(torch.cat([batch.domain * size, likeness], dim=1))
        drive = F.silu(self.embed_time(time) + domain + self.architecture(batch.architecture))
        neighbours = torch.cat(
            [batch.neighbour_latents.flatten(2), batch.likeness.unsqueeze(-1)], dim=-1
        )
        x = torch.cat(
            [
                self.embed_class(tokens),
                self.embed_part(torch.cat([noisy.latents, batch.retrieved_latents], dim=-1))
                + self.part,
                self.embed_neighbour(neighbours),
            ],
            dim=1,
        )  # [B, K + P + M, w]
        mask = torch.cat([batch.class_mask, batch.part_mask, batch.neighbour_mask], dim=1)
        for block in self.blocks:
            x = block(x, mask, drive)
        shift, scale = self.last_modulation(drive).unsqueeze(1).chunk(2, dim=-1)
        x = self.last_norm(x) * (1 + scale) + shift
        of_class, of_part = x[:, :classes], x[:, classes : classes + parts]
        both = torch.stack([batch.retrieved_rows, batch.regression_rows], dim=-2)
        start = torch.stack([1 - batch.regression_share, batch.regression_share], dim=-1)
        share = start + self.gate * (torch.sigmoid(self.row_share(of_class)) - 0.5)
        rows = (share.unsqueeze(-1) * both).sum(dim=-2) + self.gate * self.row_out(of_class)
        latent_share = torch.sigmoid(self.latent_share(of_part) + _KEPT)
        latent_share = batch.retrieval_weight[:, None, None] * KEPT_SHARE + self.gate * (
            latent_share - KEPT_SHARE
        )
        latents = latent_share * batch.retrieved_latents + self.gate * self.latent_out(of_part)
        return Weights(
            rows * batch.class_mask.unsqueeze(-1) * batch.row_mask.unsqueeze(1),
            latents * batch.part_mask.unsqueeze(-1),
        )


def named_noise(
    labels: Sequence[str],
    parts: Sequence[str],
    config: NetworkDenoiserConfig,
    samples: int,
    seed: int,
) -> Weights:
    """Noise of ``samples`` networks, of a denoiser's sizes; none where a part is padded."""
    part_noise = flow.named_noise([f"part:{part}" for part in parts], config.latent, samples, seed)
    return Weights(
        flow.named_noise([f"class:{label}" for label in labels], config.row, samples, seed),
        F.pad(part_noise, (0, 0, 0, config.parts - len(parts))),
    )


def collate(
    conditions: Sequence[NetworkCondition],
    architectures: Sequence[int],
    config: NetworkDenoiserConfig,
) -> NetworkBatch:
    """Pad conditions to the largest number of classes and neighbours, and to a denoiser's sizes."""
    row, parts = config.row, config.parts
    classes = max(len(c.regression_rows) for c in conditions)
    neighbour_count = max(len(c.likeness) for c in conditions)

    def of(names: str, *sizes: int) -> dict[str, Tensor]:
        return {n: stacked([getattr(c, n) for c in conditions], *sizes) for n in names.split()}

    return NetworkBatch(
        **of("domain"),
        **of("retrieved_rows regression_rows", classes, row),
        **of("regression_share class_vectors class_scalars", classes),
        **of("retrieved_latents", parts),
        **of("neighbour_latents", neighbour_count, parts),
        **of("likeness", neighbour_count),
        architecture=torch.tensor(list(architectures)),
        retrieval_weight=torch.tensor([c.retrieval_weight for c in conditions]).float(),
        class_mask=mask([len(c.regression_rows) for c in conditions], classes),
        row_mask=mask([c.regression_rows.shape[1] for c in conditions], row),
        part_mask=mask([len(c.retrieved_latents) for c in conditions], parts),
        neighbour_mask=mask([len(c.likeness) for c in conditions], neighbour_count),
    )
