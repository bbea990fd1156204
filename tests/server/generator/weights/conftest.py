"""Whole networks without images worth looking at: drawn from the invented plants' features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tests.server.generator.conftest import DIMENSION, ENCODER

from wg_common import catalogue
from wg_common.nets import network
from wg_server.generator.families import match
from wg_server.generator.prior.fitted import FittedPriors
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.simulation.episodes import Plants
from wg_server.generator.weights import codec as codecs
from wg_server.generator.weights.decoder import Decoder
from wg_server.generator.weights.feature_regression import fit_regression
from wg_server.generator.weights.head_generation import Generator
from wg_server.generator.weights.neighbours import build_index
from wg_server.generator.weights.network_condition import NetworkPriors
from wg_server.generator.weights.network_denoiser import NetworkDenoiser, NetworkDenoiserConfig
from wg_server.generator.weights.network_episodes import NetworkZoo
from wg_server.generator.weights.network_generation import NetworkGenerator
from wg_server.generator.weights.network_package import ArchitectureBundle, NetworkParts
from wg_server.generator.weights.weight_plan import WeightPlan, weight_plan
from wg_server.generator.weights.zoo_network import ZooNetwork
from wg_server.zoo import heads

LATENT = 4
SIZES = ("cnn-m", "cnn-s")


def network_of(task: ZooTask, architecture: str) -> ZooNetwork:
    """A network whose delta belongs to the family, and whose features are the encoder's, mapped."""
    there = np.random.default_rng((3, int(task.key.split("-")[0])))
    own = np.random.default_rng([3, *map(int, task.key.split("-"))])
    size = network.feature_count(architecture)
    mapping = np.random.default_rng(4).normal(0, 0.3, (DIMENSION, size))
    features = task.features @ mapping + own.normal(0, 0.01, (len(task.y), size))
    weight, bias = heads.fit_head(features, task.y, len(task.labels))
    rows = np.concatenate([weight, (bias + weight @ features.mean(axis=0))[:, None]], axis=1)
    tokens = {
        part.name: (0.05 * there.normal(size=part.size) + 0.01 * own.normal(size=part.size)).astype(
            np.float32
        )
        for part in widest(architecture).parts
    }
    held = np.sort(own.permutation(len(task.y))[:16])
    return ZooNetwork(
        task=task,
        tokens=tokens,
        rows=rows.astype(np.float32),
        base_features=features.astype(np.float32),
        held=held,
        inputs=network.prepared(architecture, list(_records(architecture, len(held), own))),
    )


def _records(architecture: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of the architecture's modality."""
    if catalogue.known(architecture).modality == "windows":
        return rng.normal(size=(count, 2, 40))
    return rng.integers(0, 256, (count, 64, 64, 3)).astype(np.uint8)


def widest(architecture: str) -> WeightPlan:
    """All that may change of an architecture."""
    return weight_plan(architecture, catalogue.known(architecture).widest("whole"))


@pytest.fixture(scope="session")
def zoos(zoo_tasks: list[ZooTask], generator: Generator) -> dict[str, NetworkZoo]:
    """Two sizes of ten families, two sites each."""
    return make_zoos(SIZES, zoo_tasks, generator)


def make_zoos(
    sizes: Sequence[str], zoo_tasks: list[ZooTask], generator: Generator
) -> dict[str, NetworkZoo]:
    """Networks of these architectures, one a task."""
    found = {}
    for architecture in sizes:
        networks = [network_of(t, architecture) for t in zoo_tasks if not t.key.endswith("-2")]
        plan = widest(architecture)
        codec = codecs.fit_layer_codec(
            [part.name for part in plan.parts], [n.tokens for n in networks], LATENT
        )
        index, priors = build_index(networks, codec), generator.parts.priors
        found[architecture] = NetworkZoo(
            networks,
            NetworkPriors(
                priors,
                fit_regression(networks),
                index,
                match.measure(index, priors),
                everywhere=True,
            ),
            Decoder(plan, codec, network.draw_trunk(architecture, np.random.default_rng(5))),
        )
    return found


@pytest.fixture(scope="session")
def plants(zoo_tasks: list[ZooTask], generator: Generator) -> Plants:
    known = FittedPriors(generator.parts.priors, generator.parts.zoo_index)
    names = sorted({task.family for task in zoo_tasks})
    return Plants(zoo_tasks, dict.fromkeys(names, known), ENCODER, 1.0)


def untrained() -> NetworkDenoiser:
    import torch

    config = NetworkDenoiserConfig(
        dimension=DIMENSION, parts=11, latent=LATENT, architectures=2, width=16, depth=2
    )
    denoiser = NetworkDenoiser(config)
    denoiser.draw(torch.Generator().manual_seed(1))
    return denoiser.eval()


@pytest.fixture(scope="session")
def network_generator(zoos: dict[str, NetworkZoo], generator: Generator) -> NetworkGenerator:
    """A generator whose last layers are random: every path counts."""
    import torch

    denoiser = untrained()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in (denoiser.row_out, denoiser.latent_out, denoiser.row_share):
            torch.nn.init.normal_(layer.weight, std=0.1)
    bundles = {
        name: ArchitectureBundle.measured(zoo.fitted_priors, zoo.decoder)
        for name, zoo in zoos.items()
    }
    return NetworkGenerator(
        "ef" * 32, NetworkParts(generator.id, "whole", denoiser, bundles), generator
    )
