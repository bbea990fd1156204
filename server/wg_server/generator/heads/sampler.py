"""Sampling heads, and decoding what was sampled."""

from torch import Tensor

from wg_server.generator.diffusion import flow
from wg_server.generator.heads.codec import Codec
from wg_server.generator.heads.denoiser import Batch, Denoiser


def deterministic(denoiser: Denoiser, batch: Batch) -> Tensor:
    """The latent that the denoiser answers without noise, ``[B, K, latent]``."""
    b, k = batch.bias.shape
    nothing = batch.bias.new_zeros(b, k, denoiser.config.latent)
    out: Tensor = denoiser(nothing, batch.bias.new_ones(b), batch)
    return out


def sample(denoiser: Denoiser, batch: Batch, noise: Tensor) -> Tensor:
    """Latents sampled from noise ``[B, K, latent]``, as of ``flow.named_noise``."""
    return flow.sample(lambda noisy, time: (denoiser(noisy[0], time, batch),), (noise,))[0]


def decode(codec: Codec, batch: Batch, latent: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``[B, K, d]`` and biases ``[B, K]`` of ``features - centre``."""
    weight, bias = codec.decode(latent)
    return batch.weight + weight, batch.bias + bias
