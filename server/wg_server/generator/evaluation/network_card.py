"""The model card of whole networks: what they are worth on families that no training saw.

As on the card of heads, every method is scored on the same simulated plants, and losses are listed.
In ``sister`` scenarios other sites of the plant's family have networks in the zoo; in ``unseen``
ones the zoo has no entry of the family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.checks import Check, at_least
from wg_server.generator.evaluation.head_card import FEW
from wg_server.generator.evaluation.scores import LOSS_MARGIN, Scores, losses
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.weights import sampler
from wg_server.generator.weights.network_condition import (
    ROW_UNIT,
    FinalWeights,
    NetworkCondition,
    final_weights,
)
from wg_server.generator.weights.network_denoiser import (
    KEPT_SHARE,
    NetworkDenoiser,
    Weights,
    collate,
    named_noise,
)
from wg_server.generator.weights.network_episodes import NetworkEpisode, NetworkZoo, draw, logits
from wg_server.generator.weights.network_package import ArchitectureBundle

SCENARIOS: Mapping[str, tuple[Scenario, bool]] = {
    title: (scenario, same_family)
    for name, scenario in {
        "few labels, epsilon 4": FEW,
        "alone, epsilon 1": replace(FEW, epsilon=1.0, shots=20, same_family=0),
        "mixed": Scenario(),
    }.items()
    for title, same_family in ((f"{name}, sister", True), (f"{name}, unseen", False))
}
"""By the keys of stored cards."""
Method = tuple[FinalWeights, bool]
"""A network, and whether its rows stand on the base's trunk instead of its own."""


def evaluate(
    model: NetworkDenoiser,
    zoos: Mapping[str, NetworkZoo],
    plants: Plants,
    families: frozenset[str],
    *,
    episodes: int,
    seed: int,
) -> dict[str, Any]:
    """Scores of all methods in all scenarios, with the list of losses."""
    table: dict[str, Any] = {}
    loses: list[str] = []
    for number, (name, (scenario, family_known)) in enumerate(SCENARIOS.items()):
        rng = streams.rng(Stream.NETWORK_SCENARIO, seed, then=(number,))
        scores = Scores()
        for _ in range(episodes):
            episode = draw(plants, zoos, families, rng, scenario, family_known=family_known)
            zoo = zoos[episode.architecture]
            alone = {episode.architecture: zoo}
            other_episode = draw(plants, alone, families, rng, scenario, family_known=family_known)
            networks = methods(model, zoos, episode, other_episode, rng)
            right = {n: accuracy(zoo, episode, w, on_base=on) for n, (w, on) in networks.items()}
            scores.add(episode.plant.family, right)
        table[name] = scores.rows()
        loses += losses(name, table[name], table[name].keys() - {"network", "zoo-network"})
    return {"scenarios": table, "loses": loses}


def diversity(
    model: NetworkDenoiser,
    zoos: Mapping[str, NetworkZoo],
    plants: Plants,
    families: frozenset[str],
    seed: int,
) -> dict[str, float]:
    """Novelty of sampled trunks, and their distance from each other."""
    rng = streams.rng(Stream.NETWORK_DIVERSITY, seed)
    bundles = {n: ArchitectureBundle.measured(z.fitted_priors, z.decoder) for n, z in zoos.items()}
    novel, between = [], []
    names = sorted(zoos)
    for _ in range(12):
        episode = draw(plants, zoos, families, rng, Scenario())
        bundle, number = bundles[episode.architecture], names.index(episode.architecture)
        parts = bundle.decoder.codec.parts
        noise = named_noise(episode.plant.labels, parts, model.config, 3, 2)
        batch = collate([episode.condition] * 3, [number] * 3, model.config)
        with torch.inference_mode():
            drawn = Weights(*sampler.sample(model, batch, noise))
        flat = drawn.latents[:, : len(parts)].numpy()
        novel += [bundle.novelty(latents) for latents in flat]
        pairs = [(i, j) for i in range(3) for j in range(i)]
        between += [float(np.linalg.norm(flat[i] - flat[j])) / bundle.nearest for i, j in pairs]
    return {
        "nearest_zoo_distance_median": float(np.median(novel)),
        "nearest_zoo_distance_minimum": float(np.min(novel)),
        "between_samples_median": float(np.median(between)),
    }


