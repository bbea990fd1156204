"""The model card: what a generator is worth on families that it has never seen. Honest by design.

Every method sees the same simulated plants. Accuracies are means over families, errors are
standard errors clustered by family, and differences are paired. Where the generator loses to a
rival, the card says so in a list of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wg_server.generator import batch as batches
from wg_server.generator import memory as zoo_memory
from wg_server.generator import rivals, sampler
from wg_server.generator.codec import Codec
from wg_server.generator.denoiser import Batch
from wg_server.generator.episodes import Episode, Plants, Scenario
from wg_server.generator.evidence import nothing, site_evidence
from wg_server.generator.package import Parts

SCENARIOS: Mapping[str, Scenario] = {
    "few labels, sisters in memory, epsilon 4": Scenario(
        epsilon=4.0, shots=5, missing=0, unlabelled=0, silent=0, sister_shots=60, strangers=0
    ),
    "few labels, sisters in memory, epsilon 1": Scenario(
        epsilon=1.0, shots=20, missing=0, unlabelled=0, silent=0, sister_shots=100, strangers=0
    ),
    "classes never seen, epsilon 4": Scenario(
        epsilon=4.0, shots=20, missing=1, unlabelled=0, silent=0, sister_shots=60, strangers=0
    ),
    "no labels, epsilon 4": Scenario(
        epsilon=4.0, shots=20, missing=0, unlabelled=1, silent=0, sister_shots=60, strangers=0
    ),
    "alone, epsilon 4": Scenario(
        epsilon=4.0, shots=20, missing=0, unlabelled=0, silent=0, sisters=0, strangers=0
    ),
    "mixed": Scenario(),
}
GENERATED = ("network", "sample", "sample-mean", "shuffled-condition")
LOSS_MARGIN = 0.01

Head = tuple[NDArray[np.floating], NDArray[np.floating]]


def accuracy(episode: Episode, head: Head) -> float:
    """Share of an episode's held-out records that a head on ``features - centre`` gets right."""
    weight, bias = head
    logits = (episode.queries - episode.guess.centre) @ weight.T + bias
    return float((logits.argmax(axis=1) == episode.answers).mean())


def heads(parts: Parts, episode: Episode, rng: np.random.Generator) -> dict[str, Head]:
    """Heads of all methods for one episode."""
    k, d = len(episode.labels), parts.denoiser.config.dimension
    sites = [
        nothing(k, d) if release is None else site_evidence(release, episode.labels)
        for release in episode.releases
    ]
    context = rivals.Context(parts.priors, sites, episode.guess, parts.memory, rng)
    found: dict[str, Head] = {name: rival(context) for name, rival in rivals.RIVALS.items()}
    batch = batches.collate([episode.condition])
    many = batches.collate([episode.condition] * 8)
    with torch.inference_mode():
        found["network"] = _first(parts, batch, sampler.deterministic(parts.denoiser, batch))
        noise = sampler.label_noise(episode.labels, parts.codec.latent, 8, 1)
        latent = sampler.sample(parts.denoiser, many, noise)
        found["sample"] = _first(parts, batch, latent[:1])
        found["sample-mean"] = _first(parts, batch, latent.mean(dim=0, keepdim=True))
        turned = _shuffle(batch, rng)
        found["shuffled-condition"] = _first(
            parts, batch, sampler.deterministic(parts.denoiser, turned)
        )
    return found


def evaluate(parts: Parts, plants: Plants, *, episodes: int, seed: int) -> dict[str, Any]:
    """Scores of all methods in all scenarios, with the list of losses."""
    table: dict[str, Any] = {}
    losses: list[str] = []
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        rng = np.random.default_rng((seed, 21, number))
        scores: dict[str, list[float]] = {}
        families: list[str] = []
        for _ in range(episodes):
            episode = plants.draw(rng, scenario)
            families.append(episode.family)
            for method, head in heads(parts, episode, rng).items():
                scores.setdefault(method, []).append(accuracy(episode, head))
        rows = {method: _row(np.array(values), families) for method, values in scores.items()}
        reference = np.array(scores["network"])
        for method, values in scores.items():
            gain, error = clustered(reference - np.array(values), families)
            rows[method] |= {"network_minus": gain, "network_minus_error": error}
            if method in rivals.RIVALS and gain < -LOSS_MARGIN:
                losses.append(f"{name}: {-gain:.3f} +- {error:.3f} below {method}")
        table[name] = rows
    return {"scenarios": table, "loses": losses}


