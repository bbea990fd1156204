"""Networks for one machine from what its plant states, and from the statistic that it released.

Classes are named by the plant, and only names of conditions that the simulator has can have
weights. Class names of one condition share its probability. Where the card of a kind of machine
finds its template network as good, for one treatment of inputs or both, that is what is made.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import torch
from torch import Tensor, nn

from wg_common.catalogue import CONDITIONED, HEAD_BIAS, HEAD_WEIGHT, Inputs
from wg_common.machines import bearing, words
from wg_common.machines.base import MachineKind
from wg_common.machines.registry import PROCESS_UNITS, stated_kind, stated_unit
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet
from wg_server.generator import container
from wg_server.generator.weights.candidates import GeneratedCandidate, Tensors
from wg_server.generator.weights.class_head import class_head
from wg_server.generator.weights.machine_model import TREATMENTS, MachineModel
from wg_server.generator.weights.machine_networks import Sizes, Weights
from wg_server.generator.weights.machine_statistic import MachineStatistic, statistics_of
from wg_server.generator.weights.sensor_network import SensorNetwork
from wg_server.generator.weights.simulators import SIMULATORS

SAMPLES = 16
SAMPLED = (bearing.KIND.name,)
"""Kinds of machine of which samples come beside the mean. Of gears and motors the best ones on raw
inputs are behind the mean on standardised ones, and the best of these hardly ahead of it."""
PACKAGE_LIMIT = 64 << 20
"""Bytes of a generator from data sheets."""
Shipped = Literal["conditioned", "template"]
"""What is made for a kind of machine: networks for a condition, or the template network."""

_FORMAT, _VERSION, _KEY = "weightgate-sheet-generator", 2, "sheet-generator"


@dataclass(frozen=True, slots=True, eq=False)
class KindGenerator:
    """A generator of networks for one kind of machine.

    Attributes:
        model: Trained module.
        ships: Which of the module's networks are made, by the treatment of inputs.
    """

    model: MachineModel
    ships: Mapping[Inputs, Shipped]

    def weights(
        self, figures: Tensor, statistic: MachineStatistic | None, noise: Tensor
    ) -> Iterator[tuple[str, Inputs, Weights]]:
        """Networks of a machine by name, each with the treatment of its inputs, best first.

        Args:
            figures: Stated figures, ``[1, f]``.
            statistic: Statistic of its records; None: there is none.
            noise: Noise of the samples, ``[samples, latent]``.
        """
        templates = self.model.kind.templates(figures)
        for treatment in reversed(TREATMENTS):
            if self.ships[treatment] == "template":
                template = self.model.template_for(treatment)(1)
                yield f"{treatment}-template", treatment, template.weights(templates)
                continue
            networks = self.model.made_for(treatment)
            condition = networks.condition(figures, statistics_of(statistic))
            yield f"{treatment}-mean", treatment, networks.networks(condition).weights(templates)
            for number, part in enumerate(noise if self.model.kind.name in SAMPLED else ()):
                latents = networks.sample(condition, part[None])
                sample = networks.networks(condition, latents)
                yield f"{treatment}-{number}", treatment, sample.weights(templates)


@dataclass(frozen=True, slots=True, eq=False)
class SheetGenerator:
    """A trained generator.

    Attributes:
        kinds: Generators by the kind of machine.
        sensors: Networks of soft sensors by the kind of process unit.
    """

    kinds: Mapping[str, KindGenerator]
    sensors: Mapping[str, SensorNetwork] = field(default_factory=dict)

    def takes_statistic(self, sheet: DataSheet) -> bool:
        """Tell whether a statistic changes what is made for the machine of a sheet.

        Raises:
            ConfigError: The machine is of no kind that it knows.
        """
        if sheet.kind in self.sensors:
            return True
        return "conditioned" in self._kind(sheet)[1].ships.values()

    def generate(
        self,
        sheet: DataSheet,
        labels: Sequence[str],
        statistic: MachineStatistic | None = None,
        samples: int = SAMPLES,
        seed: int = 0,
    ) -> tuple[GeneratedCandidate, ...]:
        """Make networks for a machine: at the mean of the latents, and samples of some kinds.

        Args:
            sheet: Data sheet of the machine.
            labels: Class names, in the order of the rows of heads.
            statistic: Statistic of its records; left out where it does not suffice.
            samples: How many to sample for each treatment of inputs.
            seed: Seed of the samples.

        Raises:
            ConfigError: Fewer than two conditions are said by class names, or the machine is unlike
                all that were simulated.
        """
        kind, generator = self._kind(sheet)
        rows = words.network_conditions(kind, labels)
        figures = kind.figures(sheet)
        drawing = torch.Generator().manual_seed(seed)
        noise = torch.randn(samples, generator.model.sizes.latent, generator=drawing)
        with torch.inference_mode():
            return tuple(
                GeneratedCandidate(name, "diffusion", _tensors(weights, rows), treatment)
                for name, treatment, weights in generator.weights(figures, statistic, noise)
            )

    def sensor(self, sheet: DataSheet, statistic: MachineStatistic | None) -> GeneratedCandidate:
        """Make a soft sensor for a process unit, of its sheet and the statistic of its records.

        Raises:
            ConfigError: There is none for such a unit.
        """
        unit = stated_unit(sheet)
        if unit is None or unit.name not in self.sensors:
            raise ConfigError(
                f"data sheet: this generator makes no soft sensor of a {sheet.kind}; train another"
            )
        network, figures = self.sensors[unit.name], unit.figures(sheet)
        with torch.inference_mode():
            tensors = network.tensors(figures, statistics_of(statistic))
        return GeneratedCandidate("sensor", CONDITIONED, tensors, "standardised")

    def _kind(self, sheet: DataSheet) -> tuple[MachineKind, KindGenerator]:
        kind = stated_kind(sheet)
        if kind.name not in self.kinds:
            raise ConfigError(
                f"data sheet: this generator makes networks for {', '.join(self.kinds)}, and not"
                f" for {kind.name}; train another one"
            )
        return kind, self.kinds[kind.name]


def pack(generator: SheetGenerator) -> bytes:
    """The generator's package."""
    models: dict[str, nn.Module] = {name: part.model for name, part in generator.kinds.items()}
    models |= generator.sensors
    tensors = {
        f"{name}.{key}": value
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }
    kinds = {
        name: {"ships": dict(part.ships), "sizes": _sizes(part.model.sizes)}
        for name, part in generator.kinds.items()
    }
    document = {"kinds": kinds, "sensors": list(generator.sensors)}
    return container.pack(tensors, _KEY, {"format": _FORMAT, "version": _VERSION, **document})