def methods(
    model: NetworkDenoiser,
    zoos: Mapping[str, NetworkZoo],
    episode: NetworkEpisode,
    other_episode: NetworkEpisode,
    rng: np.random.Generator,
) -> dict[str, Method]:
    """The networks of all methods.

    ``zoo-network`` is the plant's own network in the zoo, trained on its records: a ceiling.
    ``shuffled-condition`` is the network made for another plant, ``blend`` what the denoiser starts
    from.
    """
    condition, neighbours = episode.condition, episode.found
    number = sorted(zoos).index(episode.architecture)
    unit = torch.from_numpy
    batch = collate([condition], [number], model.config)
    k = len(episode.plant.labels)
    names = zoos[episode.architecture].decoder.codec.parts
    with torch.inference_mode():
        answer = sampler.deterministic(model, batch)
        noise = named_noise(episode.plant.labels, names, model.config, 4, 1)
        four = collate([condition] * 4, [number] * 4, model.config)
        drawn = Weights(*sampler.sample(model, four, noise))
        network = final_weights(condition, answer.rows[0], answer.latents[0])
        nothing = torch.zeros_like(network.latents)
        noise_rows = torch.from_numpy(rng.normal(size=condition.regression_rows.shape)).float()
        retrieved = FinalWeights(unit(condition.retrieved_rows), unit(condition.retrieved_latents))
        result: dict[str, Method] = {
            "network": (network, False),
            "network head on base": (network, True),
            "sample": (final_weights(condition, drawn.rows[0], drawn.latents[0]), False),
            "sample-mean": (
                final_weights(condition, drawn.rows.mean(dim=0), drawn.latents.mean(dim=0)),
                False,
            ),
            "blend": (prior_mixture(condition), False),
            "closed-form": (FinalWeights(unit(condition.regression_rows), nothing), True),
            "retrieval-5nn": (retrieved, False),
            "random": (FinalWeights(noise_rows, nothing), True),
            "zoo-network": (FinalWeights(unit(episode.rows), unit(episode.latents)), False),
        }
        scale = ROW_UNIT / zoos[episode.architecture].fitted_priors.regression.scale
        for name, count in (("retrieval-1nn", 1), ("average-weights", len(neighbours.entries))):
            rows, latents = neighbours.mean(count)
            result[name] = (FinalWeights(_single(scale * rows), _single(latents)), False)
        shaken = _single(neighbours.latents[0] + rng.normal(0, 0.1, neighbours.latents[0].shape))
        nearest = result["retrieval-1nn"][0].rows
        result["weights-plus-noise"] = (FinalWeights(nearest, shaken), False)
        other_answer = sampler.deterministic(
            model, collate([other_episode.condition], [number], model.config)
        )
        strange = final_weights(
            other_episode.condition,
            other_answer.rows[0, : len(other_episode.plant.labels)],
            other_answer.latents[0],
        )
        turned = torch.arange(k) % len(other_episode.plant.labels)
        result["shuffled-condition"] = (replace(strange, rows=strange.rows[turned]), False)
    return result


def prior_mixture(condition: NetworkCondition) -> FinalWeights:
    """The prior network alone: what an untrained denoiser answers."""
    rows = torch.from_numpy(condition.prior_head_rows)
    latents = torch.from_numpy(
        condition.retrieval_weight * KEPT_SHARE * condition.retrieved_latents
    )
    return final_weights(condition, rows, latents)


def accuracy(
    zoo: NetworkZoo, episode: NetworkEpisode, network: FinalWeights, *, on_base: bool
) -> float:
    """Share of an episode's held-out records that a network gets right."""
    with torch.inference_mode():
        scores = logits(zoo, episode, network, on_base=on_base)
    return float((scores.argmax(dim=1).numpy() == episode.answers).mean())


def checks(card: Mapping[str, Any]) -> list[Check]:
    """What a generator of whole networks must reach before its networks are handed out.

    It is refused where it is worse by more than the margin and one standard error: a card has a few
    families, and one more or less of these moves a mean by more than the margin.
    """
    scenarios = card["scenarios"].values()

    def mean(baseline: str, errors: int) -> float:
        # All scenarios have the same families, so that their errors do not cancel each other.
        gains = (
            rows[baseline]["network_minus"] + errors * rows[baseline]["network_minus_error"]
            for rows in scenarios
        )
        return float(np.mean(list(gains)))

    prior_checks = [
        at_least(
            -LOSS_MARGIN,
            f"network minus {title} plus its error, mean of scenarios",
            mean(baseline, errors=1),
        )
        for title, baseline in (
            ("the closed form", "closed-form"),
            ("its prior", "blend"),
            ("retrieval", "retrieval-5nn"),
        )
    ]
    gain_name = "gain over another plant's condition less its error, mean of scenarios"
    return [*prior_checks, at_least(0.0, gain_name, mean("shuffled-condition", errors=-1))]


def _single(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
