"""A variational autoencoder of layer parts (Kingma and Welling, ICLR 2014), as in D2NWG.

Input are a part's PCA scores at a higher rank than the latent's; one encoder and one decoder serve
all parts, told apart by an embedding. Both are the leading PCA directions plus what a small network
adds to them, starting at nothing: the VAE begins as the PCA codec of the same size and moves from
there as far as it pays in reconstruction. What is added at zero is subtracted, so that the base has
latent zero, and the latent zero is the base, exactly.

Reconstruction counts each direction by its share of its part's energy. The KL term is weak, since
the diffusion is sampled from and not the prior. Training is short: on zoos of a hundred networks a
longer one reconstructs these better, and those of other families worse (decisions/0066).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wg_common.inference.discriminants import principal_scores
from wg_server.generator.networks.codec import Array, Tokens, inverse, numbered

RANK = 48
"""PCA directions that the VAE reads and writes, unless twice the latent size is more."""
WIDTH = 96
STEPS = 100
_RATE = 1e-3
_DECAY = 1.0
_KL = 1e-3
_LOG_VARIANCE = -4.0


class VaeNet(nn.Module):
    """Scores ``[..., P, r]`` to latents ``[..., P, l]`` and back."""

    def __init__(self, parts: int, rank: int, latent: int, width: int = WIDTH) -> None:
        super().__init__()
        self.rank, self.latent = rank, latent
        self.part = nn.Parameter(torch.zeros(2, parts, width))
        self.encode_in = nn.Linear(rank, width)
        self.encode_out = nn.Linear(width, 2 * latent)
        self.decode_in = nn.Linear(latent, width)
        self.decode_out = nn.Linear(width, rank)

    def draw(self, generator: torch.Generator) -> None:
        """Initial weights: the inner layers at random, the outer ones zero."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            for layer in (self.encode_in, self.decode_in):
                layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
            self.part.normal_(0, 1, generator=generator)
            self.encode_out.bias[self.latent :] = _LOG_VARIANCE

    def encode(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, ``[..., P, l]`` each."""
        mean, log_variance = self._inward(scores).chunk(2, dim=-1)
        nothing, _ = self._inward(torch.zeros_like(scores)).chunk(2, dim=-1)
        return _fit(scores, self.latent) + mean - nothing, log_variance

    def decode(self, latents: Tensor) -> Tensor:
        """Scores ``[..., P, r]``."""
        added = self._outward(latents) - self._outward(torch.zeros_like(latents))
        return _fit(latents, self.rank) + added

    def _inward(self, scores: Tensor) -> Tensor:
        out: Tensor = self.encode_out(F.silu(self.encode_in(scores) + self.part[0]))
        return out

    def _outward(self, latents: Tensor) -> Tensor:
        out: Tensor = self.decode_out(F.silu(self.decode_in(latents) + self.part[1]))
        return out


@dataclass(frozen=True, slots=True, eq=False)
class VaeCodec:
    """A fitted VAE with the linear maps around it. P parts, rank r, latent size l.

    Attributes:
        parts: Names, in order.
        directions: ``[size, r]`` each, orthonormal.
        spread: Root mean square of the scores, ``[P, r]``.
        unit: Root mean square of the latents' means, ``[P, l]``.
        net: Between standardised scores and latents.
    """

    parts: tuple[str, ...]
    directions: tuple[Tensor, ...]
    spread: Tensor
    unit: Tensor
    net: VaeNet

    @property
    def kind(self) -> str:
        """``vae``."""
        return "vae"

    def encode(self, tokens: Tokens) -> Array:
        """Latents ``[P, l]`` of flat deltas: the mean, over its unit."""
        scores = np.stack(
            [
                tokens[name] @ matrix.numpy()
                for name, matrix in zip(self.parts, self.directions, strict=True)
            ]
        )
        with torch.inference_mode():
            mean, _ = self.net.encode(torch.from_numpy(scores * inverse(self.spread.numpy())))
        return np.asarray(mean.numpy() * inverse(self.unit.numpy()), np.float32)

    def decode(self, latents: Tensor) -> dict[str, Tensor]:
        """Flat deltas of latents ``[P, l]``; differentiable."""
        scores = self.net.decode(latents.to(self.unit.device) * self.unit) * self.spread
        return {
            name: matrix @ row
            for name, row, matrix in zip(self.parts, scores, self.directions, strict=True)
        }

    def tensors(self) -> dict[str, Tensor]:
        """``directions.NN``, ``spread``, ``unit`` and ``net.*``."""
        found = numbered("directions", self.directions)
        found |= {"spread": self.spread, "unit": self.unit}
        return found | {f"net.{k}": v for k, v in self.net.state_dict().items()}

    def to(self, device: torch.device) -> VaeCodec:
        """See ``Codec.to``."""
        return VaeCodec(
            self.parts,
            tuple(matrix.to(device) for matrix in self.directions),
            self.spread.to(device),
            self.unit.to(device),
            copy.deepcopy(self.net).to(device),
        )


def fit_vae_codec(
    parts: Sequence[str], tokens: Sequence[Tokens], latent: int, seed: int, *, steps: int = STEPS
) -> VaeCodec:
    """Fit on the tokens of N networks; full batch, the same bits for the same seed and threads.

    Args:
        parts: Names, in order.
        tokens: One mapping a network.
        latent: Size l.
        seed: Of initial weights and of the latents' noise.
        steps: Of training.
    """
    rank = min(len(tokens), max(RANK, 2 * latent))
    directions, spreads, scores = [], [], []
    for name in parts:
        rows = np.stack([t[name] for t in tokens])
        matrix, own = principal_scores(rows, rank)
        directions.append(torch.tensor(matrix, dtype=torch.float32))
        spreads.append(own)
        scores.append(rows @ matrix * inverse(own))
    data = torch.tensor(np.stack(scores, axis=1), dtype=torch.float32)  # [N, P, r]
    spread = torch.tensor(np.stack(spreads), dtype=torch.float32)  # [P, r]
    net = VaeNet(len(parts), rank, latent)
    _train(net, data, spread, torch.Generator().manual_seed(seed), steps)
    net.eval().requires_grad_(False)
    mean, _ = net.encode(data)
    unit = mean.square().mean(dim=0).sqrt()
    unit = torch.where(unit > 1e-4 * unit.amax(dim=1, keepdim=True), unit, 0.0)
    return VaeCodec(tuple(parts), tuple(directions), spread, unit, net)


def read_vae_codec(
    parts: Sequence[str], sizes: Sequence[int], tensors: Mapping[str, Tensor]
) -> VaeCodec:
    """A codec from ``VaeCodec.tensors``.

    Raises:
        KeyError: A tensor is missing.
        ValueError: One of the linear maps has the wrong shape.
        RuntimeError: One of the network's has.
    """
    spread, unit = tensors["spread"], tensors["unit"]
    if not (spread.ndim == unit.ndim == 2 and len(spread) == len(unit) == len(parts)):
        raise ValueError("the spreads of the codec have the wrong shape")
    rank, latent = spread.shape[1], unit.shape[1]
    directions = tuple(tensors[f"directions.{number:02}"] for number in range(len(parts)))
    for name, size, matrix in zip(parts, sizes, directions, strict=True):
        if matrix.shape != (size, rank):
            raise ValueError(f"the codec of {name} has the wrong shape")
    net = VaeNet(len(parts), rank, latent)
    net.load_state_dict(
        {k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")}
    )
    return VaeCodec(tuple(parts), directions, spread, unit, net.eval().requires_grad_(False))


def _train(
    net: VaeNet, data: Tensor, spread: Tensor, generator: torch.Generator, steps: int
) -> None:
    """Reconstruction by energy, and KL to the standard normal; the rate falls by a cosine."""
    energy = spread.square()
    share = energy / energy.sum(dim=1, keepdim=True).clamp_min(1e-30)  # [P, r]
    net.draw(generator)
    optimiser = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * 0.5 * (1 + float(np.cos(np.pi * step / steps)))
        mean, log_variance = net.encode(data)
        noise = torch.randn(mean.shape, generator=generator)
        found = net.decode(mean + noise * torch.exp(0.5 * log_variance))
        lost = ((found - data).square() * share).sum(dim=-1).mean()
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=-1).mean()
        optimiser.zero_grad(set_to_none=True)
        (lost + _KL * kl).backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _fit(values: Tensor, size: int) -> Tensor:
    """The first ``size`` entries of the last axis, zeros where there are no more."""
    return F.pad(values[..., :size], (0, max(0, size - values.shape[-1])))