def unpack(data: bytes) -> SheetGenerator:
    """Read a package.

    Raises:
        DecodeError: The bytes are no such package of this version.
    """
    tensors, document = container.unpack(
        data, _KEY, form=_FORMAT, version=_VERSION, limit=PACKAGE_LIMIT
    )
    kinds, sensors = {}, {}
    with container.decoding(_KEY):
        for name, about in document["kinds"].items():
            workshop = SIMULATORS[name](0)
            model = MachineModel(workshop.kind, workshop.hidden_size, Sizes(**about["sizes"]))
            model.load_state_dict(container.under(tensors, f"{name}."))
            ships = {
                treatment: _shipping_mode(about["ships"][treatment]) for treatment in TREATMENTS
            }
            kinds[name] = KindGenerator(model.eval(), ships)
        for name in document.get("sensors", []):
            network = SensorNetwork(PROCESS_UNITS[name])
            network.load_state_dict(container.under(tensors, f"{name}."))
            sensors[name] = network.eval()
    return SheetGenerator(kinds, sensors)


def _shipping_mode(word: object) -> Shipped:
    return "template" if word == "template" else "conditioned"


def _sizes(sizes: Sizes) -> dict[str, int]:
    return {field.name: getattr(sizes, field.name) for field in fields(sizes)}


def _tensors(weights: Weights, rows: Sequence[int | None]) -> Tensors:
    """The first of some networks, its head's rows those of the plant's classes."""
    head_weight, head_bias = class_head(weights.head[0], weights.head_bias[0], rows)
    values = {
        "trunk.first.weight": weights.first[0],
        "trunk.first.bias": weights.first_bias[0],
        "trunk.second.weight": weights.second[0],
        "trunk.second.bias": weights.second_bias[0],
        HEAD_WEIGHT: head_weight,
        HEAD_BIAS: head_bias,
    }
    return {name: value.numpy().copy() for name, value in values.items()}
