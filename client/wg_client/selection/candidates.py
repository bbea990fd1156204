"""From a verified package to the contest: each candidate on its trunk, of any architecture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from wg_client.data import plant as plants
from wg_client.data.plant import Plant, Progress
from wg_client.fitting.backbone import Tensors, Trunk, encoder_trunk, network_trunk
from wg_client.fitting.linear_head import head_from_tensors
from wg_client.selection import compare
from wg_client.selection.compare import Outcome
from wg_client.selection.entrants import Offer, Tuner
from wg_common import catalogue, streams
from wg_common.catalogue import BASE, POSTERIOR, SAME_FAMILY
from wg_common.errors import DecodeError
from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import Posterior
from wg_common.privacy import centring
from wg_common.privacy.mechanism import sigma_for
from wg_common.streams import Stream
from wg_common.wire.weights_package import WeightsManifest

View = Callable[[Tensors], Trunk]
"""A network's tensors -> its trunk, seen through the plant's records."""


def hold_contest(
    plant: Plant,
    package: WeightsManifest,
    tensors: Mapping[str, Tensors],
    progress: Progress | None = None,
) -> Outcome:
    """Hold the contest of a verified package.

    Args:
        plant: The plant.
        package: The package's manifest, of an architecture that is known here.
        tensors: By candidate and name.
        progress: Told of the fine-tuning of whole networks.

    Raises:
        DecodeError: A candidate's tensors are not those of the architecture, or the base of a whole
            network is missing.
        NotAcceptedError: No record is labelled, and the policy keeps nothing unchecked.
        ConfigError: The architecture cannot stand on this encoder, or its package is missing.
    """
    from wg_common.nets import assembly  # torch: seconds to import, only when needed

    features = plant.features
    encoder = encoder_trunk(features.local, features.dimension, features.scaled)
    classes, dimension = len(package.labels), features.dimension
    sources = {candidate.name: candidate.source for candidate in package.candidates}
    posterior: Posterior | None = None
    whole = catalogue.known(package.architecture).whole
    for name, values in tensors.items():
        try:
            if sources[name] == POSTERIOR:
                posterior = posteriors.from_tensors(values, classes, dimension)
                continue
            columns = dimension
            if sources[name] == SAME_FAMILY:
                columns = features.local.shape[1]
                if whole or features.scaled < columns:
                    raise DecodeError(
                        f"source {SAME_FAMILY!r} is of heads that all plants can stand on"
                    )
            assembly.check_tensors(package.architecture, values, classes, columns)
        except DecodeError as error:
            raise DecodeError(f"candidate {name}: {error}") from error
    view: View = lambda values: encoder  # noqa: E731 - the other branch needs a function's scope
    tuner: Tuner | None = None
    if whole:
        view, tuner = _whole(package.architecture, plant, progress)
    offers = [
        _offer(candidate.name, candidate.source, tensors[candidate.name], view)
        for candidate in package.candidates
        if candidate.source != POSTERIOR
    ]
    public = encoder
    if whole:
        base = next((offer for offer in offers if offer.source == BASE), None)
        if base is None:
            raise DecodeError(
                f"package {package.package_id[:16]}: no candidate of source {BASE!r}, which"
                " local-only starts from"
            )
        public = base.trunk
    random = assembly.initial_tensors(
        package.architecture, classes, dimension, streams.rng(Stream.RANDOM_START)
    )
    return compare.hold(
        public,
        plant.data.labels,
        plant.data.units,
        offers,
        _offer("", "", random, view),
        plant.config.acceptance,
        tuner,
        posterior=None if whole else posterior,
        noise=_least_noise(plant) if package.own_release else math.inf,
        others=bool(package.memory_releases),
        encoder=encoder if whole else None,
    )


def _least_noise(plant: Plant) -> float:
    """The least noise that the policy allows on an entry of a class sum, feature units.

    With sums about the exact mean of the records, near which released centres are.
    """
    privacy = plant.config.privacy
    schema = plants.statistics_schema(plant)
    sigma = sigma_for(schema, float(privacy.max_request_epsilon), float(privacy.max_request_delta))
    about = centring.of_release(schema, plant.snapshot.statistics(), 0.0)
    return sigma * schema.radius / (about.weight * schema.grid) if about.weight else 0.0


def _whole(architecture: str, plant: Plant, progress: Progress | None) -> tuple[View, Tuner]:
    from wg_client.fitting.network_tuning import Tuner as NetworkTuner
    from wg_common.nets import network as whole
    from wg_common.nets.encoder.module import load_encoder

    encoder = load_encoder(plant.encoder_package) if whole.on_encoder(architecture) else None
    batch = whole.prepared(architecture, plant.data.records)
    tuner = NetworkTuner(
        architecture=architecture,
        inputs=batch,
        labels=plant.data.labels,
        seed=streams.NUMBERS[Stream.FINE_TUNING],
        progress=progress,
    )

    def view(values: Tensors) -> Trunk:
        return network_trunk(architecture, whole.complete(architecture, values, encoder), batch)

    return view, tuner


def _offer(name: str, source: str, tensors: Tensors, view: View) -> Offer:
    """A candidate on its trunk; a head on the encoder ignores features that are not released."""
    trunk = view(tensors)
    return Offer(name, source, trunk, head_from_tensors(tensors).padded(trunk.features.shape[1]))
