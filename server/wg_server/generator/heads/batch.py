"""Episodes and conditions as padded tensors, and the augmentation that keeps them equivalent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_server.generator.heads.denoiser import Batch
from wg_server.generator.prior.conditioning import Condition
from wg_server.generator.simulation.episodes import QUERIES, Episode

_BLOCK = 8


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What a batch should come to."""

    weight: Tensor  # [B, K, d]
    bias: Tensor  # [B, K]
    queries: Tensor  # [B, Q, d], centred on the site's predicted mean
    answers: Tensor  # [B, Q], -1 is padding


def collate(conditions: Sequence[Condition]) -> Batch:
    """Pad conditions to the largest number of classes and of other sites."""
    classes = max(len(c.bias) for c in conditions)
    others = max(1, *(len(c.other_mask) for c in conditions))
    d = conditions[0].weight.shape[1]

    def pad(arrays: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> Tensor:
        out = np.zeros((len(arrays), *shape), dtype=arrays[0].dtype)
        for row, array in enumerate(arrays):
            out[row][tuple(slice(0, n) for n in array.shape)] = array
        return torch.from_numpy(out)

    first = conditions[0]
    c_v, c_s = first.class_vectors.shape[1], first.class_scalars.shape[1]
    m_v, m_s = first.other_vectors.shape[2], first.other_scalars.shape[2]
    d_v, d_s = first.domain_vectors.shape[1], first.domain_scalars.shape[1]
    ones = [np.ones(len(c.bias), dtype=bool) for c in conditions]
    domains = [np.ones(len(c.domain_scalars), dtype=bool) for c in conditions]
    return Batch(
        weight=pad([c.weight for c in conditions], (classes, d)),
        bias=pad([c.bias for c in conditions], (classes,)),
        centre=pad([c.centre for c in conditions], (d,)),
        class_vectors=pad([c.class_vectors for c in conditions], (classes, c_v, d)),
        class_scalars=pad([c.class_scalars for c in conditions], (classes, c_s)),
        class_mask=pad(ones, (classes,)),
        other_vectors=pad([c.other_vectors for c in conditions], (others, classes, m_v, d)),
        other_scalars=pad([c.other_scalars for c in conditions], (others, classes, m_s)),
        other_mask=pad([c.other_mask for c in conditions], (others, classes)),
        domain_vectors=pad([c.domain_vectors for c in conditions], (1 + others, d_v, d)),
        domain_scalars=pad([c.domain_scalars for c in conditions], (1 + others, d_s)),
        domain_mask=pad(domains, (1 + others,)),
    )


def collate_episodes(episodes: Sequence[Episode]) -> tuple[Batch, Targets]:
    """Pad episodes."""
    batch = collate([e.condition for e in episodes])
    b, classes, d = batch.weight.shape
    weight, bias = torch.zeros(b, classes, d), torch.zeros(b, classes)
    queries = torch.zeros(b, QUERIES, d)
    answers = torch.full((b, QUERIES), -1, dtype=torch.int64)
    for row, episode in enumerate(episodes):
        k, q = len(episode.target_bias), len(episode.answers)
        weight[row, :k] = torch.from_numpy(episode.target_weight)
        bias[row, :k] = torch.from_numpy(episode.target_bias)
        queries[row, :q] = torch.from_numpy(episode.queries - episode.condition.centre)
        answers[row, :q] = torch.from_numpy(episode.answers)
    return batch, Targets(weight, bias, queries, answers)


def augment(
    batch: Batch, targets: Targets, rngs: Sequence[np.random.Generator]
) -> tuple[Batch, Targets]:
    """Turn each episode's feature space: random rotations of blocks of eight, and sign flips.

    Neighbouring coordinates have nearly the same variance, so a turned episode is one that might
    have been drawn; the denoiser learns relations between vectors and not coordinates.

    Args:
        batch: B episodes.
        targets: Of the same.
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
