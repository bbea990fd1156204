"""What is random in a training step: diffusion times and noise, from one generator an episode.

An episode's numbers depend on the seed, the step and its own number, and not on which process
works on it or what else is in its batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Generators = Sequence[np.random.Generator]


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What is added to clean class rows, and when. B episodes, K classes."""

    fixed: Tensor  # [B] true where the deterministic answer is trained
    time: Tensor  # [B]
    latent: Tensor  # [B, K, width]


def draw(rngs: Generators, deterministic: float, rows: Sequence[int], width: int) -> Noise:
    """Times, then noise: the arguments of ``draw_times`` and ``draw_noise``."""
    fixed, time = draw_times(rngs, deterministic)
    return Noise(fixed, time, draw_noise(rngs, fixed, rows, width))


def draw_times(rngs: Generators, deterministic: float) -> tuple[Tensor, Tensor]:
    """Which of B episodes train the deterministic answer, bool ``[B]``, and all times ``[B]``.

    Those have time 1. The others' are logit-normal as in Esser et al. (2024): most of the work is
    in the middle.

    Args:
        rngs: B of them.
        deterministic: The share of such episodes.
    """
    fixed = torch.tensor([bool(rng.random() < deterministic) for rng in rngs])
    drawn = torch.tensor([rng.normal() + 0.5 for rng in rngs], dtype=torch.float32)
    return fixed, torch.where(fixed, torch.ones(len(rngs)), torch.sigmoid(drawn))


def draw_noise(rngs: Generators, fixed: Tensor, rows: Sequence[int], width: int) -> Tensor:
    """Normal noise ``[B, most rows, width]``; zero in padding and where ``fixed``.

    Args:
        rngs: B of them.
        fixed: ``[B]``.
        rows: How many rows each episode has.
        width: Numbers a row.
    """
    noise = torch.zeros(len(rngs), max(rows), width)
    for number, (rng, count) in enumerate(zip(rngs, rows, strict=True)):
        noise[number, :count] = torch.from_numpy(
            rng.standard_normal((count, width), dtype=np.float32)
        )
    return noise * (~fixed)[:, None, None]
