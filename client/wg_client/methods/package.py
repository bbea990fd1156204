"""Reader that turns a verified package into the candidates that methods use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from wg_client.data.recipient_plant import RecipientPlant
from wg_client.fitting.family_features import FamilyNetworkHead, append_family_logits
from wg_client.fitting.joined_columns import Features, JoinedColumns
from wg_client.fitting.linear_head import head_from_tensors
from wg_client.fitting.trunk_features import TrunkFeatures, scale_encoder_features
from wg_client.methods import network_choice, operator_families
from wg_client.methods.base import DeliveredCandidate, PlantNetwork, PlantRecords, PreparedPackage
from wg_client.methods.operator_families import DeliveredFamily
from wg_common import catalogue
from wg_common.catalogue import POSTERIOR_SOURCE
from wg_common.inference import posterior as posteriors
from wg_common.inference.hostile_tensors import Tensors
from wg_common.inference.posterior import Posterior
from wg_common.modalities.registry import find_modality
from wg_common.weights_package import Candidate as PackedCandidate
from wg_common.weights_package import WeightsManifest
from wg_core.errors import DecodeError
from wg_core.site.reading_config import RECORDS_PER_CHUNK

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.plant_trunk import PlantTrunk
    from wg_common.nets.encoder.trunk import Records
    from wg_common.nets.family_network import FamilyNetwork
    from wg_common.nets.network import Batch


def prepare_package(
    plant: RecipientPlant, manifest: WeightsManifest, candidate_tensors: Mapping[str, Tensors]
) -> tuple[PlantRecords, PreparedPackage]:
    """Prepare a verified package for the plant's records.

    Args:
        plant: The plant.
        manifest: The package's manifest; this program knows all architectures in it.
        candidate_tensors: Tensors by candidate and name.

    Raises:
        DecodeError: A candidate's tensors are not those of its architecture.
        ConfigError: An architecture cannot be used with this encoder, or its software is missing.
    """
    records = build_plant_records(plant)
    reading = _PackageReader(plant, records, manifest.condition.data_sheet)
    for candidate in manifest.candidates:
        try:
            reading.add_candidate(candidate, candidate_tensors[candidate.name])
        except DecodeError as error:
            raise DecodeError(f"candidate {candidate.name}: {error}") from error
    return records, reading.prepared_package(other_sites_released=bool(manifest.pool_releases))


def fit_trunk_and_features(plant: RecipientPlant) -> tuple[PlantTrunk | None, JoinedColumns]:
    """Fit the plant's own trunk, if its modality has one; return it, or None, and local features.

    The local features ``[N, D]`` of all records are the encoder's, followed by the trunk's.
    """
    local, data = plant.features.local_features, plant.data
    if not find_modality(data.modality).fits_plant_trunk or not len(data):
        return None, JoinedColumns((local,))
    from wg_common.nets.encoder.plant_trunk import PlantTrunk
    from wg_common.nets.encoder.projected_trunk import plant_features

    trunk = PlantTrunk.fit(data.records)
    plant_columns = np.empty((len(local), trunk.width), np.float32)
    for start in range(0, len(local), RECORDS_PER_CHUNK):
        part = plant_features(trunk, data.modality, data.records[start : start + RECORDS_PER_CHUNK])
        plant_columns[start : start + RECORDS_PER_CHUNK] = part
    return trunk, JoinedColumns((local, plant_columns))


def build_plant_records(plant: RecipientPlant) -> PlantRecords:
    """Return the plant's records, with features of its encoder and of a trunk fitted on them."""
    trunk, local = fit_trunk_and_features(plant)
    return PlantRecords(
        all_labels=plant.data.labels,
        class_count=len(plant.data.label_names),
        encoder_features=_encoder_trunk_features(plant, trunk, local),
        privacy_units=plant.data.privacy_units,
        repetition_keys=find_modality(plant.data.modality).repetition_keys(plant.data.records),
        plant_trunk=trunk,
        local_features=local,
    )


