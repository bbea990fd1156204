"""Rectified flow with a network that predicts the clean latent: noise, times and sampling.

``z_t = (1 - t) z_0 + t e`` (Liu et al., *Flow Straight and Fast*, ICLR 2023); with a prediction of
``z_0`` the velocity is ``(z_t - z_0) / t``. At t = 1 with a zero latent the network gives its
deterministic answer, for which it is also trained.

What is random in a training step comes from one generator an episode: an episode's numbers depend
on the seed, the step and its own number, and not on which process works on it or what else is in
its batch.
"""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

STEPS = 8  # Euler steps of a sample
Generators = Sequence[np.random.Generator]
State = tuple[Tensor, ...]  # Latents that are sampled together, [B, ...] each


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
    """
    noise = torch.zeros(len(rngs), max(rows), width)
    for number, (rng, count) in enumerate(zip(rngs, rows, strict=True)):
        noise[number, :count] = torch.from_numpy(
            rng.standard_normal((count, width), dtype=np.float32)
        )
    return noise * (~fixed)[:, None, None]


def mix(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """Noisy latents ``[B, N, l]`` at times ``[B]``."""
    t = time[:, None, None]
    return (1 - t) * clean + t * noise


def sample(predict: Callable[[State, Tensor], State], noise: State, steps: int = STEPS) -> State:
    """Clean latents from noise, by Euler steps of equal length.

    Args:
        predict: Clean latents of noisy ones and their times ``[B]``.
        noise: Where to begin.
    """
    latents = noise
    for t, t_next in itertools.pairwise(torch.linspace(1, 0, steps + 1)):
        clean = predict(latents, t.expand(len(noise[0])))
        latents = tuple(
            z_0 + (z_t - z_0) * (t_next / t) for z_0, z_t in zip(clean, latents, strict=True)
        )
    return latents


def named_noise(names: Sequence[str], width: int, samples: int, seed: int) -> Tensor:
    """Noise ``[samples, N, width]`` that belongs to names, not to their order.

    So permuting the names permutes what is generated, sample by sample.
    """
    rows = []
    for name in names:
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        rows.append(torch.randn(samples, width, generator=generator))
    return torch.stack(rows, dim=1)
