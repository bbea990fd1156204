"""Networks of windows go through the same decoder, sampler and package as those of images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.server.generator.conftest import DIMENSION, World
from tests.server.generator.weights.conftest import LATENT, network_of

from wg_common.nets import network as whole_networks
from wg_common.nets import tensor_set
from wg_server.generator.families import match
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.weights import codec as codecs
from wg_server.generator.weights import network_package as package
from wg_server.generator.weights.decoder import Decoder
from wg_server.generator.weights.feature_regression import fit_regression
from wg_server.generator.weights.head_generation import Generator
from wg_server.generator.weights.neighbours import build_index
from wg_server.generator.weights.network_condition import NetworkPriors, final_weights
from wg_server.generator.weights.network_denoiser import NetworkDenoiser, NetworkDenoiserConfig
from wg_server.generator.weights.network_episodes import NetworkZoo, draw, logits
from wg_server.generator.weights.network_generation import NetworkGenerator, generate_networks
from wg_server.generator.weights.weight_plan import weight_plan
from wg_server.generator.weights.zoo_network import ZooNetwork

NAME = "cnn1d-s"
PLAN = weight_plan(NAME, "whole")
LABELS = ("c0", "c1", "c2", "c3")


def _network(task: ZooTask) -> ZooNetwork:
    network = network_of(task, NAME)
    rng = np.random.default_rng([7, *map(int, task.key.split("-"))])
    channels = 1 + int(task.key.split("-")[0]) % 3
    windows = rng.normal(size=(len(network.held), channels, 40))
    return replace(network, inputs=whole_networks.prepared(NAME, windows))


@pytest.fixture(scope="module")
def zoo(zoo_tasks: list[ZooTask], generator: Generator) -> NetworkZoo:
    networks = [_network(task) for task in zoo_tasks]
    codec = codecs.fit_layer_codec(
        [part.name for part in PLAN.parts], [n.tokens for n in networks], LATENT
    )
    base = whole_networks.draw_trunk(NAME, np.random.default_rng(5))
    index, priors = build_index(networks, codec), generator.parts.priors
    known = NetworkPriors(
        priors, fit_regression(networks), index, match.measure(index, priors), everywhere=True
    )
    return NetworkZoo(networks, known, Decoder(PLAN, codec, base))


@pytest.fixture(scope="module")
def networks(zoo: NetworkZoo, generator: Generator) -> NetworkGenerator:
    config = NetworkDenoiserConfig(
        dimension=DIMENSION,
        parts=len(PLAN.parts),
        latent=LATENT,
        architectures=1,
        width=16,
        depth=1,
    )
    denoiser = NetworkDenoiser(config)
    denoiser.draw(torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in (denoiser.row_out, denoiser.latent_out):
            torch.nn.init.normal_(layer.weight, std=0.1)
    bundle = package.ArchitectureBundle(zoo.fitted_priors, zoo.decoder, 1.0)
    parts = package.NetworkParts(generator.id, "whole", denoiser.eval(), {NAME: bundle})
    return NetworkGenerator("ef" * 32, parts, generator)


def test_running_latents_is_running_the_network_that_they_decode_to(zoo: NetworkZoo) -> None:
    for network in zoo.networks[:3]:
        latents = torch.from_numpy(zoo.decoder.codec.encode(network.tokens))
        found = zoo.decoder.features(latents, torch.from_numpy(network.inputs)).detach().numpy()
        trunk = whole_networks.load_trunk(NAME, zoo.decoder.trunk(latents))
        np.testing.assert_allclose(found, whole_networks.features(trunk, network.inputs), atol=1e-4)


def test_latent_zero_is_the_base(zoo: NetworkZoo) -> None:
    found = zoo.decoder.trunk(torch.zeros(len(PLAN.parts), LATENT))
    assert all(np.array_equal(found[name], value) for name, value in zoo.decoder.base.items())


def test_gradients_of_held_out_answers_reach_every_part(
    zoo: NetworkZoo, zoo_tasks: list[ZooTask]
) -> None:
    network = zoo.networks[0]
    latents = torch.zeros(len(PLAN.parts), LATENT, requires_grad=True)
    zoo.decoder.features(latents, torch.from_numpy(network.inputs)).square().sum().backward()  # type: ignore[no-untyped-call]
    assert latents.grad is not None
    assert (latents.grad.abs().sum(dim=1) > 0).all()


def test_episodes_answer_on_windows(
    zoo: NetworkZoo, plants: Plants, zoo_tasks: list[ZooTask]
) -> None:
    families = frozenset(task.family for task in zoo_tasks)
    episode = draw(plants, {NAME: zoo}, families, np.random.default_rng(3), Scenario())
    assert episode.inputs.shape[2:] == zoo.networks[0].inputs.shape[2:]
    rows, latents = torch.from_numpy(episode.rows), torch.from_numpy(episode.latents)
    network = final_weights(episode.condition, rows, latents)
    assert logits(zoo, episode, network).shape == (len(episode.answers), len(rows))


def test_classes_permute_and_candidates_are_whole_networks(
    networks: NetworkGenerator, world: World
) -> None:
    release = world.release(2, 1, epsilon=None, shots=20)
    made = [
        generate_networks(networks, NAME, release, [], labels, samples=2, seed=1)
        for labels in (LABELS, LABELS[::-1])
    ]
    for one, two in zip(made[0].candidates, made[1].candidates, strict=True):
        tensor_set.check_tensors(NAME, one.tensors, 4, DIMENSION)
        for name, value in one.tensors.items():
            turned = two.tensors[name][::-1] if name.startswith("head") else two.tensors[name]
            np.testing.assert_allclose(value, turned, atol=2e-4)


def test_packages_round_trip(networks: NetworkGenerator, generator: Generator) -> None:
    data = package.pack(networks.parts)
    again = package.unpack(data, generator.parts.priors)
    assert package.pack(again) == data
