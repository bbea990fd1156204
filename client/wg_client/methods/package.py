"""Reader that turns a verified package into the candidates that methods use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from wg_client.data.recipient import Recipient
from wg_client.fitting.backbone import Tensors, Trunk, encoder_trunk
from wg_client.fitting.linear_head import head_from_tensors
from wg_client.fitting.side_by_side import Features, SideBySide
from wg_client.fitting.standardised import HeadBeside, family_view
from wg_client.methods import network_choice, operator_families
from wg_client.methods.base import Candidate, LabelledRecords, Package, PlantNetwork
from wg_client.methods.operator_families import OfferedFamily
from wg_common import catalogue
from wg_common.catalogue import POSTERIOR
from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import Posterior
from wg_common.modalities.registry import modality
from wg_common.weights_package import Candidate as PackedCandidate
from wg_common.weights_package import WeightsManifest
from wg_core.errors import DecodeError

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.plant_trunk import PlantTrunk
    from wg_common.nets.encoder.trunk import Records
    from wg_common.nets.family_network import FamilyNetwork
    from wg_common.nets.network import Batch

_AT_ONCE = 64  # Decoded records in memory at a time


def read_package(
    plant: Recipient, manifest: WeightsManifest, tensors: Mapping[str, Tensors]
) -> tuple[LabelledRecords, Package]:
    """Prepare a verified package for the plant's records.

    Args:
        plant: The plant.
        manifest: The package's manifest; all its architectures are known here.
        tensors: Tensors by candidate and name.

    Raises:
        DecodeError: A candidate's tensors are not those of its architecture.
        ConfigError: An architecture cannot be used with this encoder, or its package is missing.
    """
    records = plant_records(plant)
    reading = _Reading(plant, records, manifest.condition.data_sheet)
    for candidate in manifest.candidates:
        try:
            reading.add(candidate, tensors[candidate.name])
        except DecodeError as error:
            raise DecodeError(f"candidate {candidate.name}: {error}") from error
    return records, reading.package(others_released=bool(manifest.pool_releases))


def at_plant(plant: Recipient) -> tuple[PlantTrunk | None, SideBySide]:
    """Fit the plant trunk, and return it with the local features that include its features."""
    local, data = plant.features.local, plant.data
    if not modality(data.modality).plant_trunk or not len(data):
        return None, SideBySide((local,))
    from wg_common.nets.encoder.module import plant_features
    from wg_common.nets.encoder.plant_trunk import PlantTrunk

    trunk = PlantTrunk.fit(data.records)
    plant_columns = np.empty((len(local), trunk.width), np.float32)
    for start in range(0, len(local), _AT_ONCE):
        part = plant_features(trunk, data.modality, data.records[start : start + _AT_ONCE])
        plant_columns[start : start + _AT_ONCE] = part
    return trunk, SideBySide((local, plant_columns))


def plant_records(plant: Recipient) -> LabelledRecords:
    """Return the plant's records on its encoder and the trunk fitted at the plant."""
    trunk, local = at_plant(plant)
    return LabelledRecords(
        all_labels=plant.data.labels,
        classes=len(plant.data.label_names),
        public=_encoder(plant, trunk, local),
        units=plant.data.units,
        patterns=modality(plant.data.modality).patterns(plant.data.records),
        plant_trunk=trunk,
        columns=local,
    )