class _PackageReader:
    """Reader of the candidates of one package."""

    def __init__(self, plant: RecipientPlant, records: PlantRecords, machine_kind: str) -> None:
        self._plant, self._records, self._machine_kind = plant, records, machine_kind
        self._heads: list[DeliveredCandidate] = []
        self._families: list[DeliveredFamily] = []
        self._networks: list[DeliveredCandidate] = []
        self._trunks: dict[str, Tensors] = {}
        self._batches: dict[str, Batch] = {}
        self._posterior: Posterior | None = None
        self._sheet_fit: float | None = None

    def add_candidate(self, candidate: PackedCandidate, tensors: Tensors) -> None:
        """Read one candidate of the package.

        Raises:
            DecodeError: Its tensors, source or inputs do not match its architecture.
        """
        network = catalogue.find_architecture(candidate.architecture).is_network
        if network:
            self._add_network(candidate, tensors)
        elif candidate.inputs != "raw":
            raise DecodeError(f"inputs {candidate.inputs!r} of a head, expected 'raw'")
        else:
            self._add_head(candidate, tensors)

    def _add_head(self, candidate: PackedCandidate, tensors: Tensors) -> None:
        from wg_common.nets import tensor_set

        plant, classes = self._plant, self._records.class_count
        name, source, columns = candidate.name, candidate.source, plant.features.released_width
        if source == POSTERIOR_SOURCE:
            self._posterior = posteriors.posterior_from_tensors(tensors, classes, columns)
        elif source in catalogue.FAMILY_SOURCES:
            arguments = classes, plant.layout, plant.features
            self._families.append(operator_families.read_family(candidate, tensors, *arguments))
        else:
            tensor_set.check_tensors(candidate.architecture, tensors, classes, columns)
            encoder = self._records.encoder_features
            # A head on the encoder ignores features that are not released.
            head = head_from_tensors(tensors).pad_features(encoder.features.shape[1])
            self._heads.append(DeliveredCandidate(name, source, encoder, head))

    def _add_network(self, candidate: PackedCandidate, tensors: Tensors) -> None:
        from wg_client.methods.sheet_fit import TESTED_MACHINE_KINDS, measure_sheet_fit
        from wg_common.nets import network, tensor_set

        architecture, source = candidate.architecture, candidate.source
        if any(before.architecture != architecture for before in self._networks):
            raise DecodeError(f"architecture {architecture!r}, other networks are of another one")
        if source != catalogue.DIFFUSION_SOURCE:
            raise DecodeError(f"of source {source!r}, which is no network's")
        tensor_set.check_tensors(
            architecture, tensors, self._records.class_count, self._plant.features.released_width
        )
        batch = self._batches.get(architecture)
        if batch is None:
            batch = network.prepare_batch(architecture, self._plant.data.records)
            self._batches[architecture] = batch
        if candidate.inputs == "standardised" and not len(batch):
            return  # Without records there is no mean or spread to standardise by
        trunk = network.adapt_trunk(architecture, tensors, candidate.inputs, batch)
        module = network.load_trunk(architecture, trunk)
        features = network.compute_trunk_features(module, batch)
        if not np.isfinite(features).all():
            raise DecodeError("a feature of a record here is not finite")
        is_judge = candidate.inputs == "raw" and self._machine_kind in TESTED_MACHINE_KINDS
        if self._sheet_fit is None and is_judge:
            self._sheet_fit = measure_sheet_fit(
                architecture, module, head_from_tensors(tensors), batch
            )
        self._trunks[candidate.name] = trunk
        self._networks.append(
            DeliveredCandidate(
                candidate.name,
                source,
                TrunkFeatures(features.astype(np.float64)),
                head_from_tensors(tensors),
                architecture=architecture,
                input_scaling=candidate.inputs,
            )
        )

    def prepared_package(self, *, other_sites_released: bool) -> PreparedPackage:
        """Return the prepared package, with the selected family and the selected networks.

        Raises:
            DecodeError: The family's own network cannot be read, or the package has a network for
                the machine as well.
        """
        plant, records, candidates = self._plant, self._records, list(self._heads)
        network = None
        if self._networks:
            of_machine, network = self._chosen_candidate_and_network()
            candidates.insert(0, of_machine)
        family = operator_families.choose_family(
            self._families, plant.data.labels, records.class_count
        )
        if family is not None:
            second_network = _read_family_network(plant, family)
            if second_network is not None and network is not None:
                raise DecodeError(f"candidate {family.name}: a second network beside the encoder")
            second = None if second_network is None else second_network.head
            columns: Features = (
                plant.features.local_features
                if records.local_features is None
                else records.local_features
            )
            dimension = plant.features.released_width
            trunk, head = append_family_logits(
                family.head, columns, family.layout, records.encoder_features, dimension, second
            )
            of_family = DeliveredCandidate(
                family.name, family.source, trunk, head, family.unlikeness
            )
            candidates.insert(0, of_family)
            network = network or second_network
        return PreparedPackage(
            candidates=candidates,
            posterior=self._posterior,
            other_sites_released=other_sites_released,
            made_for_machine=bool(self._networks),
            network=network,
            sheet_fit=self._sheet_fit,
        )

    def _chosen_candidate_and_network(self) -> tuple[DeliveredCandidate, PlantNetwork]:
        """Return the selected networks as one candidate, and as a network beside the encoder."""
        from wg_common.nets import network

        choice = network_choice.choose_networks(
            self._networks, self._records, self._records.encoder_features
        )
        networks = [self._networks[number] for number in choice.indices]
        trunks = [self._trunks[candidate.name] for candidate in networks]
        architecture = networks[0].architecture
        return choice.averaged_candidate, PlantNetwork(
            architecture,
            network.number_trunk_tensors(trunks),
            network.NetworkTrunks(architecture, trunks),
            np.hstack([candidate.trunk.features for candidate in networks]).astype(np.float32),
        )


