"""From a verified package to what methods see: each candidate on its trunk, of any architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from wg_client.data.recipient import Progress, Recipient
from wg_client.fitting.backbone import Tensors, Trunk, encoder_trunk, network_trunk
from wg_client.fitting.linear_head import head_from_tensors
from wg_client.fitting.standardised import family_view
from wg_client.methods import operator_families
from wg_client.methods.base import Candidate, LabelledRecords, Package, PlantNetwork
from wg_client.methods.operator_families import OfferedFamily
from wg_common import catalogue, streams
from wg_common.catalogue import BASE, POSTERIOR
from wg_common.inference import posterior as posteriors
from wg_common.inference.family_head import Layout
from wg_common.inference.posterior import Posterior
from wg_common.modalities.registry import modality
from wg_common.streams import Stream
from wg_common.weights_package import WeightsManifest
from wg_core.errors import DecodeError

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_client.fitting.network_tuning import NetworkTuner
    from wg_common.nets.family_network import FamilyNetwork

View = Callable[[Tensors], Trunk]
"""A network's tensors -> its trunk, seen through the plant's records."""


def read_package(
    plant: Recipient,
    manifest: WeightsManifest,
    tensors: Mapping[str, Tensors],
    progress: Progress | None = None,
) -> tuple[LabelledRecords, Package]:
    """See a verified package through the plant's records.

    Args:
        plant: The plant.
        manifest: The package's manifest, of an architecture that is known here.
        tensors: By candidate and name.
        progress: Told of the fine-tuning of whole networks.

    Raises:
        DecodeError: A candidate's tensors are not those of the architecture, or the base of a whole
            network is missing.
        ConfigError: The architecture cannot stand on this encoder, or its package is missing.
    """
    encoder = _encoder(plant)
    kind = _NetworkReader if catalogue.known(manifest.architecture).whole else _HeadReader
    reader = kind(plant, manifest, encoder, progress)
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
                candidates.append(reader.read(name, source, values))
        except DecodeError as error:
            raise DecodeError(f"candidate {name}: {error}") from error
    family = operator_families.chosen(families, plant.data.labels, classes)
    if family is not None:
        candidates.insert(0, reader.of_family(family))
    records = LabelledRecords(
        all_labels=plant.data.labels,
        classes=len(manifest.labels),
        public=reader.public(candidates),
        units=plant.data.units,
        tuner=reader.tuner,
        learners=modality(plant.data.modality).learners,
    )
    return records, reader.package(candidates, posterior)


class _HeadReader:
    """Reads candidates that are heads on the encoder's features, or on all that the plant has."""

    tuner = None

    def __init__(
        self, plant: Recipient, manifest: WeightsManifest, encoder: Trunk, _: Progress | None
    ) -> None:
        self._plant, self._manifest, self._encoder = plant, manifest, encoder
        self._layout = _layout(plant)
        self._network: PlantNetwork | None = None

    def public(self, _: Sequence[Candidate]) -> Trunk:
        """What local-only stands on: the encoder."""
        return self._encoder

    def package(self, candidates: Sequence[Candidate], posterior: Posterior | None) -> Package:
        """What the candidates come to."""
        return Package(
            candidates=candidates,
            posterior=posterior,
            own_release=bool(self._manifest.own_release),
            others_released=bool(self._manifest.pool_releases),
            network=self._network,
        )

    def read(self, name: str, source: str, values: Tensors) -> Candidate:
        """A candidate on its trunk; ``DecodeError`` if its tensors are not the architecture's."""
        from wg_common.nets import tensor_set

        columns, classes = self._plant.features.dimension, len(self._manifest.labels)
        tensor_set.check_tensors(self._manifest.architecture, values, classes, columns)
        return _candidate(name, source, values, self._encoder)

    def of_family(self, family: OfferedFamily) -> Candidate:
        """A head of one of the operator's families, and the networks that came with it."""
        from wg_common.nets import family_network

        architectures = modality(self._plant.data.modality).family_networks
        rows = len(family.head.bias)
        try:
            networks = family_network.unpacked(family.networks, architectures, rows)
        except DecodeError as error:
            raise DecodeError(f"candidate {family.name}: {error}") from error
        self._network = _network(self._plant, networks) if networks else None
        heads = self._network.heads() if self._network else []
        features, layout = self._plant.features, family.layout
        trunk, head = family_view(
            family.head, features.local, layout, self._encoder, features.dimension, heads
        )
        return Candidate(family.name, family.source, trunk, head, family.unlikeness)


