"""From a verified package to what methods see: each candidate on its trunk, of any architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from wg_client.data.recipient import Recipient
from wg_client.fitting.backbone import Tensors, Trunk, encoder_trunk
from wg_client.fitting.linear_head import head_from_tensors
from wg_client.fitting.standardised import HeadBeside, family_view
from wg_client.methods import network_choice, operator_families
from wg_client.methods.base import Candidate, LabelledRecords, Package, PlantNetwork
from wg_client.methods.operator_families import OfferedFamily
from wg_common import catalogue
from wg_common.catalogue import POSTERIOR
from wg_common.inference import posterior as posteriors
from wg_common.inference.family_head import Layout
from wg_common.inference.posterior import Posterior
from wg_common.modalities.registry import modality
from wg_common.weights_package import WeightsManifest
from wg_core.errors import DecodeError

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.trunk import Records
    from wg_common.nets.family_network import FamilyNetwork


def read_package(
    plant: Recipient, manifest: WeightsManifest, tensors: Mapping[str, Tensors]
) -> tuple[LabelledRecords, Package]:
    """See a verified package through the plant's records.

    Args:
        plant: The plant.
        manifest: The package's manifest, of an architecture that is known here.
        tensors: By candidate and name.

    Raises:
        DecodeError: A candidate's tensors are not those of the architecture.
        ConfigError: The architecture cannot stand on this encoder, or its package is missing.
    """
    encoder = _encoder(plant)
    records = LabelledRecords(
        all_labels=plant.data.labels,
        classes=len(manifest.labels),
        public=encoder,
        units=plant.data.units,
        patterns=modality(plant.data.modality).patterns(plant.data.records),
    )
    read = _networks if catalogue.known(manifest.architecture).is_network else _heads
    return records, read(plant, manifest, tensors, records)


def _heads(
    plant: Recipient,
    manifest: WeightsManifest,
    tensors: Mapping[str, Tensors],
    records: LabelledRecords,
) -> Package:
    """What a package of heads comes to, on the encoder's features or on all that the plant has."""
    from wg_common.nets import tensor_set

    encoder = records.public
    candidates: list[Candidate] = []
    posterior: Posterior | None = None
    families: list[OfferedFamily] = []
    classes = len(manifest.labels)
    for candidate in manifest.candidates:
        name, source, values = candidate.name, candidate.source, tensors[candidate.name]
        try:
            if source == POSTERIOR:
                posterior = posteriors.from_tensors(values, classes, plant.features.dimension)
            elif source in catalogue.FAMILIES:
                arguments = classes, _layout(plant), plant.features
                families.append(operator_families.read(name, source, values, *arguments))
            else:
                columns = plant.features.dimension
                tensor_set.check_tensors(manifest.architecture, values, classes, columns)
                # A head on the encoder ignores features that are not released.
                head = head_from_tensors(values).padded(encoder.features.shape[1])
                candidates.append(Candidate(name, source, encoder, head))
        except DecodeError as error:
            raise DecodeError(f"candidate {name}: {error}") from error
    family = operator_families.chosen(families, plant.data.labels, classes)
    network = None
    if family is not None:
        network = _family_network(plant, family)
        candidates.insert(0, _of_family(plant, family, encoder, network))
    return Package(
        candidates=candidates,
        posterior=posterior,
        others_released=bool(manifest.pool_releases),
        network=network,
    )


def _of_family(
    plant: Recipient, family: OfferedFamily, encoder: Trunk, network: PlantNetwork | None
) -> Candidate:
    """A head of one of the operator's families, with the network that came with it."""
    second = None if network is None else network.head
    features = plant.features
    trunk, head = family_view(
        family.head, features.local, family.layout, encoder, features.dimension, second
    )
    return Candidate(family.name, family.source, trunk, head, family.unlikeness)


def _family_network(plant: Recipient, family: OfferedFamily) -> PlantNetwork | None:
    """The network that came with a family's head; None: none came."""
    from wg_common.nets import family_network
    from wg_common.nets.encoder import package as encoders

    architecture = modality(plant.data.modality).family_network
    try:
        sent = family_network.unpacked(family.network, architecture, len(family.head.bias))
    except DecodeError as error:
        raise DecodeError(f"candidate {family.name}: {error}") from error
    settings = encoders.unpack(plant.encoder_package).metadata
    return None if sent is None else plant_network(sent, plant.data.records, settings)


def plant_network(
    sent: FamilyNetwork, records: Records, settings: Mapping[str, str]
) -> PlantNetwork:
    """The network of a family, standardised by a plant's records.

    Args:
        records: All of the plant's.
        settings: Of the encoder's trunk.
    """
    from wg_common.nets.family_network import TrunkBeside

    standardised = sent.at(records, settings)
    module = TrunkBeside(sent.architecture, standardised.trunk, settings)
    features = module.features(records)
    head = HeadBeside(standardised.head, features)
    return PlantNetwork(sent.architecture, standardised.trunk, module, features, head)


def _networks(
    plant: Recipient,
    manifest: WeightsManifest,
    tensors: Mapping[str, Tensors],
    records: LabelledRecords,
) -> Package:
    """What a package of networks comes to: the one that the plant takes, beside the encoder."""
    from wg_common.nets import network, tensor_set

    architecture, classes = manifest.architecture, len(manifest.labels)
    batch = network.prepared(architecture, plant.data.records)
    networks = []
    for candidate in manifest.candidates:
        values = tensors[candidate.name]
        try:
            if candidate.source == POSTERIOR or candidate.source in catalogue.FAMILIES:
                raise DecodeError(f"of source {candidate.source!r}, which is no network's")
            tensor_set.check_tensors(architecture, values, classes, plant.features.dimension)
        except DecodeError as error:
            raise DecodeError(f"candidate {candidate.name}: {error}") from error
        features = network.features(network.load_trunk(architecture, values), batch)
        trunk = Trunk(features.astype(np.float64))
        networks.append(
            Candidate(candidate.name, candidate.source, trunk, head_from_tensors(values))
        )
    number, chosen = network_choice.choose(networks, records, records.public)
    values = network.trunk_only(tensors[chosen.name])
    chosen_network = PlantNetwork(
        architecture,
        values,
        network.RecordTrunk(architecture, values),
        networks[number].trunk.features.astype(np.float32),
    )
    return Package(
        candidates=[chosen],
        others_released=bool(manifest.pool_releases),
        stated=True,  # what a server makes networks for
        network=chosen_network,
    )


def _encoder(plant: Recipient) -> Trunk:
    """The encoder's features of the plant's records."""
    from wg_common.nets.encoder import package as encoders

    features, contents = plant.features, encoders.unpack(plant.encoder_package)
    sizes = contents.local_blocks, contents.trunk_blocks
    return encoder_trunk(features.local, features.dimension, features.scaled, *sizes)


def _layout(plant: Recipient) -> Layout:
    """Local features of the encoder: what heads that travel can stand on."""
    from wg_common.nets.encoder import package as encoders

    blocks = encoders.unpack(plant.encoder_package).local_blocks
    return Layout(plant.features.scaled, blocks)
