"""From a verified package to what methods see: each candidate on its trunk, of any architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from wg_client.data.plant import Plant, Progress
from wg_client.fitting.backbone import Tensors, Trunk, encoder_trunk, network_trunk
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.fitting.standardised import family_view
from wg_client.methods.base import Candidate, LabelledRecords, Package, PlantNetwork
from wg_common import catalogue, streams
from wg_common.catalogue import BASE, HEAD_BIAS, POSTERIOR, SAME_FAMILY
from wg_common.inference import family_head
from wg_common.inference import posterior as posteriors
from wg_common.inference.family_head import FamilyHead, Layout
from wg_common.inference.hostile_tensors import apart
from wg_common.inference.posterior import Posterior
from wg_common.modalities.registry import modality
from wg_common.streams import Stream
from wg_common.weights_package import WeightsManifest
from wg_core.errors import DecodeError
from wg_core.site.encoder_names import loudness_of

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_client.fitting.network_tuning import NetworkTuner
    from wg_common.nets.family_network import FamilyNetwork

View = Callable[[Tensors], Trunk]
"""A network's tensors -> its trunk, seen through the plant's records."""


def read_package(
    plant: Plant,
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
    features, architecture = plant.features, manifest.architecture
    layout = _layout(plant)
    rest = features.local.shape[1] - layout.scaled - sum(layout.blocks)
    blocks = (*layout.blocks, *((rest,) if rest else ()))  # a local encoder's is the last
    public = encoder = encoder_trunk(
        features.local, features.dimension, features.scaled, blocks, _loudness(plant, blocks)
    )
    whole = catalogue.known(architecture).whole
    posterior = _checked(plant, manifest, tensors, whole=whole)
    view: View = lambda values: encoder  # noqa: E731 - the other branch needs a function's scope
    tuner: NetworkTuner | None = None
    if whole:
        view, tuner = _whole(architecture, plant, progress)
    network = None if whole else _network(plant, manifest, tensors)
    candidates = _candidates(plant, manifest, tensors, view, encoder, network)
    if whole:
        public = _base(candidates, manifest.package_id)
    records = LabelledRecords(
        all_labels=plant.data.labels,
        classes=len(manifest.labels),
        public=public,
        units=plant.data.units,
        unseen_share=plant.config.acceptance.unseen_share,
        tuner=tuner,
        learners=modality(plant.data.modality).learners,
    )
    package = Package(
        candidates=candidates,
        posterior=None if whole else posterior,
        # Networks are made without the plant's class sums where other sites have released.
        own_release=bool(manifest.own_release) and not (whole and manifest.memory_releases),
        others_released=bool(manifest.memory_releases),
        encoder=encoder if whole else None,
        network=network,
    )
    return records, package


def _checked(
    plant: Plant, manifest: WeightsManifest, tensors: Mapping[str, Tensors], *, whole: bool
) -> Posterior | None:
    """Refuse tensors that are not of the architecture; the posterior, if there is one."""
    from wg_common.nets import family_network, tensor_set

    features, classes = plant.features, len(manifest.labels)
    posterior: Posterior | None = None
    for candidate in manifest.candidates:
        columns, values = features.dimension, tensors[candidate.name]
        try:
            if candidate.source == POSTERIOR:
                posterior = posteriors.from_tensors(values, classes, columns)
                continue
            if candidate.source == SAME_FAMILY and not whole:
                _family_head(plant, values, classes)
                continue
            if whole:
                values, site = apart(values, family_head.SITE)
                if site:
                    family_network.head_from_tensors(site, manifest.architecture, classes)
            tensor_set.check_tensors(manifest.architecture, values, classes, columns)
        except DecodeError as error:
            raise DecodeError(f"candidate {candidate.name}: {error}") from error
    return posterior


def _candidates(
    plant: Plant,
    manifest: WeightsManifest,
    tensors: Mapping[str, Tensors],
    view: View,
    encoder: Trunk,
    network: PlantNetwork | None,
) -> list[Candidate]:
    """Each candidate on its trunk; a head of the plant's family beside the encoder's features."""
    features, layout, found = plant.features, _layout(plant), []
    whole = catalogue.known(manifest.architecture).whole
    for c in manifest.candidates:
        own = tensors[c.name]
        if c.source == SAME_FAMILY and not whole:
            family, _ = _family_head(plant, own, len(manifest.labels))
            beside = [] if network is None else network.heads()
            seen = family_view(family, features.local, layout, encoder, features.dimension, beside)
            found.append(Candidate(c.name, c.source, *seen))
        elif c.source != POSTERIOR:
            found.append(network_candidate(manifest.architecture, c.name, c.source, own, view(own)))
    return found


def _family_head(
    plant: Plant, tensors: Tensors, classes: int
) -> tuple[FamilyHead, tuple[FamilyNetwork, ...]]:
    """A head of the plant's family, and the networks that came with it."""
    from wg_common.nets import family_network

    own, further = apart(tensors, family_network.PREFIX)
    head = family_head.from_tensors(own, classes, _layout(plant))
    wanted = modality(plant.data.modality).family_networks
    return head, family_network.unpacked(further, wanted, classes)