class _NetworkReader:
    """Reads candidates that are whole networks, each a trunk of its own."""

    def __init__(
        self, plant: Recipient, manifest: WeightsManifest, encoder: Trunk, progress: Progress | None
    ) -> None:
        self._dimension, self._manifest, self._encoder = plant.features.dimension, manifest, encoder
        self._view, self.tuner = _whole(manifest.architecture, plant, progress)

    def public(self, candidates: Sequence[Candidate]) -> Trunk:
        """What local-only stands on: the public base, which comes with the package."""
        for candidate in candidates:
            if candidate.source == BASE:
                return candidate.trunk
        raise DecodeError(
            f"package {self._manifest.package_id[:16]}: no candidate of source {BASE!r}, which"
            " local-only starts from"
        )

    def package(self, candidates: Sequence[Candidate], _: Posterior | None) -> Package:
        """What the candidates come to; a posterior is of the encoder's features, and of no use."""
        return Package(
            candidates=candidates,
            own_release=bool(self._manifest.own_release),
            others_released=bool(self._manifest.pool_releases),
            stated=True,  # what a server makes whole networks for
            encoder=self._encoder,
        )

    def of_family(self, family: OfferedFamily) -> Candidate:
        """Heads of families stand on the encoder."""
        raise DecodeError(f"candidate {family.name}: {family.source} in a package of networks")

    def read(self, name: str, source: str, values: Tensors) -> Candidate:
        """A candidate on its trunk; ``DecodeError`` if its tensors are not the architecture's."""
        from wg_common.nets import tensor_set

        architecture, classes = self._manifest.architecture, len(self._manifest.labels)
        tensor_set.check_tensors(architecture, values, classes, self._dimension)
        return _candidate(name, source, values, self._view(values))


def _network(plant: Recipient, networks: Sequence[FamilyNetwork]) -> PlantNetwork:
    """The networks of the plant's family, seen through the plant's records."""
    from wg_common.nets.encoder import package as encoders
    from wg_common.nets.family_network import TrunkBeside, trunk_tensors

    settings = encoders.unpack(plant.encoder_package).metadata
    plant_networks = tuple(network.at(plant.data.records, settings) for network in networks)
    module = TrunkBeside(
        [network.architecture for network in plant_networks],
        trunk_tensors(plant_networks),
        settings,
    )
    return PlantNetwork(plant_networks, module, module.features(plant.data.records))


def _encoder(plant: Recipient) -> Trunk:
    """The encoder's features of the plant's records."""
    features, layout = plant.features, _layout(plant)
    return encoder_trunk(features.local, features.dimension, features.scaled, layout.blocks)


def _layout(plant: Recipient) -> Layout:
    """Local features of the encoder: what heads that travel can stand on."""
    from wg_common.nets.encoder import package as encoders

    blocks = encoders.unpack(plant.encoder_package).local_blocks
    return Layout(plant.features.scaled, blocks)


def _whole(
    architecture: str, plant: Recipient, progress: Progress | None
) -> tuple[View, NetworkTuner]:
    from wg_client.fitting.network_tuning import NetworkTuner
    from wg_common.nets import network

    batch = network.prepared(architecture, plant.data.records)
    tuner = NetworkTuner(
        architecture=architecture,
        inputs=batch,
        labels=plant.data.labels,
        seed=streams.key(Stream.FINE_TUNING)[0],
        progress=progress,
    )

    def view(values: Tensors) -> Trunk:
        return network_trunk(architecture, values, batch)

    return view, tuner


def _candidate(name: str, source: str, tensors: Tensors, trunk: Trunk) -> Candidate:
    """A candidate on its trunk; a head on the encoder ignores features that are not released."""
    head = head_from_tensors(tensors).padded(trunk.features.shape[1])
    return Candidate(name, source, trunk, head)
