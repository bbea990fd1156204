"""Sampling whole networks.

Noise of a head row belongs to its label's name and noise of a layer part to the part's name, so
permuting labels permutes rows and changes nothing else.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from wg_server.generator.diffusion import flow
from wg_server.generator.networks.denoiser import (
    NetworkBatch,
    NetworkDenoiser,
    NetworkDenoiserConfig,
    Weights,
)


def deterministic(denoiser: NetworkDenoiser, batch: NetworkBatch) -> Weights:
    """What the denoiser answers at time 1 without noise."""
    b, classes = batch.class_mask.shape
    config = denoiser.config
    new = batch.domain
    nothing = Weights(
        new.new_zeros(b, classes, config.row), new.new_zeros(b, config.parts, config.latent)
    )
    found: Weights = denoiser(nothing, new.new_ones(b), batch)
    return found


def sample(denoiser: NetworkDenoiser, batch: NetworkBatch, noise: Weights) -> Weights:
    """Weights sampled from noise."""

    def predict(noisy: flow.State, time: Tensor) -> flow.State:
        clean: Weights = denoiser(Weights(*noisy), time, batch)
        return clean.rows, clean.latents

    return Weights(*flow.sample(predict, (noise.rows, noise.latents)))


def named_noise(
    labels: Sequence[str],
    parts: Sequence[str],
    config: NetworkDenoiserConfig,
    samples: int,
    seed: int,
) -> Weights:
    """Noise of ``samples`` networks, of a denoiser's sizes; none where a part is padded."""
    own = flow.named_noise([f"part:{part}" for part in parts], config.latent, samples, seed)
    return Weights(
        flow.named_noise([f"class:{label}" for label in labels], config.row, samples, seed),
        F.pad(own, (0, 0, 0, config.parts - len(parts))),
    )
