"""The model card of whole networks: what they are worth on families that no training saw.

As the card of heads: the same simulated plants for every method, errors clustered by family,
paired differences, and a list of where the network loses. ``sister`` scenarios leave the plant's
sisters among the zoo's networks, ``unseen`` ones no entry of its family.
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
from wg_server.generator.evaluation.checks import Check
from wg_server.generator.networks import sampler
from wg_server.generator.networks.condition import (
    ROW_UNIT,
    NetworkCondition,
    Settled,
    settled,
)
from wg_server.generator.networks.denoiser import KEPT_SHARE, NetworkDenoiser, collate
from wg_server.generator.networks.episodes import NetworkEpisode, Zoo, draw, logits
from wg_server.generator.networks.package import ArchitectureBundle
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.statistics import clustered

LOSS_MARGIN = 0.01
SCENARIOS: Mapping[str, tuple[Scenario, bool]] = {
    f"{name}, {'sister' if sisters else 'unseen'}": (scenario, sisters)
    for name, scenario in {
        "few labels, epsilon 4": Scenario(
            epsilon=4.0,
            shots=5,
            missing=0,
            unlabelled=0,
            silent=0,
            same_family_shots=60,
            out_of_family=0,
        ),
        "alone, epsilon 1": Scenario(
            epsilon=1.0, shots=20, missing=0, unlabelled=0, silent=0, sisters=0, out_of_family=0
        ),
        "mixed": Scenario(),
    }.items()
    for sisters in (True, False)
}
Method = tuple[Settled, bool]
"""A network, and whether its rows stand on the base's trunk instead of its own."""


def evaluate(
    model: NetworkDenoiser,
    zoos: Mapping[str, Zoo],
    plants: Plants,
    families: frozenset[str],
    *,
    episodes: int,
    seed: int,
) -> dict[str, Any]:
    """Scores of all methods in all scenarios, with the list of losses."""
    table: dict[str, Any] = {}
    losses: list[str] = []
    for number, (name, (scenario, sisters)) in enumerate(SCENARIOS.items()):
        rng = streams.rng(Stream.NETWORK_SCENARIO, seed, then=(number,))
        scores: dict[str, list[float]] = {}
        names: list[str] = []
        for _ in range(episodes):
            episode = draw(plants, zoos, families, rng, scenario, sisters=sisters)
            names.append(episode.plant.family)
            alone = {episode.architecture: zoos[episode.architecture]}
            other = draw(plants, alone, families, rng, scenario, sisters=sisters)
            for method, (network, on_base) in methods(model, zoos, episode, other, rng).items():
                value = accuracy(zoos[episode.architecture], episode, network, on_base=on_base)
                scores.setdefault(method, []).append(value)
        reference = np.array(scores["network"])
        rows_of: dict[str, dict[str, float]] = {}
        for method, values in scores.items():
            mean, error = clustered(np.array(values), names)
            gain, gain_error = clustered(reference - np.array(values), names)
            rows_of[method] = {
                "accuracy": mean,
                "error": error,
                "network_minus": gain,
                "network_minus_error": gain_error,
            }
            if method not in ("zoo-network", "network") and gain < -LOSS_MARGIN:
                losses.append(f"{name}: {-gain:.3f} +- {gain_error:.3f} below {method}")
        table[name] = rows_of
    return {"scenarios": table, "loses": losses}


