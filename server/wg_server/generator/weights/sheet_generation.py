"""Networks for one machine from what its plant states: samples, and their mean.

Classes are named by the plant, and only names of conditions that the simulator has can have
weights. Class names of one condition share its probability.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import RotatingMachine
from wg_server.generator import container
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights.candidates import GeneratedCandidate, Tensors
from wg_server.generator.weights.sheet_networks import SheetModel, Sizes, Weights

SAMPLES = 16
PACKAGE_LIMIT = 64 << 20
"""Bytes of a generator from data sheets."""
Prior = Literal["flow", "gaussian"]

_FORMAT, _VERSION, _KEY = "weightgate-sheet-generator", 1, "sheet-generator"
_SIZES = ("width", "features", "latent", "rank", "hidden")
_WORDS: dict[str, tuple[str, ...]] = {
    "normal": ("normal", "healthy", "good", "ok", "sound", "正常", "良品"),
    "rolling element": (
        "ball",
        "balls",
        "b",
        "roller",
        "rolling",
        "element",
        "玉",
        "転動体",
        "ころ",
    ),
    "inner ring": ("inner", "ir", "内輪"),
    "outer ring": ("outer", "or", "外輪"),
}
"""Words that a class name may have for a condition, beside words that say nothing."""
_RANGES = {
    "turns of the shaft in 1,024 samples": (0.4, 10.0),
    "rolling elements": (5.0, 26.0),
    "rolling element over pitch diameter": (0.08, 0.42),
    "contact angle in degrees": (0.0, 45.0),
}
"""What was simulated, and a little more."""


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
        self, sheet: RotatingMachine, labels: Sequence[str], samples: int = SAMPLES, seed: int = 0
    ) -> tuple[GeneratedCandidate, ...]:
        """Networks for a machine: at the mean of the latents, and samples.

        Args:
            sheet: What its plant states.
            labels: Class names, in the order of the rows of heads.
            samples: How many to sample.
            seed: Of the samples.

        Raises:
            ConfigError: A class name is of no condition that is known, or the machine is unlike all
                that were simulated.
        """
        rows = [condition_of(label) for label in labels]
        sheets = stated(sheet)
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


def stated(sheet: RotatingMachine) -> Tensor:
    """Figures of a sheet, ``[1, 7]``; a load that is not stated is half of the nominal one.

    Raises:
        ConfigError: The machine is unlike all that were simulated.
    """
    load = 50.0 if sheet.load_percent is None else float(sheet.load_percent)
    figures = [
        float(sheet.shaft_speed_rpm),
        float(sheet.sampling_hz),
        float(sheet.rolling_elements),
        float(sheet.rolling_element_diameter_mm),
        float(sheet.pitch_diameter_mm),
        float(sheet.contact_angle_deg),
        min(load / 100, 1.0),
    ]
    sheets = torch.tensor([figures], dtype=torch.float64)
    turns = float(simulation.lines(sheets)[0, 0])
    actual = (turns, figures[2], figures[3] / figures[4], figures[5])
    for (name, (low, high)), value in zip(_RANGES.items(), actual, strict=True):
        if not low <= value <= high:
            raise ConfigError(
                f"data sheet: {value:.3g} {name}, machines of {low:g} to {high:g} are known"
            )
    return sheets.float()


def condition_of(label: str) -> int:
    """Number of the condition that a class name says.

    Raises:
        ConfigError: It says none, or more than one.
    """
    words = set(re.findall(r"[^\W\d_]+", label.lower()))
    conditions = [
        number
        for number, name in enumerate(simulation.CONDITIONS)
        if words & set(_WORDS[name]) or any(w in label for w in _WORDS[name] if not w.isascii())
    ]
    if len(conditions) != 1:
        raise ConfigError(
            f"class {label!r}: no condition of a rolling bearing that is known; expected one of"
            f" {', '.join(words[0] for words in _WORDS.values())} in it"
        )
    return conditions[0]


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