def _read_family_network(plant: RecipientPlant, family: DeliveredFamily) -> PlantNetwork | None:
    """Read the network that was delivered with a family's head; None if none was delivered."""
    from wg_common.nets import family_network
    from wg_common.nets.encoder import package as encoders

    architecture = find_modality(plant.data.modality).family_network
    try:
        delivered_network = family_network.unpack_network(
            family.network_tensors, architecture, len(family.head.bias)
        )
    except DecodeError as error:
        raise DecodeError(f"candidate {family.name}: {error}") from error
    settings = encoders.unpack_encoder(plant.encoder_package).metadata
    return (
        None
        if delivered_network is None
        else standardise_network(delivered_network, plant.data.records, settings)
    )


def standardise_network(
    network: FamilyNetwork, records: Records, trunk_settings: Mapping[str, str]
) -> PlantNetwork:
    """Standardise a family's network by a plant's records, and compute its features of the records.

    Args:
        records: All of the plant's records.
        trunk_settings: Settings of the encoder's trunk.
    """
    from wg_common.nets.family_network import FamilyTrunk

    site_network = network.adapt_to_site(records, trunk_settings)
    module = FamilyTrunk(network.architecture, site_network.trunk_tensors, trunk_settings)
    features = module.features(records)
    head = FamilyNetworkHead(site_network.head, features)
    return PlantNetwork(network.architecture, site_network.trunk_tensors, module, features, head)


def _encoder_trunk_features(
    plant: RecipientPlant, plant_trunk: PlantTrunk | None, local_features: JoinedColumns
) -> TrunkFeatures:
    """Return the encoder's features, followed by those of the trunk fitted at the plant."""
    from wg_common.nets.encoder import package as encoders

    contents = encoders.unpack_encoder(plant.encoder_package)
    layout = contents.local_block_sizes, contents.trunk_block_counts
    if plant_trunk is not None:
        layout = plant_trunk.extend_layout(*layout)
    return scale_encoder_features(
        local_features, plant.features.released_width, plant.features.scaled_width, *layout
    )
