"""Episodes of whole networks: a simulated plant, its condition, and the network it should get.

The plant is one of the zoo's tasks with a network. Its own entry is never among its neighbours; in
half of the episodes other sites of its family are (the operator has data of this kind of plant), in
the other half no entry of its family is (nobody has seen its like).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.nets import network as whole_networks
from wg_server.generator.simulation.episodes import Episode, Plants, Scenario
from wg_server.generator.weights.decoder import Decoder
from wg_server.generator.weights.neighbours import Found
from wg_server.generator.weights.network_condition import (
    ROW_UNIT,
    FinalWeights,
    NetworkCondition,
    NetworkPriors,
    network_condition,
)
from wg_server.generator.weights.zoo_network import ZooNetwork

QUERIES = 24
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkZoo:
    """One architecture's networks and what is known from them."""

    networks: Sequence[ZooNetwork]
    fitted_priors: NetworkPriors
    decoder: Decoder

    def weighted(self, retrieval_weight: float) -> NetworkZoo:
        """The same, with neighbours of this weight in the prior."""
        fitted_priors = replace(self.fitted_priors, retrieval_weight=retrieval_weight)
        return replace(self, fitted_priors=fitted_priors)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkEpisode:
    """One simulated plant.

    Attributes:
        architecture: Name.
        condition: Of the plant.
        found: Its neighbours.
        plant: The plant as heads see it.
        rows: Target head rows on features less the predicted centre, ``[K, F + 1]``, row units.
        latents: Target latents, ``[P, l]``.
        inputs: Held-out records, q of them, from ``whole.prepared``.
        answers: Their classes, ``[q]``.
        base_features: The base's features of them, ``[q, F]``.
    """

    architecture: str
    condition: NetworkCondition
    found: Found
    plant: Episode
    rows: Array
    latents: Array
    inputs: whole_networks.Batch
    answers: NDArray[np.int64]
    base_features: Array


def draw(
    plants: Plants,
    zoos: Mapping[str, NetworkZoo],
    families: frozenset[str],
    rng: np.random.Generator,
    scenario: Scenario,
    *,
    family_known: bool | None = None,
) -> NetworkEpisode:
    """Draw one episode.

    Args:
        plants: Where plants are drawn from; it keeps the families below.
        zoos: By architecture.
        families: Families that plants may be of.
        rng: Source of everything.
        scenario: What is varied of the releases.
        family_known: Whether the index has networks of the plant's family; None draws.
    """
    names = sorted(zoos)
    architecture = names[int(rng.integers(len(names)))]
    zoo = zoos[architecture]
    mine = [i for i, n in enumerate(zoo.networks) if n.task.family in families]
    number = mine[int(rng.integers(len(mine)))]
    network = zoo.networks[number]
    with_family = bool(rng.random() < 0.5) if family_known is None else family_known
    index = zoo.fitted_priors.index
    without = [
        i
        for i, f in enumerate(index.families)
        if i == number or (not with_family and f == network.task.family)
    ]
    plant = plants.draw(rng, scenario, target=network.task, query_rows=network.held)
    condition, neighbours = network_condition(
        zoo.fitted_priors, plant.condition, plant.estimate, plant.labels, without=without
    )
    rows = network.rows[plant.classes]
    weight = rows[:, :-1] - rows[:, :-1].mean(axis=0)
    bias = rows[:, -1] + weight @ (condition.centre - network.centre)
    place = np.searchsorted(network.held, plant.rows)[:QUERIES]
    unit = zoo.fitted_priors.regression.scale / ROW_UNIT
    return NetworkEpisode(
        architecture=architecture,
        condition=condition,
        found=neighbours,
        plant=plant,
        rows=(np.concatenate([weight, (bias - bias.mean())[:, None]], axis=1) / unit).astype(
            np.float32
        ),
        latents=index.latents[number].astype(np.float32),
        inputs=network.inputs[place],
        answers=plant.answers[:QUERIES],
        base_features=network.base_features[plant.rows[:QUERIES]],
    )


def logits(
    zoo: NetworkZoo, episode: NetworkEpisode, network: FinalWeights, *, on_base: bool = False
) -> Tensor:
    """Logits ``[q, K]`` of a network on an episode's held-out records.

    Args:
        zoo: Of the episode's architecture.
        episode: Its records and predicted centre.
        network: Its rows and trunk.
        on_base: The base's trunk is put under the rows instead.
    """
    unit = zoo.fitted_priors.regression.scale / ROW_UNIT
    rows = network.rows
    if on_base:
        features = torch.from_numpy(episode.base_features)
    else:
        records = torch.from_numpy(episode.inputs)
        features = zoo.decoder.features(network.latents, records, network.residual)
    centred = features - torch.from_numpy(episode.condition.centre)
    return (centred @ rows[:, :-1].T + rows[:, -1]) * unit
