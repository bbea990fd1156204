"""Episodes as padded tensors, and the augmentation that keeps them equivalent."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from wg_server.generator.simulation.episodes import QUERIES, Episode
from wg_server.generator.weights.head_denoiser import Batch, collate
from wg_server.generator.weights.transformer import stacked

_BLOCK = 8


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What a batch should come to."""

    weight: Tensor  # [B, K, d]
    bias: Tensor  # [B, K]
    queries: Tensor  # [B, Q, d], centred on the site's predicted mean
    answers: Tensor  # [B, Q], -1 is padding


def collate_episodes(episodes: Sequence[Episode]) -> tuple[Batch, Targets]:
    """Pad episodes."""
    batch = collate([e.condition for e in episodes])
    classes = batch.bias.shape[1]
    return batch, Targets(
        weight=stacked([e.target_weight for e in episodes], classes),
        bias=stacked([e.target_bias for e in episodes], classes),
        queries=stacked([e.queries - e.condition.centre for e in episodes], QUERIES),
        answers=stacked([e.answers + 1 for e in episodes], QUERIES) - 1,
    )


def augment(
    batch: Batch, targets: Targets, rngs: Sequence[np.random.Generator]
) -> tuple[Batch, Targets]:
    """Turn each episode's feature space: random rotations of blocks of eight, and sign flips.

    Neighbouring coordinates have nearly the same variance, so a turned episode is one that might
    have been drawn; the denoiser learns relations between vectors and not coordinates.

    Args:
        rngs: B of them; one may serve several.
    """
    b, _, d = batch.weight.shape
    turns = np.zeros((b, d, d), dtype=np.float32)
    for start in range(0, d, _BLOCK):
        size = min(_BLOCK, d - start)
        q, r = np.linalg.qr(np.stack([rng.normal(size=(size, size)) for rng in rngs]))
        sign = np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
        turns[:, start : start + size, start : start + size] = q * sign
    turn = torch.from_numpy(turns)

    def apply(x: Tensor) -> Tensor:
        flat = x.reshape(b, -1, d) @ turn
        return flat.reshape(x.shape)

    turned = replace(
        batch,
        weight=apply(batch.weight),
        centre=apply(batch.centre),
        class_vectors=apply(batch.class_vectors),
        other_vectors=apply(batch.other_vectors),
        domain_vectors=apply(batch.domain_vectors),
    )
    return turned, replace(targets, weight=apply(targets.weight), queries=apply(targets.queries))
