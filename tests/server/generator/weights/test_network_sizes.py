"""One denoiser for architectures of unequal parts and features: what is padded, and that it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.server.generator.conftest import DIMENSION
from tests.server.generator.weights.conftest import LATENT, make_zoos

from wg_common.nets import network, tensor_set
from wg_server.generator.evaluation import network_card
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.training import loop
from wg_server.generator.weights import network_objective as objectives
from wg_server.generator.weights import network_package as package
from wg_server.generator.weights import sampler
from wg_server.generator.weights.head_generation import Generator
from wg_server.generator.weights.network_denoiser import (
    NetworkDenoiser,
    NetworkDenoiserConfig,
    Weights,
    collate,
    named_noise,
)
from wg_server.generator.weights.network_episodes import NetworkEpisode, NetworkZoo, draw
from wg_server.generator.weights.network_generation import (
    NetworkGenerator,
    generate_networks,
)
from wg_server.generator.weights.network_package import ArchitectureBundle, NetworkParts
from wg_server.generator.weights.network_plan import NetworkTraining

SIZES = ("cnn-s", "lite0")
FAMILIES = frozenset([f"family-{number}" for number in range(8)]), frozenset(["family-9"])
PLAN = NetworkTraining(
    steps=2, batch=4, width=16, depth=1, functional_episodes=1, evaluate_every=1, episodes=2
)


@pytest.fixture(scope="module")
def mixed(zoo_tasks: list[ZooTask], generator: Generator) -> dict[str, NetworkZoo]:
    return make_zoos(SIZES, zoo_tasks, generator)


@pytest.fixture(scope="module")
def denoiser(mixed: dict[str, NetworkZoo]) -> NetworkDenoiser:
    """One whose last layers are random: every path counts."""
    config = NetworkDenoiserConfig(
        dimension=DIMENSION,
        parts=len(mixed["lite0"].decoder.codec.parts),
        latent=LATENT,
        architectures=2,
        row=1 + network.feature_count("lite0"),
        width=16,
        depth=2,
    )
    made = NetworkDenoiser(config)
    made.draw(torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in (made.row_out, made.latent_out, made.row_share):
            torch.nn.init.normal_(layer.weight, std=0.1)
            torch.nn.init.normal_(layer.bias, std=0.1)
    return made.eval()


def _episode(mixed: dict[str, NetworkZoo], plants: Plants, architecture: str) -> NetworkEpisode:
    only = {architecture: mixed[architecture]}
    return draw(plants, only, FAMILIES[1], np.random.default_rng(3), Scenario(missing=0))


@pytest.mark.parametrize("architecture", SIZES)
def test_answers_are_zero_beyond_an_architecture_s_own(
    mixed: dict[str, NetworkZoo], plants: Plants, denoiser: NetworkDenoiser, architecture: str
) -> None:
    condition = _episode(mixed, plants, architecture).condition
    batch = collate([condition] * 2, [SIZES.index(architecture)] * 2, denoiser.config)
    names = mixed[architecture].decoder.codec.parts
    labels = [str(number) for number in range(len(condition.regression_rows))]
    noise = named_noise(labels, names, denoiser.config, 2, 1)
    parts, row = len(names), 1 + network.feature_count(architecture)
    drawn = Weights(*sampler.sample(denoiser, batch, noise))
    for found in (sampler.deterministic(denoiser, batch), drawn):
        assert found.rows[:, :, :row].all() and not found.rows[:, :, row:].any()
        assert found.latents[:, :parts].all() and not found.latents[:, parts:].any()


def test_nobody_sees_padded_parts(
    mixed: dict[str, NetworkZoo], plants: Plants, denoiser: NetworkDenoiser
) -> None:
    batch = collate([_episode(mixed, plants, "cnn-s").condition], [0], denoiser.config)
    parts = len(mixed["cnn-s"].decoder.codec.parts)
    before = sampler.deterministic(denoiser, batch)
    with torch.no_grad():
        kept = denoiser.part[parts:].clone()
        denoiser.part[parts:] += 7.0
        after = sampler.deterministic(denoiser, batch)
        denoiser.part[parts:] = kept
    torch.testing.assert_close(after.rows, before.rows)
    torch.testing.assert_close(after.latents, before.latents)


def test_both_are_trained_judged_packed_and_generated(
    mixed: dict[str, NetworkZoo], plants: Plants, generator: Generator, tmp_path: Path
) -> None:
    objective = objectives.NetworkObjective(mixed, (plants, plants), FAMILIES, PLAN, 1)
    state = loop.train(objective, PLAN, tmp_path / "c", "i", lambda *_: None)
    objective.finish()
    assert state.step == 2 and np.isfinite(state.best)
    model = objective.model
    document = network_card.evaluate(model, mixed, plants, FAMILIES[1], episodes=2, seed=1)
    assert set(document["scenarios"]) == set(network_card.SCENARIOS)
    bundles = {
        name: ArchitectureBundle.measured(zoo.fitted_priors, zoo.decoder)
        for name, zoo in mixed.items()
    }
    parts = NetworkParts(generator.id, "whole", model, bundles)
    again = package.unpack(package.pack(parts), generator.parts.priors)
    assert again.bundles["lite0"].decoder.plan.name == "low-rank"
    made = [
        generate_networks(
            NetworkGenerator("ef" * 32, each, generator),
            "lite0",
            None,
            [],
            ("a", "b", "c"),
            samples=2,
            seed=1,
        )
        for each in (parts, again)
    ]
    for one, two in zip(made[0].candidates, made[1].candidates, strict=True):
        tensor_set.check_tensors("lite0", one.tensors, 3, DIMENSION)
        assert all(np.array_equal(one.tensors[n], two.tensors[n]) for n in one.tensors)
    base = made[0].candidates[-1]
    assert base.source == "base"
    for name, value in network.own("lite0", mixed["lite0"].decoder.base).items():
        np.testing.assert_array_equal(base.tensors[name], value)
