"""The model card of heads: what a generator is worth on families that it has never seen.

Every method is scored on the same simulated plants. Where the generator loses to the closed form or
to its prior head, the card says so in a list of its own. Calibration, copies of the zoo, diversity
of samples and the codec's loss are measured on the same kind of plants.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.evaluation import memorisation
from wg_server.generator.evaluation.scores import Scores, losses
from wg_server.generator.prior import blup, conditioning, retrieval
from wg_server.generator.prior.blup import Head
from wg_server.generator.prior.fitted import FittedPriors
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.simulation.episodes import Episode, Plants, Scenario
from wg_server.generator.weights import flow, sampler
from wg_server.generator.weights.codec import Codec
from wg_server.generator.weights.flow import State
from wg_server.generator.weights.head_denoiser import Batch, collate, decode, joined
from wg_server.generator.weights.head_package import Parts

FEW = Scenario(
    epsilon=4.0,
    shots=5,
    missing=0,
    unlabelled=0,
    silent=0,
    same_family_shots=60,
    out_of_family=0,
)
"""A plant with five labels a class, whose sisters have released."""
SCENARIOS: Mapping[str, Scenario] = {
    "few labels, sisters in memory, epsilon 4": FEW,
    "few labels, sisters in memory, epsilon 1": replace(
        FEW, epsilon=1.0, shots=20, same_family_shots=100
    ),
    "classes never seen, epsilon 4": replace(FEW, shots=20, missing=1),
    "no labels, epsilon 4": replace(FEW, shots=20, unlabelled=1),
    "alone, epsilon 4": replace(FEW, shots=20, same_family=0),
    "mixed": Scenario(),
}
"""By the keys of stored cards; "sisters in memory" are other sites of the plant's family."""
BEFORE = ("closed-form", "blend")
"""Heads without a network: BLUP of all sites, and with the nearest zoo rows, the prior head."""
GENERATED = ("network", "sample", "sample-mean")
SHUFFLED = ("another-plant", "permuted-classes", "shuffled-tokens")
"""What a condition that is not the plant's own is worth.

``another-plant``: the whole condition, prior head included, is that of a plant of another family.
``permuted-classes``: the whole condition with its classes in another order; permuting the classes
permutes the rows exactly (a test), so that these are the rows in that order.
``shuffled-tokens``: only the network's tokens are permuted, the prior head is right.
"""
_BINS = 15

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """Weights made for one plant."""

    family: str
    head: Head
    centre: Floats


def heads(parts: Parts, episode: Episode, rng: np.random.Generator) -> dict[str, Head]:
    """Heads of all methods for one episode."""
    k, estimate = len(episode.labels), episode.estimate
    fitted = FittedPriors(parts.priors, parts.zoo_index)
    method_heads: dict[str, Head] = {
        "closed-form": (estimate.weight, estimate.bias),
        "blend": conditioning.prior_mixture(fitted, estimate),
    }
    batch = collate([episode.condition])
    sample_batch = collate([episode.condition] * 8)
    with torch.inference_mode():
        method_heads["network"] = _first(parts, batch, sampler.deterministic(parts.denoiser, batch))
        noise = flow.named_noise(episode.labels, parts.codec.latent, 8, 1)
        (latent,) = sampler.sample(parts.denoiser, sample_batch, (noise,))
        method_heads["sample"] = _first(parts, batch, (latent[:1],))
        method_heads["sample-mean"] = _first(parts, batch, (latent.mean(dim=0, keepdim=True),))
        turned = _shuffle(batch, rng)
        method_heads["shuffled-tokens"] = _first(
            parts, batch, sampler.deterministic(parts.denoiser, turned)
        )
    weight, bias = method_heads["network"]
    order = np.roll(np.arange(k), int(rng.integers(1, k)))
    method_heads["permuted-classes"] = weight[order], bias[order]
    return method_heads


def evaluate(
    parts: Parts,
    plants: Plants,
    *,
    episodes: int,
    seed: int,
) -> dict[str, Any]:
    """Scores of all methods in all scenarios, with calibration and the list of losses."""
    table: dict[str, Any] = {}
    calibration: dict[str, float] = {}
    loses: list[str] = []
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        rng = streams.rng(Stream.HEAD_SCENARIO, seed, then=(number,))
        scores = Scores()
        chances: list[tuple[Floats, NDArray[np.bool_]]] = []
        # One plant in advance, so that the first too has another plant.
        plant_head = _made(parts, plants.draw(rng, scenario))
        plant_heads = {plant_head.family: plant_head}
        for _ in range(episodes):
            episode = plants.draw(rng, scenario)
            method_heads = heads(parts, episode, rng)
            foreign_heads = [o for family, o in plant_heads.items() if family != episode.family]
            if foreign_heads:
                chosen = foreign_heads[int(rng.integers(len(foreign_heads)))]
                method_heads["another-plant"] = _transplant(chosen, episode)
            else:
                method_heads["another-plant"] = method_heads["permuted-classes"]
            plant_heads[episode.family] = _Made(
                episode.family, method_heads["network"], episode.estimate.centre
            )
            scores.add(
                episode.family, {n: episode.accuracy(head) for n, head in method_heads.items()}
            )
            chances.append(_confidence(parts, episode, method_heads["network"]))
        table[name] = scores.rows()
        loses += losses(name, table[name], BEFORE)
        calibration[name] = calibration_error(
            np.concatenate([c for c, _ in chances]), np.concatenate([r for _, r in chances])
        )
    return {"scenarios": table, "calibration": calibration, "loses": loses}


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error over fifteen even bins (Guo et al., ICML 2017).

    Args:
        confidence: Largest probability of each record, ``[n]``.
        right: Whether that class was right, ``[n]``.
    """
    bins = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(bins, minlength=_BINS)
    gap = np.bincount(bins, confidence - right, minlength=_BINS)
    return float(np.abs(gap).sum() / count.sum())


def copies(
    parts: Parts,
    tasks: Sequence[ZooTask],
    episodes: Sequence[Episode],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The copy test on generated heads, on those before them, and on a planted memoriser.

    Args:
        episodes: Simulated plants of families held out.
    """
    calibration = memorisation.calibrate(parts.zoo_index, tasks, rng)
    groups: defaultdict[str, list[Floats]] = defaultdict(list)
    for episode in episodes:
        method_heads = heads(parts, episode, rng)
        groups["generated"] += [np.asarray(method_heads[name][0]) for name in GENERATED]
        for name in BEFORE:
            groups[name].append(np.asarray(method_heads[name][0], dtype=np.float64))
        groups["planted_memoriser"].append(
            memorisation.memorise(
                parts.zoo_index, episode.estimate.deviations, calibration.noise, rng
            )
        )
        groups["trained_weights"].append(np.asarray(episode.target_weight, dtype=np.float64))
    document: dict[str, Any] = {"calibration": asdict(calibration)}
    for name, group in groups.items():
        document[name] = asdict(memorisation.examine(parts.zoo_index, calibration, group))
    return document


