"""Codec, feature-space regression and retrieval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tests.server.generator.conftest import World
from tests.server.generator.weights.conftest import network_of, untrained

from wg_server.generator.evaluation.retrieval_weight import WEIGHTS, choose, measure_weight
from wg_server.generator.prior import blup
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.weights import codec as codecs
from wg_server.generator.weights import neighbours, sampler
from wg_server.generator.weights.head_generation import Generator
from wg_server.generator.weights.network_denoiser import collate
from wg_server.generator.weights.network_episodes import NetworkZoo, draw

LABELS = ("c0", "c1", "c2", "c3")
CLEAN = Scenario(
    epsilon=float("inf"),
    shots=20,
    missing=0,
    unlabelled=0,
    silent=0,
    same_family=0,
    out_of_family=0,
)


def test_codec_is_exact_where_it_has_enough_directions(zoo_tasks: list[ZooTask]) -> None:
    tokens = [network_of(task, "cnn-s").tokens for task in zoo_tasks[:6]]
    codec = codecs.fit_layer_codec(list(tokens[0]), tokens, 6)
    for one in tokens:
        decoded = codec.decode(torch.from_numpy(codec.encode(one)))
        for name, value in one.items():
            np.testing.assert_allclose(decoded[name].numpy(), value, atol=1e-5)


def test_codec_latents_have_unit_scale_and_zero_is_the_base(zoo_tasks: list[ZooTask]) -> None:
    tokens = [network_of(task, "cnn-s").tokens for task in zoo_tasks]
    codec = codecs.fit_layer_codec(list(tokens[0]), tokens, 4)
    latents = np.stack([codec.encode(one) for one in tokens])
    np.testing.assert_allclose((latents**2).mean(axis=0), 1, atol=1e-3)
    assert not any(v.any() for v in codec.decode(torch.zeros(11, 4)).values())


def test_codec_with_fewer_networks_than_directions_pads_with_nothing(
    zoo_tasks: list[ZooTask],
) -> None:
    tokens = [network_of(task, "cnn-s").tokens for task in zoo_tasks[:2]]
    codec = codecs.fit_layer_codec(list(tokens[0]), tokens, 5)
    assert not codec.encode(tokens[0])[:, 2:].any()


def _estimate(generator: Generator, world: World, family: int) -> blup.Prediction:
    release = world.release(family, 2, epsilon=None, shots=30)
    return blup.predict(generator.parts.priors, [site_evidence(release, LABELS)])


def test_the_regression_carries_class_means_to_another_space(
    zoos: dict[str, NetworkZoo], generator: Generator, world: World
) -> None:
    zoo = zoos["cnn-s"]
    right = []
    for family in range(10):
        rows = zoo.fitted_priors.regression.rows(_estimate(generator, world, family))
        network = next(n for n in zoo.networks if n.task.key == f"{family}-1")
        logits = (network.base_features - network.centre) @ rows[:, :-1].T + rows[:, -1]
        right.append((logits.argmax(axis=1) == network.task.y).mean())
    assert np.mean(right) > 0.7  # a quarter is chance


def test_retrieval_finds_the_family_first(
    zoos: dict[str, NetworkZoo], generator: Generator, world: World
) -> None:
    index, priors = zoos["cnn-s"].fitted_priors.index, generator.parts.priors
    hits = []
    for family in range(10):
        found = neighbours.find(index, priors, _estimate(generator, world, family), LABELS, count=2)
        hits += [index.families[number] == f"family-{family}" for number in found.entries]
    assert np.mean(hits) > 0.7  # a tenth is chance


def test_retrieval_leaves_out_what_it_is_told(
    zoos: dict[str, NetworkZoo], generator: Generator, world: World
) -> None:
    index, priors = zoos["cnn-s"].fitted_priors.index, generator.parts.priors
    gone = set(range(15))
    found = neighbours.find(
        index, priors, _estimate(generator, world, 1), LABELS, count=8, without=gone
    )
    assert len(found.entries) == 5
    assert not gone & set(found.entries.tolist())


def test_rows_follow_their_class_names_where_deviations_cannot_tell(
    zoos: dict[str, NetworkZoo], generator: Generator, world: World
) -> None:
    index, priors = zoos["cnn-s"].fitted_priors.index, generator.parts.priors
    estimate = _estimate(generator, world, 3)
    straight = neighbours.find(index, priors, estimate, LABELS, count=4)
    hidden = neighbours.find(index, priors, estimate, ("w", "x", "y", "z"), count=4)
    assert straight.likeness.min() >= hidden.likeness.min()


def test_an_untrained_denoiser_is_the_mixture_of_its_priors(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    rng = np.random.default_rng(1)
    episode = draw(plants, zoos, frozenset(["family-1"]), rng, CLEAN)
    model = untrained()
    found = sampler.deterministic(model, collate([episode.condition], [0], model.config))
    expected = episode.condition.prior_head_rows
    np.testing.assert_allclose(found.rows[0].detach().numpy(), expected, atol=1e-5)


def test_without_weight_of_neighbours_the_prior_is_the_closed_form_on_the_base(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    rng = np.random.default_rng(1)
    wary = {name: zoo.weighted(0.0) for name, zoo in zoos.items()}
    condition = draw(plants, wary, frozenset(["family-1"]), rng, CLEAN).condition
    model = untrained()
    found = sampler.deterministic(model, collate([condition], [0], model.config))
    np.testing.assert_allclose(found.rows[0].detach().numpy(), condition.regression_rows, atol=1e-5)
    assert not found.latents.any()
    assert np.abs(condition.retrieved_latents).max() > 0  # still seen, and still offered


def test_the_weight_is_measured_alike_on_every_run(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    zoo = zoos["cnn-s"]
    families = frozenset(zoo.fitted_priors.index.families)
    found = [
        measure_weight(zoo, "cnn-s", plants, families, CLEAN, episodes=12, seed=1) for _ in range(2)
    ]
    assert found[0] == found[1]
    assert set(found[0][1]) == {repr(weight) for weight in WEIGHTS}


def test_neighbours_lose_weight_only_where_families_agree_that_they_harm() -> None:
    rng = np.random.default_rng(0)
    families = [f"family-{number % 10}" for number in range(200)]
    noise = rng.normal(0, 0.05, (200, 3))
    assert choose(noise + np.array([0.3, 0.4, 0.5]), families) == 0.0
    assert choose(noise + np.array([0.3, 0.4, 0.35]), families) == 0.5
    assert choose(noise + np.array([0.5, 0.4, 0.3]), families) == 1.0
    one = np.full((200, 3), 0.5)
    one[np.array(families) == "family-3", 2] += 0.3  # one family says little of others
    one[np.array(families) == "family-4", 2] -= 0.1
    assert choose(one, families) == 1.0


def test_the_closed_form_has_no_share_without_evidence(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    rng = np.random.default_rng(4)
    silent = replace(CLEAN, silent=1.0)
    nothing = draw(plants, zoos, frozenset(["family-1"]), rng, silent).condition.regression_share
    clean = draw(plants, zoos, frozenset(["family-1"]), rng, CLEAN).condition.regression_share
    assert nothing.max() < 0.05
    assert clean.min() > 0.3


def test_episodes_keep_the_plant_out_of_its_neighbours(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    rng = np.random.default_rng(2)
    families = frozenset(f"family-{i}" for i in range(10))
    for known in (True, False):
        for _ in range(10):
            episode = draw(plants, zoos, families, rng, CLEAN, family_known=known)
            index = zoos[episode.architecture].fitted_priors.index
            found = [index.keys[n] for n in episode.found.entries]
            assert episode.plant.task not in found
            if not known:
                near = {index.families[n] for n in episode.found.entries}
                assert episode.plant.family not in near


def test_queries_are_records_that_the_network_was_not_trained_on(
    zoos: dict[str, NetworkZoo], plants: Plants
) -> None:
    rng = np.random.default_rng(3)
    episode = draw(plants, zoos, frozenset(["family-2"]), rng, CLEAN)
    zoo = zoos[episode.architecture]
    network = next(n for n in zoo.networks if n.task.key == episode.plant.task)
    rows = episode.plant.rows[: len(episode.answers)]
    assert set(rows.tolist()) <= set(network.held.tolist())
    classes = episode.plant.classes[episode.answers]
    assert np.array_equal(network.task.y[rows], classes)
