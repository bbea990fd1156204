"""Sampling whole networks: a few Euler steps of rectified flow, as for heads.

Noise of a head row belongs to its label's name and noise of a layer part to the part's name, so
permuting labels permutes rows and changes nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from wg_server.generator.heads.sampler import STEPS, label_noise
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


def sample(
    denoiser: NetworkDenoiser, batch: NetworkBatch, noise: Weights, steps: int = STEPS
) -> Weights:
    """Weights sampled from noise."""
    now = noise
    for time, then in itertools.pairwise(torch.linspace(1, 0, steps + 1)):
        clean: Weights = denoiser(now, time.expand(len(noise.rows)), batch)
        ratio = then / time
        now = Weights(
            clean.rows + (now.rows - clean.rows) * ratio,
            clean.latents + (now.latents - clean.latents) * ratio,
        )
    return now


def named_noise(
    labels: Sequence[str],
    parts: Sequence[str],
    config: NetworkDenoiserConfig,
    samples: int,
    seed: int,
) -> Weights:
    """Noise of ``samples`` networks, of a denoiser's sizes; none where a part is padded."""
    own = label_noise([f"part:{part}" for part in parts], config.latent, samples, seed)
    return Weights(
        label_noise([f"class:{label}" for label in labels], config.row, samples, seed),
        F.pad(own, (0, 0, 0, config.parts - len(parts))),
    )