def diversity(parts: Parts, episodes: Sequence[Episode]) -> dict[str, float]:
    """Novelty of samples against the zoo, and their distance from each other."""
    second = parts.zoo_index.second.numpy().astype(np.float64)
    novel, between = [], []
    for episode in episodes:
        sample_batch = collate([episode.condition] * 4)
        with torch.inference_mode():
            noise = flow.named_noise(episode.labels, parts.codec.latent, 4, 2)
            weight, _ = decode(
                parts.codec, sample_batch, sampler.sample(parts.denoiser, sample_batch, (noise,))
            )
        drawn = weight.numpy().astype(np.float64)
        novel += [retrieval.novelty(parts.zoo_index, w) for w in drawn]
        between += [
            retrieval.distance(second, drawn[i], drawn[j]) for i in range(4) for j in range(i)
        ]
    return {
        "nearest_zoo_distance_median": float(np.median(novel)),
        "nearest_zoo_distance_minimum": float(np.min(novel)),
        "between_samples_median": float(np.median(between)) / parts.zoo_index.nearest,
        "zoo_median_neighbour_distance": parts.zoo_index.nearest,
    }


def codec_fidelity(codec: Codec, episodes: Sequence[Episode]) -> dict[str, float]:
    """What the codec keeps of the function: accuracy of trained weights before and after."""
    before, after = [], []
    for episode in episodes:
        k = episode.condition
        weight = torch.from_numpy(episode.target_weight - k.weight)
        bias = torch.from_numpy(episode.target_bias - k.bias)
        rows = codec.decode(codec.encode(joined(weight, bias)))
        before.append(episode.accuracy((episode.target_weight, episode.target_bias)))
        after.append(
            episode.accuracy((k.weight + rows[:, :-1].numpy(), k.bias + rows[:, -1].numpy()))
        )
    return {
        "trained_weights": float(np.mean(before)),
        "after_codec": float(np.mean(after)),
        "latent": float(codec.latent),
    }


def _confidence(parts: Parts, episode: Episode, head: Head) -> tuple[Floats, NDArray[np.bool_]]:
    """Largest probability of each held-out record as delivered, and whether it is right."""
    scale = math.exp(float(parts.denoiser.log_temperature.detach()))
    logits = scale * blup.confidence(parts.priors, episode.estimate) * episode.logits(head)
    chances = softmax(logits, axis=1)
    return chances.max(axis=1), chances.argmax(axis=1) == episode.answers


def _made(parts: Parts, episode: Episode) -> _Made:
    batch = collate([episode.condition])
    with torch.inference_mode():
        head = _first(parts, batch, sampler.deterministic(parts.denoiser, batch))
    return _Made(episode.family, head, episode.estimate.centre)


def _transplant(plant_head: _Made, episode: Episode) -> Head:
    """Another plant's weights as a head on this one's features; rows are cycled where too few."""
    rows = np.resize(np.arange(len(plant_head.head[1])), len(episode.labels))
    weight, bias = plant_head.head[0][rows], plant_head.head[1][rows]
    return weight, bias + weight @ (episode.estimate.centre - plant_head.centre)


def _first(parts: Parts, batch: Batch, latents: State) -> Head:
    weight, bias = decode(parts.codec, batch, latents)
    return weight[0].numpy().astype(np.float64), bias[0].numpy().astype(np.float64)


def _shuffle(batch: Batch, rng: np.random.Generator) -> Batch:
    """Give each class the tokens of another; the prior head stays."""
    k = batch.bias.shape[1]
    if k < 2:
        return batch
    order = torch.from_numpy(np.roll(np.arange(k), int(rng.integers(1, k))))
    return replace(
        batch,
        class_vectors=batch.class_vectors[:, order],
        class_scalars=batch.class_scalars[:, order],
        other_vectors=batch.other_vectors[:, :, order],
        other_scalars=batch.other_scalars[:, :, order],
        other_mask=batch.other_mask[:, :, order],
    )
