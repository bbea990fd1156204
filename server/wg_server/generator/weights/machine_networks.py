"""Networks for machines: their layers, and the modules that generate their weights.

A network (``wg_common.nets.spectrum_lines``) has three linear layers on the inputs of a window,
which are its spectra. Here, the first layer acts on readings
(``wg_common.nets.encoder.reading_map``), which are linear in the inputs: the spectrum, means over
groups of lines, and narrow and wide templates over the lines of the data sheet, their harmonics and
side bands. So weights over readings define weights over inputs, with fewer parameters and smoother.
All weights are a base plus a weighted sum of a few directions. A small network computes the factors
of the directions from a condition: this is a low-rank hypernetwork (Ha et al., ICLR 2017).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wg_common.machines.base import MachineKind
from wg_common.nets.encoder import reading_map
from wg_common.nets.spectrum_lines import INPUT_COUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSizes:
    """Sizes of the modules that generate networks for machines.

    Attributes:
        width: Outputs of a generated network's first layer.
        features: Outputs of a generated network's second layer.
        latent: Dimension of the latent vector.
        rank: Number of directions whose weighted sum is added to the base weights.
        hidden: Width of the small networks that compute factors and latents.
    """

    width: int = 64
    features: int = 64
    latent: int = 8
    rank: int = 24
    hidden: int = 128


class WindowInputs(NamedTuple):
    """Inputs of n windows of each of m machines, and R readings, which are linear in the inputs."""

    inputs: Tensor  # [m, n, INPUT_COUNT]
    readings: Tensor  # [m, n, R]

    @classmethod
    def from_inputs(cls, inputs: Tensor, templates: Tensor) -> "WindowInputs":
        """Compute readings with templates ``[m, T, HALF_BIN_COUNT]``; return inputs and readings.

        The T templates of a machine are weights over its spectrum, with peaks at declared lines.
        """
        return cls(inputs, reading_map.window_readings(inputs, templates))


class NetworkWeights(NamedTuple):
    """Weights and biases of m networks: first layer, second layer, head."""

    first_weight: Tensor  # [m, width, inputs]
    first_bias: Tensor  # [m, width]
    second_weight: Tensor  # [m, features, width]
    second_bias: Tensor  # [m, features]
    head_weight: Tensor  # [m, classes, features]
    head_bias: Tensor  # [m, classes]


def run_networks(weights: NetworkWeights, inputs: Tensor) -> Tensor:
    """Run m networks on inputs ``[m, n, inputs]``; return logits ``[m, n, classes]``."""
    x = F.gelu(torch.baddbmm(weights.first_bias[:, None], inputs, weights.first_weight.mT))
    x = F.gelu(torch.baddbmm(weights.second_bias[:, None], x, weights.second_weight.mT))
    return torch.baddbmm(weights.head_bias[:, None], x, weights.head_weight.mT)


class SpectralLineNetworks(NetworkWeights):
    """Networks of m machines; first layers, ``[m, width, R]``, act on the R readings of windows."""

    def logits(self, windows: WindowInputs) -> Tensor:
        """Return the logits ``[m, n, classes]`` of windows."""
        return run_networks(self, windows.readings)

    def weights_over_inputs(self, templates: Tensor) -> NetworkWeights:
        """Return equal networks on inputs instead of readings, by templates as ``from_inputs``."""
        return NetworkWeights(
            reading_map.readings_to_input_weights(self.first_weight, templates), *self[1:]
        )


class WeightedDirections(nn.Module):
    """Module whose output is a learned base tensor plus a weighted sum of learned directions."""

    def __init__(self, rank: int, shape: tuple[int, ...], scale: float) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.zeros(shape))
        self.directions = nn.Parameter(torch.zeros(rank, *shape))
        self.scale = scale

    def forward(self, factors: Tensor) -> Tensor:
        """Return m tensors ``[m, *shape]``, each the base plus a weighted sum of directions.

        ``factors`` ``[m, rank]`` are the weights of the directions.
        """
        sums = factors @ self.directions.flatten(1)  # [m, numbers]
        return self.base + sums.reshape(-1, *self.base.shape)


class LineHypernetwork(nn.Module):
    """Low-rank hypernetwork, which generates networks from conditions ``[m, c]``."""

    def __init__(self, kind: MachineKind, condition_size: int, sizes: NetworkSizes) -> None:
        super().__init__()
        rank, width, features = sizes.rank, sizes.width, sizes.features
        classes, inputs = len(kind.conditions), reading_map.reading_count(kind)
        self.factors = three_layer_network(condition_size, sizes.hidden, rank)
        self.first = WeightedDirections(rank, (width, inputs), inputs**-0.5)
        self.second = WeightedDirections(rank, (features, width), width**-0.5)
        self.head = WeightedDirections(rank, (classes, features), features**-0.5)
        self.biases = WeightedDirections(rank, (width + features + classes,), 0.02)
        self.split = [width, features, classes]

    def forward(self, condition: Tensor) -> SpectralLineNetworks:
        """Return the networks of m machines, generated from their conditions ``[m, c]``."""
        factors = self.factors(condition)
        first_bias, second_bias, head_bias = self.biases(factors).split(self.split, dim=1)
        return SpectralLineNetworks(
            self.first(factors),
            first_bias,
            self.second(factors),
            second_bias,
            self.head(factors),
            head_bias,
        )


class TemplateNetwork(nn.Module):
    """One network for all machines, on readings at the spectral lines of each machine."""

    def __init__(self, kind: MachineKind, sizes: NetworkSizes) -> None:
        super().__init__()
        self.first = nn.Linear(reading_map.reading_count(kind), sizes.width)
        self.second = nn.Linear(sizes.width, sizes.features)
        self.head = nn.Linear(sizes.features, len(kind.conditions))

    def forward(self, machine_count: int) -> SpectralLineNetworks:
        """Return the template network, repeated for ``machine_count`` machines."""
        layers = (self.first, self.second, self.head)
        parameters = [value for layer in layers for value in (layer.weight, layer.bias)]
        return SpectralLineNetworks(
            *(value.expand(machine_count, *value.shape) for value in parameters)
        )


class FixedNetwork(nn.Module):
    """Baseline: one network for all machines, on inputs alone, as wide as a generated network."""

    def __init__(self, kind: MachineKind, sizes: NetworkSizes) -> None:
        super().__init__()
        self.first = nn.Linear(INPUT_COUNT, sizes.width)
        self.second = nn.Linear(sizes.width, sizes.features)
        self.head = nn.Linear(sizes.features, len(kind.conditions))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits ``[m, n, classes]`` of inputs ``[m, n, INPUT_COUNT]``."""
        out: Tensor = self.head(F.gelu(self.second(F.gelu(self.first(inputs)))))
        return out