def diversity(parts: Parts, episodes: Sequence[Episode]) -> dict[str, float]:
    """Novelty of samples against the zoo, and their distance from each other."""
    second = parts.memory.second.numpy().astype(np.float64)
    novel, between = [], []
    for episode in episodes:
        many = batches.collate([episode.condition] * 4)
        with torch.inference_mode():
            noise = sampler.label_noise(episode.labels, parts.codec.latent, 4, 2)
            weight, _ = sampler.decode(
                parts.codec, many, sampler.sample(parts.denoiser, many, noise)
            )
        drawn = weight.numpy().astype(np.float64)
        novel += [zoo_memory.novelty(parts.memory, w) for w in drawn]
        between += [
            zoo_memory.distance(second, drawn[i], drawn[j]) for i in range(4) for j in range(i)
        ]
    return {
        "nearest_zoo_distance_median": float(np.median(novel)),
        "nearest_zoo_distance_minimum": float(np.min(novel)),
        "between_samples_median": float(np.median(between)) / parts.memory.nearest,
        "zoo_median_neighbour_distance": parts.memory.nearest,
    }


def codec_fidelity(codec: Codec, episodes: Sequence[Episode]) -> dict[str, float]:
    """What the codec keeps of the function: accuracy of trained weights before and after."""
    before, after = [], []
    for episode in episodes:
        k = episode.condition
        weight = torch.from_numpy(episode.target_weight - k.weight)
        bias = torch.from_numpy(episode.target_bias - k.bias)
        w, b = codec.decode(codec.encode(weight, bias))
        before.append(accuracy(episode, (episode.target_weight, episode.target_bias)))
        after.append(accuracy(episode, (k.weight + w.numpy(), k.bias + b.numpy())))
    return {
        "trained_weights": float(np.mean(before)),
        "after_codec": float(np.mean(after)),
        "latent": float(codec.latent),
    }


def clustered(values: NDArray[np.floating], clusters: Sequence[str]) -> tuple[float, float]:
    """Mean over clusters' means, and its standard error."""
    names, index = np.unique(np.array(clusters), return_inverse=True)
    means = np.bincount(index, values) / np.bincount(index)
    error = means.std(ddof=1) / np.sqrt(len(names)) if len(names) > 1 else float("nan")
    return float(means.mean()), float(error)


def _row(values: NDArray[np.floating], families: Sequence[str]) -> dict[str, float]:
    mean, error = clustered(values, families)
    return {"accuracy": mean, "error": error}


def _first(parts: Parts, batch: Batch, latent: torch.Tensor) -> Head:
    weight, bias = sampler.decode(parts.codec, batch, latent)
    return weight[0].numpy().astype(np.float64), bias[0].numpy().astype(np.float64)


def _shuffle(batch: Batch, rng: np.random.Generator) -> Batch:
    """Give each class the tokens of another; the skeleton stays."""
    k = batch.bias.shape[1]
    order = torch.from_numpy(np.roll(np.arange(k), int(rng.integers(1, k)))) if k > 1 else None
    if order is None:
        return batch
    return replace(
        batch,
        class_vectors=batch.class_vectors[:, order],
        class_scalars=batch.class_scalars[:, order],
        memory_vectors=batch.memory_vectors[:, :, order],
        memory_scalars=batch.memory_scalars[:, :, order],
        memory_mask=batch.memory_mask[:, :, order],
    )
