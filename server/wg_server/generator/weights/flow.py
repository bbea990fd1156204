"""Rectified flow with a network that predicts the clean latent: sampling.

``z_t = (1 - t) z_0 + t e`` (Liu et al., *Flow Straight and Fast*, ICLR 2023); with a prediction of
``z_0`` the velocity is ``(z_t - z_0) / t``.
"""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

STEPS = 8  # Euler steps of a sample
State = tuple[Tensor, ...]  # Latents that are sampled together, [B, ...] each


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
