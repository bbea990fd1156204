"""Training the generator of whole networks: latent denoising and functional loss.

It stands on a trained generator of heads: its priors, its split of families, its condition.
Episodes are drawn from generators seeded by the step, so an interrupted training goes on as if it
had not been interrupted. The best moving average on left-out families is kept; the untrained
denoiser, an even blend of its skeletons, is among the contenders.

Codec and shelf are fitted on all networks of the zoo, since a plant's sister may be any of them;
neither uses labels of held-out records. ``docs/benchmark.md`` leaves whole data sets out instead.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_server.generator import checkpoint
from wg_server.generator.card import clustered
from wg_server.generator.episodes import Plants, Scenario
from wg_server.generator.networks import sampler
from wg_server.generator.networks.condition import settled
from wg_server.generator.networks.denoiser import (
    NetworkDenoiser,
    NetworkDenoiserConfig,
    Weights,
    collate,
)
from wg_server.generator.networks.episodes import NetworkEpisode, Zoo, draw, logits
from wg_server.generator.networks.plan import NetworkTraining

log = logging.getLogger(__name__)

_TEMPERATURES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0)
_FIXED_LATENT = 0.1
_SCENARIO = Scenario(sisters=2)
"""A third of the plants stand alone: an edge device is where few others have released anything."""
_GATES = (0.1, 0.25, 0.5, 0.75, 1.0)
Progress = Callable[[int, str], None]


def fit(
    plan: NetworkTraining,
    seed: int,
    zoos: Mapping[str, Zoo],
    plants: tuple[Plants, Plants],
    families: tuple[frozenset[str], frozenset[str]],
    path: Path,
    identity: str,
    progress: Progress,
) -> tuple[NetworkDenoiser, dict[str, float]]:
    """Train a denoiser.

    Args:
        plan: Steps, sizes, rates.
        seed: Of everything random.
        zoos: By architecture.
        plants: To draw training and validation episodes from.
        families: Of training and validation.
        path: Of the checkpoint; whoever keeps the result removes it.
        identity: What a checkpoint must belong to.
        progress: Called with steps done and a few words.

    Returns:
        The best moving average, in evaluation mode, and figures of the training.
    """
    first = next(iter(zoos.values()))
    shelf = first.knowledge.shelf
    model = NetworkDenoiser(
        NetworkDenoiserConfig(
            dimension=shelf.deviations.shape[1],
            parts=shelf.latents.shape[1],
            latent=shelf.latents.shape[2],
            architectures=len(zoos),
            width=plan.width,
            depth=plan.depth,
        )
    )
    model.draw(torch.Generator().manual_seed(seed))
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=0.02)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    best = {k: v.clone() for k, v in average.items()}
    place = checkpoint.load(path, identity, model, {"average": average, "best": best}, optimiser)
    rng = np.random.default_rng((seed, 44))
    fixed = [draw(plants[1], zoos, families[1], rng, _SCENARIO) for _ in range(plan.episodes)]
    watch = NetworkDenoiser(model.config).eval()
    started = time.monotonic() - place.seconds
    if place.step == 0:
        watch.load_state_dict(average)
        place.best, right = validate(watch, zoos, fixed)
        progress(0, f"skeletons {right:.3f} on left-out families")
    while place.step < plan.steps and place.stale < plan.patience:
        rng = np.random.default_rng((seed, 45, place.step))
        episodes = [draw(plants[0], zoos, families[0], rng, _SCENARIO) for _ in range(plan.batch)]
        rate = plan.learning_rate * min(1.0, (place.step + 1) / 50)
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + np.cos(np.pi * place.step / plan.steps))
        generator = torch.Generator().manual_seed(seed + 1_000_003 * place.step)
        optimiser.zero_grad(set_to_none=True)
        loss(model, zoos, episodes, plan, generator).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        place.step += 1
        decay = min(plan.average, (1 + place.step) / (10 + place.step))
        for name, value in model.state_dict().items():
            average[name].lerp_(value, 1 - decay)
        if place.step % plan.evaluate_every == 0 or place.step == plan.steps:
            watch.load_state_dict(average)
            value, right = validate(watch, zoos, fixed)
            place.stale += 1
            if value < place.best - 1e-4:
                place.best, place.stale = value, 0
                best.update({k: v.clone() for k, v in average.items()})
            place.seconds = time.monotonic() - started
            states = {"average": average, "best": best}
            checkpoint.save(path, identity, place, model, states, optimiser)
            progress(place.step, f"{right:.3f} on left-out families")
    model.load_state_dict(best)
    model.eval()
    model.gate.fill_(_gate(model, zoos, fixed))
    figures = {
        "steps": place.step,
        "seconds": place.seconds,
        "validation_loss": place.best,
        "gate": float(model.gate),
    }
    return model, figures


def _gate(
    model: NetworkDenoiser, zoos: Mapping[str, Zoo], episodes: Sequence[NetworkEpisode]
) -> float:
    """Share of what was learned that is kept: the most accurate on left-out families.

    At least a tenth, so that samples are not all the skeleton; and no more, unless more gets more
    right by more than one standard error, clustered by family.
    """
    scores = []
    for gate in _GATES:
        model.gate.fill_(gate)
        scores.append(judge(model, zoos, episodes)[1])
    best = int(np.argmax([score.mean() for score in scores]))
    families = [episode.plant.family for episode in episodes]
    gain, error = clustered(scores[best] - scores[0], families)
    return _GATES[best] if gain > error else _GATES[0]


def loss(
    model: NetworkDenoiser,
    zoos: Mapping[str, Zoo],
    episodes: Sequence[NetworkEpisode],
    plan: NetworkTraining,
    generator: torch.Generator,
) -> Tensor:
    """Latent denoising loss of all episodes plus functional loss of the first few."""
    names = sorted(zoos)
    batch = collate(
        [e.condition for e in episodes], [names.index(e.architecture) for e in episodes]
    )
    clean = targets(episodes, batch.class_mask.shape[1])
    b = len(episodes)
    fixed = torch.rand(b, generator=generator) < plan.deterministic
    times = torch.sigmoid(torch.randn(b, generator=generator) + 0.5)
    times = torch.where(fixed, torch.ones(b), times)
    free = (~fixed)[:, None, None]
    noise = Weights(
        torch.randn(clean.rows.shape, generator=generator) * free,
        torch.randn(clean.latents.shape, generator=generator) * free,
    )
    found = model(clean.mix(noise, times), times, batch)
    mask = batch.class_mask.unsqueeze(-1)
    rows = ((found.rows - clean.rows).square() * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)) / 65
    latents = (found.latents - clean.latents).square().mean(dim=(1, 2))
    weight = torch.where(fixed, _FIXED_LATENT, 1.0)
    total: Tensor = ((rows + latents) * weight).mean()
    some = range(min(plan.functional_episodes, b))
    value = torch.stack([functional(zoos, episodes[i], found, i) for i in some]).mean()
    total = total + plan.functional * value
    return total


def functional(
    zoos: Mapping[str, Zoo], episode: NetworkEpisode, weights: Weights, row: int
) -> Tensor:
    """Cross-entropy of generated weights on held-out records, at the best temperature.

    A plant sets the temperature on its own records; otherwise most of the loss would be about
    confidence.
    """
    k = len(episode.plant.labels)
    network = settled(episode.condition, weights.rows[row, :k], weights.latents[row])
    found = logits(zoos[episode.architecture], episode, network)
    answers = torch.from_numpy(episode.answers)
    with torch.no_grad():
        best = min(_TEMPERATURES, key=lambda t: float(F.cross_entropy(found * t, answers)))
    return F.cross_entropy(found * best, answers)


def validate(
    model: NetworkDenoiser, zoos: Mapping[str, Zoo], episodes: Sequence[NetworkEpisode]
) -> tuple[float, float]:
    """Mean functional loss and accuracy of the deterministic networks."""
    losses, right = judge(model, zoos, episodes)
    return float(losses.mean()), float(right.mean())


def judge(
    model: NetworkDenoiser, zoos: Mapping[str, Zoo], episodes: Sequence[NetworkEpisode]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Functional loss and accuracy of the deterministic network of each episode."""
    names = sorted(zoos)
    losses, right = [], []
    with torch.inference_mode():
        for episode in episodes:
            batch = collate([episode.condition], [names.index(episode.architecture)])
            found = sampler.deterministic(model, batch)
            losses.append(float(functional(zoos, episode, found, 0)))
            network = settled(episode.condition, found.rows[0], found.latents[0])
            scores = logits(zoos[episode.architecture], episode, network)
            right.append(float((scores.argmax(dim=1).numpy() == episode.answers).mean()))
    return np.array(losses), np.array(right)


def targets(episodes: Sequence[NetworkEpisode], classes: int) -> Weights:
    """Clean weights of episodes, padded."""
    rows = torch.zeros(len(episodes), classes, 65)
    for index, episode in enumerate(episodes):
        rows[index, : len(episode.rows)] = torch.from_numpy(episode.rows)
    return Weights(rows, torch.from_numpy(np.stack([e.latents for e in episodes])))
