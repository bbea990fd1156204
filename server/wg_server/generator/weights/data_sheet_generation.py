"""Generation of networks for one machine from its data sheet and its released statistic.

The plant names the classes, and only names that describe a condition of the simulator get weights
of their own. Classes with the same condition share its probability. If the model card of a kind of
machine found the template network as good for a scaling of inputs, the template network is
generated for that scaling.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import torch
from torch import Tensor, nn

from wg_common.catalogue import (
    HEAD_BIAS_TENSOR,
    HEAD_WEIGHT_TENSOR,
    SOFT_SENSOR_SOURCE,
    InputScaling,
)
from wg_common.machines import bearing, condition_words
from wg_common.machines.base import MachineKind
from wg_common.machines.registry import PROCESS_UNITS, declared_machine_kind, declared_process_unit
from wg_core.errors import ConfigError
from wg_core.wire.data_sheet import DataSheet
from wg_server.generator import tensor_file
from wg_server.generator.weights.candidates import GeneratedCandidate, NumpyTensors
from wg_server.generator.weights.class_head import head_for_classes
from wg_server.generator.weights.machine_model import INPUT_SCALINGS, MachineModel
from wg_server.generator.weights.machine_networks import NetworkSizes, NetworkWeights
from wg_server.generator.weights.machine_statistic import MachineStatistic, batch_of_one
from wg_server.generator.weights.sensor_network import SensorNetwork
from wg_server.generator.weights.simulators import SIMULATORS

SAMPLE_COUNT = 16
SAMPLED_KINDS = (bearing.MACHINE_KIND.name,)
"""Kinds of machine that get sampled networks beside the one with a latent of 0 ("mean"). For gears
and motors, the best sample on raw inputs is worse than the mean on standardised inputs, and the
best sample on standardised inputs is hardly better."""
PACKAGE_LIMIT = 64 << 20
"""Largest size of a package of networks from data sheets, in bytes."""
ShippedNetworkKind = Literal["conditioned", "template"]
"""Kind of network that ships for a kind of machine and scaling: conditioned, or the template."""

_FORMAT, _VERSION, _KEY = "weightgate-sheet-generator", 2, "sheet-generator"


@dataclass(frozen=True, slots=True, eq=False)
class MachineKindGenerator:
    """Generator of networks for one kind of machine.

    Attributes:
        model: Trained model of the kind.
        shipped_kinds: Kind of network that is generated, by the scaling of inputs.
    """

    model: MachineModel
    shipped_kinds: Mapping[InputScaling, ShippedNetworkKind]

    def generate_weights(
        self, figures: Tensor, statistic: MachineStatistic | None, noise: Tensor
    ) -> Iterator[tuple[str, InputScaling, NetworkWeights]]:
        """Yield (name, scaling of inputs, weights) of networks for one machine, best first.

        Args:
            figures: Declared figures, ``[1, f]``.
            statistic: Statistic of the machine's records, or None.
            noise: Standard normal noise from which latents are sampled, ``[samples, latent]``.
        """
        templates = self.model.kind.line_templates(figures)
        for scaling in reversed(INPUT_SCALINGS):
            if self.shipped_kinds[scaling] == "template":
                template = self.model.template_network_for(scaling)(1)
                yield f"{scaling}-template", scaling, template.weights_over_inputs(templates)
                continue
            networks = self.model.conditioned_networks_for(scaling)
            condition = networks.embed_condition(figures, batch_of_one(statistic))
            yield (
                f"{scaling}-mean",
                scaling,
                networks.decode_networks(condition).weights_over_inputs(templates),
            )
            for number, part in enumerate(noise if self.model.kind.name in SAMPLED_KINDS else ()):
                latents = networks.sample_latents(condition, part[None])
                sample = networks.decode_networks(condition, latents)
                yield f"{scaling}-{number}", scaling, sample.weights_over_inputs(templates)


@dataclass(frozen=True, slots=True, eq=False)
class DataSheetGenerator:
    """Generator of networks and soft sensors from data sheets, for all trained kinds.

    Attributes:
        machine_generators: Generators by the kind of machine.
        sensor_networks: Soft sensor networks by the kind of process unit.
    """

    machine_generators: Mapping[str, MachineKindGenerator]
    sensor_networks: Mapping[str, SensorNetwork] = field(default_factory=dict)

    def uses_statistic(self, sheet: DataSheet) -> bool:
        """Return True if a plant's statistic changes the networks for its data sheet.

        Raises:
            ConfigError: The machine's kind is unknown to the generator.
        """
        if sheet.kind in self.sensor_networks:
            return True
        return "conditioned" in self._kind_and_generator(sheet)[1].shipped_kinds.values()

    def generate_networks(
        self,
        sheet: DataSheet,
        labels: Sequence[str],
        statistic: MachineStatistic | None = None,
        sample_count: int = SAMPLE_COUNT,
        seed: int = 0,
    ) -> tuple[GeneratedCandidate, ...]:
        """Return candidate networks for a machine, best first; some kinds get sampled ones, too.

        Args:
            sheet: Data sheet of the machine.
            labels: Class names, in the order of the heads' rows.
            statistic: Statistic of the machine's records; ignored if it is of too few records.
            sample_count: Number of samples for each scaling of inputs.
            seed: Seed of the samples.

        Raises:
            ConfigError: The class names describe fewer than two conditions, or the machine is
                outside the range of the simulation.
        """
        kind, generator = self._kind_and_generator(sheet)
        rows = condition_words.require_two_conditions(kind, labels)
        figures = kind.read_figures(sheet)
        drawing = torch.Generator().manual_seed(seed)
        noise = torch.randn(sample_count, generator.model.sizes.latent, generator=drawing)
        with torch.inference_mode():
            return tuple(
                GeneratedCandidate(name, "diffusion", _candidate_tensors(weights, rows), scaling)
                for name, scaling, weights in generator.generate_weights(figures, statistic, noise)
            )

    def generate_soft_sensor(
        self, sheet: DataSheet, statistic: MachineStatistic | None
    ) -> GeneratedCandidate:
        """Return a soft sensor for a process unit, made from its data sheet and statistic.

        Raises:
            ConfigError: The generator has no soft sensor for this kind of unit.
        """
        unit = declared_process_unit(sheet)
        if unit is None or unit.name not in self.sensor_networks:
            raise ConfigError(
                f"data sheet: this generator makes no soft sensor of a {sheet.kind}; train another"
            )
        network, figures = self.sensor_networks[unit.name], unit.read_figures(sheet)
        with torch.inference_mode():
            tensors = network.package_tensors(figures, batch_of_one(statistic))
        return GeneratedCandidate("sensor", SOFT_SENSOR_SOURCE, tensors, "standardised")

    def _kind_and_generator(self, sheet: DataSheet) -> tuple[MachineKind, MachineKindGenerator]:
        kind = declared_machine_kind(sheet)
        if kind.name not in self.machine_generators:
            raise ConfigError(
                "data sheet: this generator makes networks for"
                f" {', '.join(self.machine_generators)}, and not for {kind.name}; train another one"
            )
        return kind, self.machine_generators[kind.name]


def pack_sheet_generator(generator: DataSheetGenerator) -> bytes:
    """Encode a generator of networks from data sheets as a safetensors file."""
    models: dict[str, nn.Module] = {
        name: part.model for name, part in generator.machine_generators.items()
    }
    models |= generator.sensor_networks
    tensors = {
        f"{name}.{key}": value
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }
    kinds = {
        name: {"ships": dict(part.shipped_kinds), "sizes": _size_document(part.model.sizes)}
        for name, part in generator.machine_generators.items()
    }
    document = {"kinds": kinds, "sensors": list(generator.sensor_networks)}
    return tensor_file.pack_tensors(
        tensors, _KEY, {"format": _FORMAT, "version": _VERSION, **document}
    )


def unpack_sheet_generator(data: bytes) -> DataSheetGenerator:
    """Decode a generator of networks from data sheets.

    Raises:
        DecodeError: The bytes are not such a file of this version, or are inconsistent.
    """
    tensors, document = tensor_file.unpack_tensors(
        data, _KEY, format_name=_FORMAT, version=_VERSION, limit_bytes=PACKAGE_LIMIT
    )
    kinds, sensors = {}, {}
    with tensor_file.convert_decode_errors(_KEY):
        for name, about in document["kinds"].items():
            simulator = SIMULATORS[name](0)
            model = MachineModel(
                simulator.kind, simulator.hidden_figure_count, NetworkSizes(**about["sizes"])
            )
            model.load_state_dict(tensor_file.select_tensors(tensors, f"{name}."))
            ships = {
                scaling: _parse_network_kind(about["ships"][scaling]) for scaling in INPUT_SCALINGS
            }
            kinds[name] = MachineKindGenerator(model.eval(), ships)
        for name in document.get("sensors", []):
            network = SensorNetwork(PROCESS_UNITS[name])
            network.load_state_dict(tensor_file.select_tensors(tensors, f"{name}."))
            sensors[name] = network.eval()
    return DataSheetGenerator(kinds, sensors)


def _parse_network_kind(value: object) -> ShippedNetworkKind:
    return "template" if value == "template" else "conditioned"


def _size_document(sizes: NetworkSizes) -> dict[str, int]:
    return {field.name: getattr(sizes, field.name) for field in fields(sizes)}


def _candidate_tensors(weights: NetworkWeights, rows: Sequence[int | None]) -> NumpyTensors:
    """Return the tensors of the first network; its head gets one row per class of the plant.

    ``rows`` has the index of the condition that each class describes, or None.
    """
    head_weight, head_bias = head_for_classes(weights.head_weight[0], weights.head_bias[0], rows)
    values = {
        "trunk.first.weight": weights.first_weight[0],
        "trunk.first.bias": weights.first_bias[0],
        "trunk.second.weight": weights.second_weight[0],
        "trunk.second.bias": weights.second_bias[0],
        HEAD_WEIGHT_TENSOR: head_weight,
        HEAD_BIAS_TENSOR: head_bias,
    }
    return {name: value.numpy().copy() for name, value in values.items()}