def _network(
    plant: Plant, manifest: WeightsManifest, tensors: Mapping[str, Tensors]
) -> PlantNetwork | None:
    """The networks of the plant's family, seen through the plant's records."""
    from wg_common.nets.encoder import package as encoders
    from wg_common.nets.family_network import TrunkBeside, trunk_tensors

    for c in manifest.candidates:
        if c.source == SAME_FAMILY:
            _, found = _family_head(plant, tensors[c.name], len(manifest.labels))
            if found:
                _, settings = encoders.unpack(plant.encoder_package)
                own = tuple(each.at(plant.data.records, settings) for each in found)
                names = [each.architecture for each in own]
                module = TrunkBeside(names, trunk_tensors(own), settings)
                return PlantNetwork(own, module, module.features(plant.data.records))
    return None


def _loudness(plant: Plant, blocks: Sequence[int]) -> tuple[float, ...]:
    """Of each block; the last is that of the plant's local encoder, if it has one."""
    local = plant.local_encoder
    usual = (1.0,) * len(blocks)
    return usual if local is None else (*usual[:-1], loudness_of(local.name))


def _layout(plant: Plant) -> Layout:
    """Local features of the shared encoder: what heads that travel can stand on."""
    from wg_common.nets.encoder.trunk import trunk_of

    return Layout(plant.features.scaled, trunk_of(plant.data.modality).local_blocks)


def _whole(architecture: str, plant: Plant, progress: Progress | None) -> tuple[View, NetworkTuner]:
    from wg_client.fitting.network_tuning import NetworkTuner
    from wg_common.nets import network
    from wg_common.nets.encoder.module import load_encoder

    encoder = load_encoder(plant.encoder_package) if network.on_encoder(architecture) else None
    batch = network.prepared(architecture, plant.data.records)
    tuner = NetworkTuner(
        architecture=architecture,
        inputs=batch,
        labels=plant.data.labels,
        seed=streams.NUMBERS[Stream.FINE_TUNING],
        progress=progress,
    )

    def view(values: Tensors) -> Trunk:
        return network_trunk(architecture, network.complete(architecture, values, encoder), batch)

    return view, tuner


def _base(candidates: list[Candidate], package_id: str) -> Trunk:
    for candidate in candidates:
        if candidate.source == BASE:
            return candidate.trunk
    raise DecodeError(
        f"package {package_id[:16]}: no candidate of source {BASE!r}, which local-only starts from"
    )


def network_candidate(
    architecture: str, name: str, source: str, tensors: Tensors, trunk: Trunk
) -> Candidate:
    """A whole network on its trunk; a family's head is for a plant that standardises by records.

    Args:
        tensors: Which ``tensor_set`` and ``family_head`` have accepted.
    """
    from wg_common.nets import family_network

    own, site = apart(tensors, family_head.SITE)
    if not site:
        return _candidate(name, source, own, trunk)
    head = family_network.head_from_tensors(site, architecture, len(own[HEAD_BIAS]))
    layout = Layout(trunk.features.shape[1], ())
    return Candidate(name, source, trunk, LinearHead(*head.at(trunk.features, layout)))


def _candidate(name: str, source: str, tensors: Tensors, trunk: Trunk) -> Candidate:
    """A candidate on its trunk; a head on the encoder ignores features that are not released."""
    head = head_from_tensors(tensors).padded(trunk.features.shape[1])
    return Candidate(name, source, trunk, head)
