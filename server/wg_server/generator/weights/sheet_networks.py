"""Networks from data sheets: what is trained, and how a sheet becomes weights.

The first layer of a network (``wg_common.nets.spectrum_lines``) is made of templates over the lines
that the sheet states: their harmonics and side bands, narrow and wide. Their mixture, and all that
is beside it, is a base and a sum of a few directions, whose factors a small network gives for a
sheet and a latent: a low-rank hypernetwork (Ha et al., ICLR 2017). The latent is what a sheet
leaves open, such as resonance, path and severity. While training an encoder gives it from what the
simulator hides, within a variational bound (Kingma and Welling, ICLR 2014), and decoder and
encoder learn through the loss of the networks. A rectified flow (Liu et al., *Flow Straight and
Fast*, ICLR 2023) with a network that predicts the clean latent learns the latents' distribution at
a sheet, which D2NWG (Soro et al., ICLR 2025) learns of latents of trained weights.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wg_common.machines import bearing
from wg_common.nets.spectrum_lines import BANDS, ENVELOPES, INPUTS
from wg_server.generator.weights import bearing_simulation as simulation

CONDITION = bearing.KIND.condition_size
TEMPLATES = bearing.KIND.template_count
CLASSES = len(bearing.KIND.conditions)
condition, templates = bearing.KIND.stated_numbers, bearing.KIND.templates
FLOW_STEPS = 8  # Of a sample


class Weights(NamedTuple):
    """Networks of m machines: first layer, second layer, head, each weights and biases."""

    first: Tensor  # [m, width, INPUTS]
    first_bias: Tensor  # [m, width]
    second: Tensor  # [m, features, width]
    second_bias: Tensor  # [m, features]
    head: Tensor  # [m, classes, features]
    head_bias: Tensor  # [m, classes]


def run(weights: Weights, inputs: Tensor) -> Tensor:
    """Logits ``[m, n, classes]`` of inputs ``[m, n, INPUTS]``."""
    x = F.gelu(torch.baddbmm(weights.first_bias[:, None], inputs, weights.first.mT))
    x = F.gelu(torch.baddbmm(weights.second_bias[:, None], x, weights.second.mT))
    return torch.baddbmm(weights.head_bias[:, None], x, weights.head.mT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the module.

    Attributes:
        width: Units of a network's first layer.
        features: Of its second.
        latent: Length of a latent.
        rank: Directions that weights are mixed of.
        hidden: Units of the small networks that do it.
    """

    width: int = 64
    features: int = 64
    latent: int = 8
    rank: int = 24
    hidden: int = 128


class _Mixture(nn.Module):
    """Tensors that are a base and a sum of directions."""

    def __init__(self, rank: int, shape: tuple[int, ...], scale: float) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.zeros(shape))
        self.directions = nn.Parameter(torch.zeros(rank, *shape))
        self.scale = scale

    def forward(self, factors: Tensor) -> Tensor:
        mixed = factors @ self.directions.flatten(1)  # [m, numbers]
        return self.base + mixed.reshape(-1, *self.base.shape)


class SheetDecoder(nn.Module):
    """From sheets and latents to networks."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.factors = _mlp(CONDITION + sizes.latent, sizes.hidden, sizes.rank)
        rank, width, features = sizes.rank, sizes.width, sizes.features
        self.mixture = _Mixture(rank, (width, len(BANDS) * TEMPLATES), 0.1)
        self.first = nn.Parameter(torch.zeros(width, INPUTS))
        self.coarse = _Mixture(rank, (width, INPUTS - ENVELOPES), INPUTS**-0.5)
        self.second = _Mixture(rank, (features, width), width**-0.5)
        self.head = _Mixture(rank, (CLASSES, features), features**-0.5)
        self.biases = _Mixture(rank, (width + features + CLASSES,), 0.02)
        self.split = [width, features, CLASSES]

    def forward(self, sheets: Tensor, latents: Tensor) -> Weights:
        """Networks of m sheets ``[m, 7]`` and latents ``[m, latent]``."""
        factors = self.factors(torch.cat([condition(sheets), latents], dim=1))
        mixture = self.mixture(factors).unflatten(2, (len(BANDS), TEMPLATES))
        over_lines = torch.einsum("mhbt,mtf->mhbf", mixture, templates(sheets)).flatten(2)
        first_layer = self.first + torch.cat([over_lines, self.coarse(factors)], dim=2)
        first_bias, second_bias, head_bias = self.biases(factors).split(self.split, dim=1)
        return Weights(
            first_layer,
            first_bias,
            self.second(factors),
            second_bias,
            self.head(factors),
            head_bias,
        )


class FixedNetwork(nn.Module):
    """A network of the same shape that never sees a sheet."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, sizes.width)
        self.second = nn.Linear(sizes.width, sizes.features)
        self.head = nn.Linear(sizes.features, CLASSES)

    def forward(self, count: int) -> Weights:
        """The network, for each of so many machines."""
        parameters = [
            value.expand(count, *value.shape)
            for layer in (self.first, self.second, self.head)
            for value in (layer.weight, layer.bias)
        ]
        return Weights(*parameters)


class SheetModel(nn.Module):
    """All that is trained: decoder, encoder, flow, and the network that sees no sheet."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.decoder = SheetDecoder(sizes)
        self.encoder = _mlp(CONDITION + simulation.HIDDEN, sizes.hidden, 2 * sizes.latent)
        self.denoiser = _mlp(CONDITION + sizes.latent + 1, sizes.hidden, sizes.latent)
        self.fixed = FixedNetwork(sizes)
        self.standardised = FixedNetwork(sizes)

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Draw what training starts from."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                for parameter in module.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, _Mixture):
                module.base.normal_(0, module.scale, generator=generator)
                module.directions.normal_(0, 0.3 * module.scale, generator=generator)
        self.decoder.first.normal_(0, INPUTS**-0.5, generator=generator)

    def posterior(self, machines: simulation.Machines) -> tuple[Tensor, Tensor]:
        """Mean and log deviation of the latents of machines whose hidden figures are known."""
        sheet_and_latent = torch.cat([condition(machines.figures), machines.hidden], dim=1)
        mean, log_deviation = self.encoder(sheet_and_latent).chunk(2, dim=1)
        return mean, log_deviation.clamp(-5, 1)

    def denoised(self, noisy: Tensor, time: Tensor, sheets: Tensor) -> Tensor:
        """Clean latents of noisy ones ``[m, latent]`` at times ``[m]``."""
        out: Tensor = self.denoiser(torch.cat([condition(sheets), noisy, time[:, None]], dim=1))
        return out

    def sample(self, sheets: Tensor, noise: Tensor, steps: int = FLOW_STEPS) -> Tensor:
        """Latents ``[m, latent]`` from noise, by Euler steps of the flow, all of one length.

        With ``z_t = (1 - t) z_0 + t e`` and a prediction of ``z_0`` the velocity is
        ``(z_t - z_0) / t``.
        """
        latents = noise
        for t, t_next in itertools.pairwise(torch.linspace(1, 0, steps + 1)):
            clean = self.denoised(latents, t.expand(len(noise)), sheets)
            latents = clean + (latents - clean) * (t_next / t)
        return latents


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.GELU(),
        nn.Linear(hidden, hidden),
        nn.GELU(),
        nn.Linear(hidden, outputs),
    )
