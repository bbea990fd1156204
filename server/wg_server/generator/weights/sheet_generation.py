"""Networks for one machine from what its plant states: samples, and their mean.

Classes are named by the plant, and only names of conditions that the simulator has can have
weights. Class names of one condition share its probability.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT
from wg_common.machines import bearing
from wg_common.machines.words import condition_of
from wg_core.wire.data_sheet import DataSheet
from wg_server.generator import container
from wg_server.generator.weights.candidates import GeneratedCandidate, Tensors
from wg_server.generator.weights.sheet_networks import SheetModel, Sizes, Weights

SAMPLES = 16
PACKAGE_LIMIT = 64 << 20
"""Bytes of a generator from data sheets."""
Prior = Literal["flow", "gaussian"]

_FORMAT, _VERSION, _KEY = "weightgate-sheet-generator", 1, "sheet-generator"
_SIZES = ("width", "features", "latent", "rank", "hidden")


@dataclass(frozen=True, slots=True, eq=False)
class SheetGenerator:
    """A trained generator.

    Attributes:
        model: Its module.
        prior: What latents are sampled by: the flow, or a Gaussian where that is as good.
        centre: Mean of the Gaussian, ``[latent]``.
        factor: Lower factor of its covariance, ``[latent, latent]``.
    """

    model: SheetModel
    prior: Prior
    centre: Tensor
    factor: Tensor

    def latents(self, sheets: Tensor, noise: Tensor) -> Tensor:
        """Sampled latents of sheets ``[m, 7]`` from noise ``[m, latent]``."""
        if self.prior == "flow":
            return self.model.sample(sheets, noise)
        return self.centre + noise @ self.factor.mT

    def generate(
        self, sheet: DataSheet, labels: Sequence[str], samples: int = SAMPLES, seed: int = 0
    ) -> tuple[GeneratedCandidate, ...]:
        """Networks for a machine: at the mean of the latents, and samples.

        Args:
            sheet: Data sheet of the machine.
            labels: Class names, in the order of the rows of heads.
            samples: How many to sample.
            seed: Of the samples.

        Raises:
            ConfigError: A class name is of no condition that is known, or the machine is unlike all
                that were simulated.
        """
        rows = [condition_of(bearing.KIND, label) for label in labels]
        sheets = bearing.figures(sheet)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(samples, self.model.sizes.latent, generator=generator)
        names = ["sheet-mean", *(f"sheet-{number}" for number in range(samples))]
        with torch.inference_mode():
            latents = self.latents(sheets.expand(samples, -1), noise)
            zero = torch.zeros(1, self.model.sizes.latent)
            latents = torch.cat([zero, latents])
            weights = self.model.decoder(sheets.expand(samples + 1, -1), latents)
            return tuple(
                GeneratedCandidate(name, "diffusion", _tensors(weights, number, rows))
                for number, name in enumerate(names)
            )


def pack(generator: SheetGenerator) -> bytes:
    """The generator's package."""
    tensors = {f"model.{name}": value for name, value in generator.model.state_dict().items()}
    tensors |= {"centre": generator.centre, "factor": generator.factor}
    sizes = {name: getattr(generator.model.sizes, name) for name in _SIZES}
    document = {"format": _FORMAT, "version": _VERSION, "prior": generator.prior, **sizes}
    return container.pack(tensors, _KEY, document)


def unpack(data: bytes) -> SheetGenerator:
    """Read a package.

    Raises:
        DecodeError: The bytes are no such package of this version.
    """
    tensors, document = container.unpack(
        data, _KEY, form=_FORMAT, version=_VERSION, limit=PACKAGE_LIMIT
    )
    with container.decoding(_KEY):
        model = SheetModel(Sizes(**{name: int(document[name]) for name in _SIZES}))
        model.load_state_dict(container.under(tensors, "model."))
        prior: Prior = "flow" if document["prior"] == "flow" else "gaussian"
        return SheetGenerator(model.eval(), prior, tensors["centre"], tensors["factor"])


def _tensors(weights: Weights, number: int, rows: Sequence[int]) -> Tensors:
    """One network, its head's rows those of the plant's classes."""
    share = torch.tensor([float(rows.count(row)) for row in rows]).log()
    values = {
        "trunk.first.weight": weights.first[number],
        "trunk.first.bias": weights.first_bias[number],
        "trunk.second.weight": weights.second[number],
        "trunk.second.bias": weights.second_bias[number],
        HEAD_WEIGHT: weights.head[number][rows],
        HEAD_BIAS: weights.head_bias[number][rows] - share,
    }
    return {name: value.numpy().copy() for name, value in values.items()}