class _Reading:
    """Reader of the candidates of one package."""

    def __init__(self, plant: Recipient, records: LabelledRecords, machine_kind: str) -> None:
        self._plant, self._records, self._machine_kind = plant, records, machine_kind
        self._heads: list[Candidate] = []
        self._families: list[OfferedFamily] = []
        self._networks: list[Candidate] = []
        self._trunks: dict[str, Tensors] = {}
        self._batches: dict[str, Batch] = {}
        self._posterior: Posterior | None = None
        self._sheet_fit: float | None = None

    def add(self, candidate: PackedCandidate, tensors: Tensors) -> None:
        """Read one candidate.

        Raises:
            DecodeError: Its tensors, source or inputs do not match its architecture.
        """
        network = catalogue.architecture_of(candidate.architecture).is_network
        if network:
            self._add_network(candidate, tensors)
        elif candidate.inputs != "raw":
            raise DecodeError(f"inputs {candidate.inputs!r} of a head, expected 'raw'")
        else:
            self._add_head(candidate, tensors)

    def _add_head(self, candidate: PackedCandidate, tensors: Tensors) -> None:
        from wg_common.nets import tensor_set

        plant, classes = self._plant, self._records.classes
        name, source, columns = candidate.name, candidate.source, plant.features.dimension
        if source == POSTERIOR:
            self._posterior = posteriors.from_tensors(tensors, classes, columns)
        elif source in catalogue.FAMILIES:
            arguments = classes, plant.layout, plant.features
            self._families.append(operator_families.read(candidate, tensors, *arguments))
        else:
            tensor_set.check_tensors(candidate.architecture, tensors, classes, columns)
            encoder = self._records.public
            # A head on the encoder ignores features that are not released.
            head = head_from_tensors(tensors).pad_features(encoder.features.shape[1])
            self._heads.append(Candidate(name, source, encoder, head))

    def _add_network(self, candidate: PackedCandidate, tensors: Tensors) -> None:
        from wg_client.methods.sheet_fit import KINDS, sheet_fit
        from wg_common.nets import network, tensor_set

        architecture, source = candidate.architecture, candidate.source
        if any(before.architecture != architecture for before in self._networks):
            raise DecodeError(f"architecture {architecture!r}, other networks are of another one")
        if source != catalogue.DIFFUSION:
            raise DecodeError(f"of source {source!r}, which is no network's")
        tensor_set.check_tensors(
            architecture, tensors, self._records.classes, self._plant.features.dimension
        )
        batch = self._batches.get(architecture)
        if batch is None:
            batch = network.prepare_batch(architecture, self._plant.data.records)
            self._batches[architecture] = batch
        if candidate.inputs == "standardised" and not len(batch):
            return  # Without records there is no mean or spread to standardise by
        trunk = network.trunk_at(architecture, tensors, candidate.inputs, batch)
        module = network.load_trunk(architecture, trunk)
        features = network.features(module, batch)
        if not np.isfinite(features).all():
            raise DecodeError("a feature of a record here is not finite")
        is_judge = candidate.inputs == "raw" and self._machine_kind in KINDS
        if self._sheet_fit is None and is_judge:
            self._sheet_fit = sheet_fit(architecture, module, head_from_tensors(tensors), batch)
        self._trunks[candidate.name] = trunk
        self._networks.append(
            Candidate(
                candidate.name,
                source,
                Trunk(features.astype(np.float64)),
                head_from_tensors(tensors),
                architecture=architecture,
                inputs=candidate.inputs,
            )
        )

    def package(self, *, others_released: bool) -> Package:
        """Return the package with the selected family and the selected networks.

        Raises:
            DecodeError: The family's own network is not readable, or there is another network
                already.
        """
        plant, records, candidates = self._plant, self._records, list(self._heads)
        network = None
        if self._networks:
            of_machine, network = self._chosen_network()
            candidates.insert(0, of_machine)
        family = operator_families.choose_family(self._families, plant.data.labels, records.classes)
        if family is not None:
            second_network = _family_network(plant, family)
            if second_network is not None and network is not None:
                raise DecodeError(f"candidate {family.name}: a second network beside the encoder")
            second = None if second_network is None else second_network.head
            columns: Features = plant.features.local if records.columns is None else records.columns
            dimension = plant.features.dimension
            trunk, head = family_view(
                family.head, columns, family.layout, records.public, dimension, second
            )
            of_family = Candidate(family.name, family.source, trunk, head, family.unlikeness)
            candidates.insert(0, of_family)
            network = network or second_network
        return Package(
            candidates=candidates,
            posterior=self._posterior,
            others_released=others_released,
            stated=bool(self._networks),
            network=network,
            sheet_fit=self._sheet_fit,
        )

    def _chosen_network(self) -> tuple[Candidate, PlantNetwork]:
        """Return the selected networks, as a candidate beside the encoder."""
        from wg_common.nets import network

        choice = network_choice.choose(self._networks, self._records, self._records.public)
        networks = [self._networks[number] for number in choice.numbers]
        trunks = [self._trunks[candidate.name] for candidate in networks]
        architecture = networks[0].architecture
        return choice.candidate, PlantNetwork(
            architecture,
            network.with_numbers(trunks),
            network.RecordTrunk(architecture, trunks),
            np.hstack([candidate.trunk.features for candidate in networks]).astype(np.float32),
        )


def _family_network(plant: Recipient, family: OfferedFamily) -> PlantNetwork | None:
    """Read the network that came with a family's head; None if none came."""
    from wg_common.nets import family_network
    from wg_common.nets.encoder import package as encoders

    architecture = modality(plant.data.modality).family_network
    try:
        delivered_network = family_network.unpack_network(
            family.network, architecture, len(family.head.bias)
        )
    except DecodeError as error:
        raise DecodeError(f"candidate {family.name}: {error}") from error
    settings = encoders.unpack(plant.encoder_package).metadata
    return (
        None
        if delivered_network is None
        else plant_network(delivered_network, plant.data.records, settings)
    )


def plant_network(
    network: FamilyNetwork, records: Records, settings: Mapping[str, str]
) -> PlantNetwork:
    """Standardise a family's network by a plant's records.

    Args:
        records: All of the plant's records.
        settings: Settings of the encoder's trunk.
    """
    from wg_common.nets.family_network import FamilyTrunk

    site_network = network.at(records, settings)
    module = FamilyTrunk(network.architecture, site_network.trunk, settings)
    features = module.features(records)
    head = HeadBeside(site_network.head, features)
    return PlantNetwork(network.architecture, site_network.trunk, module, features, head)


def _encoder(plant: Recipient, trunk: PlantTrunk | None, local: SideBySide) -> Trunk:
    """Return the encoder's trunk, with the features of the trunk fitted at the plant."""
    from wg_common.nets.encoder import package as encoders

    contents = encoders.unpack(plant.encoder_package)
    layout = contents.local_blocks, contents.trunk_blocks
    if trunk is not None:
        layout = trunk.layout(*layout)
    return encoder_trunk(local, plant.features.dimension, plant.features.scaled, *layout)
