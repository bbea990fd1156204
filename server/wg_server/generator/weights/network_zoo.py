"""The zoo's whole networks, made ready for training: codec, regression and index of each kind."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wg_common import catalogue
from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT
from wg_common.inference.discriminants import centred
from wg_common.nets import network as whole_networks
from wg_server.generator.families import match
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.weights.codec import fit_layer_codec
from wg_server.generator.weights.decoder import Decoder
from wg_server.generator.weights.feature_regression import fit_regression
from wg_server.generator.weights.neighbours import build_index
from wg_server.generator.weights.network_condition import NetworkPriors
from wg_server.generator.weights.network_episodes import NetworkZoo
from wg_server.generator.weights.network_plan import NetworkTraining
from wg_server.generator.weights.weight_plan import WeightPlan, weight_plan
from wg_server.generator.weights.zoo_network import ZooNetwork
from wg_server.zoo import bases
from wg_server.zoo import networks as zoo_networks
from wg_server.zoo.store import Zoo

Array = NDArray[np.float32]
FEWEST = 8
"""Networks of an architecture below which there is nothing to learn from."""


def load_zoos(
    root: Path, plan: NetworkTraining, tasks: Sequence[ZooTask], priors: Priors
) -> tuple[dict[str, NetworkZoo], dict[str, int]]:
    """Architectures of which a zoo has enough networks, by name.

    Args:
        root: Of the zoo.
        plan: Which parts are generated, and the size of their latents.
        tasks: The zoo's.
        priors: Of the generator of heads.

    Returns:
        What is learnt from; and of architectures with fewer networks than ``FEWEST``, how many
        there are.

    Raises:
        ConfigError: An architecture has no such weight plan.
        DecodeError: A stored base or network is damaged.
    """
    zoos: dict[str, NetworkZoo] = {}
    scarce: dict[str, int] = {}
    for name in sorted(catalogue.NETWORKS):
        if not bases.base_path(root, name).is_file():
            continue
        base, base_id = bases.read_base(root, name)
        parts = weight_plan(name, catalogue.known(name).widest(plan.weight_plan))
        networks, augmented = load_networks(Zoo(root), tasks, parts, base, base_id)
        if len(networks) < FEWEST:
            scarce[name] = len(networks)
            continue
        names = [part.name for part in parts.parts]
        codec = fit_layer_codec(names, [network.tokens for network in networks], plan.latent)
        index = build_index(networks, codec)
        fitted_priors = NetworkPriors(
            priors,
            fit_regression(networks),
            index,
            match.measure(index, priors),
            catalogue.known(name).all_own,
            augmented=build_index(augmented, codec) if augmented else None,
            site_heads={
                network.task.key: network.site_head for network in augmented if network.site_head
            },
        )
        zoos[name] = NetworkZoo(networks, fitted_priors, Decoder(parts, codec, base))
    return zoos, scarce


def load_networks(
    zoo: Zoo, tasks: Sequence[ZooTask], plan: WeightPlan, base: dict[str, Array], base_id: str
) -> tuple[list[ZooNetwork], list[ZooNetwork]]:
    """All networks of a plan's architecture whose tasks are given, as deltas from the base.

    Returns:
        The networks of the records as they are, and those with domain-shift augmentation.
    """
    by_key = {task.key: task for task in tasks}
    groups: tuple[list[ZooNetwork], list[ZooNetwork]] = [], []
    mine = whole_networks.own(plan.architecture, base)
    for entry in zoo_networks.networks(zoo, plan.architecture, base_id):
        task = by_key.get(entry.task)
        if task is None:
            continue
        network = zoo_networks.read(zoo, entry)
        centre = network.base_features.mean(axis=0)
        both = (network.tensors, None), (network.shifted, network.site_head)
        for (tensors, site_head), group in zip(both, groups, strict=True):
            if not tensors:
                continue
            delta = {name: tensors[name] - value for name, value in mine.items()}
            weight, bias = tensors[HEAD_WEIGHT], tensors[HEAD_BIAS]
            weight, bias = centred(weight, bias)
            rows = np.concatenate([weight, (bias + weight @ centre)[:, None]], axis=1)
            group.append(
                ZooNetwork(
                    task,
                    plan.tokens(delta),
                    rows.astype(np.float32),
                    network.base_features,
                    network.held,
                    network.inputs,
                    site_head,
                )
            )
    return groups