class InputNetwork(nn.Module):
    """Baseline: one network, in which each machine's condition scales and shifts the layers.

    The condition is the machine's figures and embedding (FiLM: Perez et al., AAAI 2018).
    """

    def __init__(self, kind: MachineKind, embedding_size: int) -> None:
        super().__init__()
        width, self.waves = 128, 8
        self.first, self.second = nn.Linear(INPUT_COUNT, width), nn.Linear(width, width)
        self.head = nn.Linear(width, len(kind.conditions))
        waves = 2 * self.waves * kind.figure_feature_count
        self.change = nn.Sequential(
            nn.Linear(waves + embedding_size, 256), nn.GELU(), nn.Linear(256, 4 * width)
        )

    def forward(self, inputs: Tensor, figure_features: Tensor, embedding: Tensor) -> Tensor:
        """Return logits ``[m, n, classes]`` of n windows of each of m machines.

        Args:
            inputs: Inputs of the windows, ``[m, n, INPUT_COUNT]``.
            figure_features: Scaled features of the machines' figures, ``[m, c]``.
            embedding: Embedding of each machine's statistic, ``[m, embedding_size]``.
        """
        waves = (figure_features[..., None] * 2 ** torch.arange(self.waves)).flatten(1)
        condition = torch.cat([waves.sin(), waves.cos(), embedding], dim=1)
        gain, shift, gain_2, shift_2 = self.change(condition)[:, None].chunk(4, dim=2)
        x = F.gelu(self.first(inputs) * (1 + gain) + shift)
        out: Tensor = self.head(F.gelu(self.second(x) * (1 + gain_2) + shift_2))
        return out


def three_layer_network(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Return a network of three linear layers, with GELU between them."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, outputs),
    )


@torch.no_grad()
def initialise_parameters(module: nn.Module, generator: torch.Generator) -> None:
    """Draw the initial parameters of all linear layers and weighted directions in a module."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            bound = part.in_features**-0.5
            for parameter in part.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
        elif isinstance(part, WeightedDirections):
            part.base.normal_(0, part.scale, generator=generator)
            part.directions.normal_(0, 0.3 * part.scale, generator=generator)
