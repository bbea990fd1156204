"""Modules that are trained for a kind of machine: conditioned networks and their baselines.

The condition is a machine's data sheet and, if available, a statistic of its records with its noise
(``machine_statistic``). A decoder generates the weights of a machine's network from the condition
and a latent vector, which represents what the condition leaves open, such as resonance,
transmission path and severity. During training, an encoder computes the latent from the simulator's
hidden properties, regularised by a variational bound (Kingma and Welling, ICLR 2014), and decoder
and encoder learn through the loss of the generated networks. A rectified flow (Liu et al., *Flow
Straight and Fast*, ICLR 2023), whose network predicts the clean latent, learns the distribution of
latents given a condition, as D2NWG (Soro et al., ICLR 2025) does for latents of trained weights.

The baselines are trained on the same windows: a *template network*, one network for all machines,
whose inputs are computed at the spectral lines of each data sheet; a *fixed* network without a data
sheet; and a network that takes the condition as an input. All but the last are trained for both
scalings of inputs: raw, and standardised by each machine's own records.
"""

import itertools
from typing import cast, get_args

import torch
from torch import Tensor, nn

from wg_common.catalogue import InputScaling
from wg_common.machines.base import MachineKind
from wg_core.privacy.schema import MACHINE_DIMENSION
from wg_server.generator.weights.machine_networks import (
    FixedNetwork,
    InputNetwork,
    LineHypernetwork,
    NetworkSizes,
    SpectralLineNetworks,
    TemplateNetwork,
    initialise_parameters,
    three_layer_network,
)
from wg_server.generator.weights.machine_statistic import StatisticBatch
from wg_server.generator.weights.simulators import SimulatedMachines

INPUT_SCALINGS: tuple[InputScaling, ...] = get_args(InputScaling)
FLOW_STEPS = 8  # Euler steps of the flow per sample
_MIN_INPUT_NOISE = 1e-4  # Lower bound of a statistic's noise before its logarithm is taken


class StatisticEmbedding(nn.Module):
    """Embedding of a machine's statistic and its noise; 0 for a machine without a statistic.

    Attributes:
        size: Dimension of the embedding.
    """

    size = 32

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(MACHINE_DIMENSION + 1, 64), nn.GELU(), nn.Linear(64, self.size)
        )

    def forward(self, statistics: StatisticBatch) -> Tensor:
        """Return the embeddings ``[m, size]`` of a batch of statistics."""
        # Numbers of a vector of norm 1 are of the order of 1 / sqrt(MACHINE_DIMENSION).
        noise = (statistics.noise_deviations.clamp(min=_MIN_INPUT_NOISE).log()[:, None] + 5) / 2
        numbers = torch.cat([statistics.means * MACHINE_DIMENSION**0.5, noise], dim=1)
        values: Tensor = self.layers(numbers)
        return values * statistics.presence_mask[:, None]


class ConditionedNetworks(nn.Module):
    """Decoder of networks for one scaling of inputs, with encoder and flow of the latents."""

    def __init__(self, kind: MachineKind, hidden_figure_count: int, sizes: NetworkSizes) -> None:
        super().__init__()
        stated_size, latent = kind.figure_feature_count, sizes.latent
        self.kind, self.latent = kind, latent
        self.embedding = StatisticEmbedding()
        known_size = stated_size + StatisticEmbedding.size
        self.decoder = LineHypernetwork(kind, known_size + latent, sizes)
        self.encoder = three_layer_network(
            stated_size + hidden_figure_count, sizes.hidden, 2 * latent
        )
        self.denoiser = three_layer_network(
            stated_size + StatisticEmbedding.size + latent + 1, sizes.hidden, latent
        )

    def embed_condition(self, figures: Tensor, statistics: StatisticBatch) -> Tensor:
        """Return conditions ``[m, c]``: figures ``[m, f]`` as features, and embedded statistics."""
        return torch.cat([self.kind.figure_features(figures), self.embedding(statistics)], dim=1)

    def decode_networks(
        self, condition: Tensor, latents: Tensor | None = None
    ) -> SpectralLineNetworks:
        """Generate networks from conditions ``[m, c]`` and latents ``[m, latent]``; None: all 0."""
        if latents is None:
            latents = torch.zeros(len(condition), self.latent)
        out: SpectralLineNetworks = self.decoder(torch.cat([condition, latents], dim=1))
        return out

    def encode_machines(self, machines: SimulatedMachines) -> tuple[Tensor, Tensor]:
        """Return mean and log deviation, each ``[m, latent]``, of simulated machines' latents."""
        figures = self.kind.figure_features(machines.figures)
        both = self.encoder(torch.cat([figures, machines.hidden_figures], dim=1))
        mean, log_deviation = both.chunk(2, dim=1)
        return mean, log_deviation.clamp(-5, 1)

    def predict_clean_latents(
        self, noisy_latents: Tensor, time: Tensor, condition: Tensor
    ) -> Tensor:
        """Predict clean latents from noisy ones, both ``[m, latent]``, given conditions ``[m, c]``.

        A time, ``[m]``, is the share of noise in the noisy latents, 0 to 1.
        """
        out: Tensor = self.denoiser(torch.cat([condition, noisy_latents, time[:, None]], dim=1))
        return out

    def sample_latents(self, condition: Tensor, noise: Tensor, steps: int = FLOW_STEPS) -> Tensor:
        """Sample latents ``[m, latent]`` from standard normal noise by Euler steps of the flow.

        With ``z_t = (1 - t) z_0 + t e`` and a prediction of ``z_0`` the velocity is ``(z_t - z_0) /
        t``.
        """
        latents = noise
        for t, t_next in itertools.pairwise(torch.linspace(1, 0, steps + 1)):
            clean = self.predict_clean_latents(latents, t.expand(len(noise)), condition)
            latents = clean + (latents - clean) * (t_next / t)
        return latents


class MachineModel(nn.Module):
    """All modules that are trained for a kind of machine.

    Attributes:
        kind: Kind of machine.
        sizes: Sizes of the networks.
        conditioned: Decoder of networks, by the scaling of inputs.
        template: Template network (baseline), by the scaling of inputs.
        fixed: Network without a data sheet (baseline), by the scaling of inputs.
        embedding: Embedding of the statistic for ``film``.
        film: Network with the condition as an input (baseline), on standardised inputs.
    """

    def __init__(self, kind: MachineKind, hidden_figure_count: int, sizes: NetworkSizes) -> None:
        super().__init__()
        self.kind, self.hidden_figure_count, self.sizes = kind, hidden_figure_count, sizes
        self.conditioned = nn.ModuleDict(
            {name: ConditionedNetworks(kind, hidden_figure_count, sizes) for name in INPUT_SCALINGS}
        )
        self.template = nn.ModuleDict(
            {name: TemplateNetwork(kind, sizes) for name in INPUT_SCALINGS}
        )
        self.fixed = nn.ModuleDict({name: FixedNetwork(kind, sizes) for name in INPUT_SCALINGS})
        self.embedding = StatisticEmbedding()
        self.film = InputNetwork(kind, StatisticEmbedding.size)

    def conditioned_networks_for(self, scaling: InputScaling) -> ConditionedNetworks:
        """Return the decoder of networks for a scaling of inputs."""
        return cast(ConditionedNetworks, self.conditioned[scaling])

    def template_network_for(self, scaling: InputScaling) -> TemplateNetwork:
        """Return the template network for a scaling of inputs."""
        return cast(TemplateNetwork, self.template[scaling])

    def initialise_parameters(self, generator: torch.Generator) -> None:
        """Draw the initial parameters of all modules at random."""
        initialise_parameters(self, generator)