def diversity(
    model: NetworkDenoiser,
    zoos: Mapping[str, Zoo],
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
        noise = sampler.named_noise(episode.plant.labels, parts, model.config, 3, 2)
        batch = collate([episode.condition] * 3, [number] * 3, model.config)
        with torch.inference_mode():
            drawn = sampler.sample(model, batch, noise)
        flat = drawn.latents[:, : len(parts)].numpy()
        novel += [bundle.novelty(one) for one in flat]
        pairs = [(i, j) for i in range(3) for j in range(i)]
        between += [float(np.linalg.norm(flat[i] - flat[j])) / bundle.nearest for i, j in pairs]
    return {
        "nearest_zoo_distance_median": float(np.median(novel)),
        "nearest_zoo_distance_minimum": float(np.min(novel)),
        "between_samples_median": float(np.median(between)),
    }


def methods(
    model: NetworkDenoiser,
    zoos: Mapping[str, Zoo],
    episode: NetworkEpisode,
    other: NetworkEpisode,
    rng: np.random.Generator,
) -> dict[str, Method]:
    """The networks of all methods.

    ``zoo-network`` is the plant's own network in the zoo, trained on its records: a ceiling.
    ``shuffled-condition`` is the network made for another plant, ``blend`` what the denoiser starts
    from.
    """
    condition, found = episode.condition, episode.found
    number = sorted(zoos).index(episode.architecture)
    unit = torch.from_numpy
    batch = collate([condition], [number], model.config)
    k = len(episode.plant.labels)
    names = zoos[episode.architecture].decoder.codec.parts
    with torch.inference_mode():
        one = sampler.deterministic(model, batch)
        noise = sampler.named_noise(episode.plant.labels, names, model.config, 4, 1)
        four = collate([condition] * 4, [number] * 4, model.config)
        drawn = sampler.sample(model, four, noise)
        network = settled(condition, one.rows[0], one.latents[0])
        nothing = torch.zeros_like(network.latents)
        noise_rows = torch.from_numpy(rng.normal(size=condition.bridged_rows.shape)).float()
        retrieved = Settled(unit(condition.retrieved_rows), unit(condition.retrieved_latents))
        result: dict[str, Method] = {
            "network": (network, False),
            "network head on base": (network, True),
            "sample": (settled(condition, drawn.rows[0], drawn.latents[0]), False),
            "sample-mean": (
                settled(condition, drawn.rows.mean(dim=0), drawn.latents.mean(dim=0)),
                False,
            ),
            "blend": (blend(condition), False),
            "closed-form": (Settled(unit(condition.bridged_rows), nothing), True),
            "retrieval-5nn": (retrieved, False),
            "random": (Settled(noise_rows, nothing), True),
            "zoo-network": (Settled(unit(episode.rows), unit(episode.latents)), False),
        }
        scale = ROW_UNIT / zoos[episode.architecture].fitted_priors.regression.scale
        for name, count in (("retrieval-1nn", 1), ("average-weights", len(found.entries))):
            rows, latents = found.mean(count)
            result[name] = (Settled(_single(scale * rows), _single(latents)), False)
        shaken = _single(found.latents[0] + rng.normal(0, 0.1, found.latents[0].shape))
        nearest = result["retrieval-1nn"][0].rows
        result["weights-plus-noise"] = (Settled(nearest, shaken), False)
        made = sampler.deterministic(model, collate([other.condition], [number], model.config))
        strange = settled(other.condition, made.rows[0, : len(other.plant.labels)], made.latents[0])
        turned = torch.arange(k) % len(other.plant.labels)
        result["shuffled-condition"] = (replace(strange, rows=strange.rows[turned]), False)
    return result


def blend(condition: NetworkCondition) -> Settled:
    """The skeletons alone: what an untrained denoiser answers."""
    rows = torch.from_numpy(condition.prior_head_rows)
    latents = torch.from_numpy(condition.trust * KEPT_SHARE * condition.retrieved_latents)
    return settled(condition, rows, latents)


def accuracy(zoo: Zoo, episode: NetworkEpisode, network: Settled, *, on_base: bool) -> float:
    """Share of an episode's held-out records that a network gets right."""
    with torch.inference_mode():
        found = logits(zoo, episode, network, on_base=on_base)
    return float((found.argmax(dim=1).numpy() == episode.answers).mean())


def checks(card: Mapping[str, Any]) -> list[Check]:
    """What a generator of whole networks must reach before its networks are handed out."""
    scenarios = card["scenarios"].items()

    def mean(baseline: str) -> float:
        # One family more or less changes a small zoo's scores: what counts is the mean.
        return float(np.mean([rows[baseline]["network_minus"] for _, rows in scenarios]))

    return [
        Check(
            name="network minus the closed form, mean of scenarios",
            value=mean("closed-form"),
            relation=">=",
            bound=-LOSS_MARGIN,
        ),
        Check(
            name="network minus its skeletons, mean of scenarios",
            value=mean("blend"),
            relation=">=",
            bound=-LOSS_MARGIN,
        ),
        Check(
            name="network minus retrieval, mean of scenarios",
            value=mean("retrieval-5nn"),
            relation=">=",
            bound=-LOSS_MARGIN,
        ),
        Check(
            name="gain over another plant's condition, mean of scenarios",
            value=mean("shuffled-condition"),
            relation=">=",
            bound=0.0,
        ),
    ]


def _single(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
