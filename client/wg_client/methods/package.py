"""From a verified package to what methods see: each candidate on its trunk, of any architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wg_client.data.recipient import Progress, Recipient
from wg_client.fitting.backbone import Tensors, Trunk, encoder_trunk, network_trunk
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.fitting.standardised import family_view
from wg_client.methods.base import Candidate, LabelledRecords, Package, PlantNetwork
from wg_common import catalogue, streams
from wg_common.catalogue import BASE, POSTERIOR, SAME_FAMILY
from wg_common.inference import family_head
from wg_common.inference import posterior as posteriors
from wg_common.inference.family_head import Layout
from wg_common.inference.hostile_tensors import apart
from wg_common.inference.posterior import Posterior
from wg_common.modalities.registry import modality
from wg_common.streams import Stream
from wg_common.weights_package import WeightsManifest
from wg_core.errors import DecodeError

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_client.fitting.network_tuning import NetworkTuner


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
    reader = _Reader(plant, manifest)
    candidates: list[Candidate] = []
    posterior: Posterior | None = None
    for candidate in manifest.candidates:
        values = tensors[candidate.name]
        try:
            if candidate.source == POSTERIOR:
                classes, columns = len(manifest.labels), plant.features.dimension
                posterior = posteriors.from_tensors(values, classes, columns)
            else:
                candidates.append(reader.read(candidate.name, candidate.source, values))
        except DecodeError as error:
            raise DecodeError(f"candidate {candidate.name}: {error}") from error
    records = LabelledRecords(
        all_labels=plant.data.labels,
        classes=len(manifest.labels),
        public=reader.public(candidates),
        units=plant.data.units,
        tuner=reader.tuner(progress),
        learners=modality(plant.data.modality).learners,
    )
    package = Package(
        candidates=candidates,
        posterior=None if reader.whole else posterior,  # it is of the encoder's features
        own_release=bool(manifest.own_release),
        others_released=bool(manifest.pool_releases),
        stated=reader.whole,  # what a server makes whole networks for
        network=reader.network,
    )
    return records, package


class _Reader:
    """Reads candidates: heads on what the plant has of its records, or whole networks.

    Attributes:
        whole: Whether they are whole networks, each a trunk of its own.
        network: Networks that came with a head of the plant's family; None: none did.
    """

    def __init__(self, plant: Recipient, manifest: WeightsManifest) -> None:
        from wg_common.nets import network
        from wg_common.nets.encoder import package as encoders

        self.whole = catalogue.known(manifest.architecture).whole
        self.network: PlantNetwork | None = None
        self._plant, self._manifest, features = plant, manifest, plant.features
        self._settings = encoders.unpack(plant.encoder_package)
        # Local features of the encoder: what heads that travel can stand on.
        self._layout = Layout(features.scaled, self._settings.local_blocks)
        self._encoder = encoder_trunk(
            features.local, features.dimension, features.scaled, self._layout.blocks
        )
        self._batch = None
        if self.whole:
            self._batch = network.prepared(manifest.architecture, plant.data.records)

    def read(self, name: str, source: str, values: Tensors) -> Candidate:
        """A candidate on its trunk; ``DecodeError`` if its tensors are not the architecture's."""
        from wg_common.nets import tensor_set

        if source == SAME_FAMILY and not self.whole:
            return Candidate(name, source, *self._of_family(values))
        architecture, classes = self._manifest.architecture, len(self._manifest.labels)
        dimension = self._plant.features.dimension
        tensor_set.check_tensors(architecture, values, classes, dimension)
        trunk = self._encoder
        if self._batch is not None:
            trunk = network_trunk(architecture, values, self._batch)
        # A head on the encoder ignores features that are not released.
        head = head_from_tensors(values).padded(trunk.features.shape[1])
        return Candidate(name, source, trunk, head)

    def public(self, candidates: Sequence[Candidate]) -> Trunk:
        """What local-only stands on: the encoder, or the public base that comes with networks."""
        if not self.whole:
            return self._encoder
        for candidate in candidates:
            if candidate.source == BASE:
                return candidate.trunk
        raise DecodeError(
            f"package {self._manifest.package_id[:16]}: no candidate of source {BASE!r}, which"
            " local-only starts from"
        )

    def tuner(self, progress: Progress | None) -> NetworkTuner | None:
        """What fine-tunes whole networks."""
        if self._batch is None:
            return None
        from wg_client.fitting.network_tuning import NetworkTuner

        return NetworkTuner(
            architecture=self._manifest.architecture,
            inputs=self._batch,
            labels=self._plant.data.labels,
            seed=streams.key(Stream.FINE_TUNING)[0],
            progress=progress,
        )

    def _of_family(self, tensors: Tensors) -> tuple[Trunk, LinearHead]:
        """A head of the plant's family, and the networks that came with it."""
        from wg_common.nets import family_network

        head_tensors, further = apart(tensors, family_network.PREFIX)
        data, features, classes = self._plant.data, self._plant.features, len(self._manifest.labels)
        head = family_head.from_tensors(head_tensors, classes, self._layout)
        names = modality(data.modality).family_networks
        if networks := family_network.unpacked(further, names, classes):
            settings = self._settings.metadata
            at_plant = tuple(network.at(data.records, settings) for network in networks)
            module = family_network.TrunkBeside(
                [network.architecture for network in at_plant],
                family_network.trunk_tensors(at_plant),
                settings,
            )
            self.network = PlantNetwork(at_plant, module, module.features(data.records))
        heads = self.network.heads() if networks and self.network else []
        return family_view(
            head, features.local, self._layout, self._encoder, features.dimension, heads
        )
