"""Training the generator of whole networks: latent denoising and functional loss.

It stands on a trained generator of heads: its priors, its split of families, its condition.
Episodes are drawn from generators seeded by step and number, so an interrupted training goes on as
if it had not been interrupted. The best moving average on left-out families is kept; the untrained
denoiser, an even blend of its skeletons, is among the contenders.

Codec and shelf are fitted on all networks of the zoo, since a plant's sister may be any of them;
neither uses labels of held-out records. ``docs/benchmark.md`` leaves whole data sets out instead.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.networks import sampler
from wg_server.generator.networks.condition import settled
from wg_server.generator.networks.denoiser import (
    NetworkBatch,
    NetworkDenoiser,
    NetworkDenoiserConfig,
    Weights,
    collate,
    padded,
)
from wg_server.generator.networks.episodes import NetworkEpisode, Zoo, draw, logits
from wg_server.generator.networks.plan import NetworkTraining
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.statistics import clustered
from wg_server.generator.training import checkpoint, compute
from wg_server.generator.training import noise as training_noise
from wg_server.generator.training.compute import CPU, Compute

log = logging.getLogger(__name__)

_TEMPERATURES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0)
_FIXED_LATENT = 0.1
SCENARIO = Scenario(sisters=2)
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
    how: Compute = CPU,
) -> tuple[NetworkDenoiser, dict[str, Any]]:
    """Train a denoiser.

    Args:
        plan: Steps, sizes, rates.
        seed: Of everything random.
        zoos: By architecture.
        plants: To draw training and validation episodes from.
        families: Of training and validation.
        path: Of the checkpoint; whoever keeps the result removes it.
        identity: What a checkpoint must belong to.
        progress: Called by the first rank with steps done and a few words.
        how: Where it is computed.

    Returns:
        The best moving average, in evaluation mode, and figures of the training; both of use on
        the first rank alone.
    """
    indexes = [zoo.fitted_priors.retrieval_index for zoo in zoos.values()]
    model = NetworkDenoiser(
        NetworkDenoiserConfig(
            dimension=indexes[0].deviations.shape[1],
            parts=max(retrieval_index.latents.shape[1] for retrieval_index in indexes),
            latent=indexes[0].latents.shape[2],
            architectures=len(zoos),
            row=max(retrieval_index.rows.shape[1] for retrieval_index in indexes),
            width=plan.width,
            depth=plan.depth,
        )
    )
    model.draw(torch.Generator().manual_seed(seed))
    model.to(how.device)
    process_group, means = how.process_group, how.name()
    there = moved(zoos, how)
    optimiser = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=0.02)
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    best = {k: v.clone() for k, v in average.items()}
    states = {"average": average, "best": best}
    place = checkpoint.load(path, identity, model, states, optimiser, process_group)
    rng = streams.rng(Stream.NETWORK_VALIDATION, seed)
    fixed = [
        draw(plants[1], zoos, families[1], rng, SCENARIO)
        for _ in range(plan.episodes if process_group.first else 0)
    ]
    watch = NetworkDenoiser(model.config).eval().to(how.device)
    started = time.monotonic() - place.seconds
    if process_group.first and place.step == 0:
        watch.load_state_dict(average)
        place.best, right = validate(watch, there, fixed)
        progress(0, f"skeletons {right:.3f} on left-out families")
    while place.step < plan.steps and place.stale < plan.patience:
        numbers = process_group.share(plan.batch)
        rngs = [
            streams.rng(Stream.NETWORK_STEP, seed, then=(place.step, number)) for number in numbers
        ]
        episodes = [draw(plants[0], zoos, families[0], rng, SCENARIO) for rng in rngs]
        rate = plan.learning_rate * min(1.0, (place.step + 1) / 50)
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + np.cos(np.pi * place.step / plan.steps))
        optimiser.zero_grad(set_to_none=True)
        value = loss(model, there, episodes, plan, rngs, how)
        value.backward()  # type: ignore[no-untyped-call]
        process_group.add_gradients(list(model.parameters()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        place.done(means)
        decay = min(plan.average, (1 + place.step) / (10 + place.step))
        for name, tensor in model.state_dict().items() if process_group.first else ():
            average[name].lerp_(tensor, 1 - decay)
        if place.step % plan.evaluate_every and place.step != plan.steps:
            continue
        if process_group.first:
            watch.load_state_dict(average)
            lost, right = validate(watch, there, fixed)
            place.stale += 1
            if lost < place.best - 1e-4:
                place.best, place.stale = lost, 0
                best.update({k: v.clone() for k, v in average.items()})
            place.seconds = time.monotonic() - started
            checkpoint.save(path, identity, place, model, states, optimiser)
            progress(place.step, f"{right:.3f} on left-out families")
        place.stale = int(process_group.from_first(b"%d" % place.stale))
    model.load_state_dict(best)
    model.eval().cpu()
    if not process_group.first:
        return model, {}
    model.gate.fill_(_gate(model, zoos, fixed))
    figures = {
        "steps": place.step,
        "seconds": place.seconds,
        "computed": place.computed,
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
    rngs: training_noise.Generators,
    how: Compute = CPU,
) -> Tensor:
    """Latent denoising loss of all episodes plus functional loss of the first few.

    Args:
        model: On the device.
        zoos: By architecture, decoders on the device.
        episodes: This rank's share of a step's.
        plan: Weights of the losses.
        rngs: One an episode.
        how: Where it is computed.

    Returns:
        This rank's part: the sum over ranks is the step's loss.
    """
    numbers = how.process_group.share(plan.batch)
    names = sorted(zoos)
    batch = collate(
        [e.condition for e in episodes],
        [names.index(e.architecture) for e in episodes],
        model.config,
    )
    clean = targets(episodes, batch)
    fixed, times = training_noise.draw_times(rngs, plan.deterministic)
    parts, latent = clean.latents.shape[1:]
    classes = [len(e.rows) for e in episodes]
    noise = Weights(
        training_noise.draw_noise(rngs, fixed, classes, clean.rows.shape[2]),
        training_noise.draw_noise(rngs, fixed, [parts] * len(rngs), latent),
    )
    batch, clean = compute.on(batch, how.device), compute.on(clean, how.device)
    noise, times = compute.on(noise, how.device), times.to(how.device)
    with how.autocast():
        found = model(clean.mix(noise, times), times, batch)
    found = Weights(found.rows.float(), found.latents.float())
    mask = batch.class_mask.unsqueeze(-1)
    rows = ((found.rows - clean.rows).square() * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2))
    rows = rows / batch.row_mask.sum(dim=1)
    latents = (found.latents - clean.latents).square().sum(dim=(1, 2))
    latents = latents / (latent * batch.part_mask.sum(dim=1)).clamp_min(1)
    weight = torch.where(fixed, _FIXED_LATENT, 1.0).to(how.device)
    total: Tensor = ((rows + latents) * weight).sum() / plan.batch
    most = min(plan.functional_episodes, plan.batch)
    answers = compute.on(found, CPU.device)
    for row, number in enumerate(numbers):
        if number < most:
            value = functional(zoos, episodes[row], answers, row)
            total = total + plan.functional / most * value.to(how.device)
    return total


def moved(zoos: Mapping[str, Zoo], how: Compute) -> dict[str, Zoo]:
    """Zoos whose networks run on the device."""
    found = {}
    for name, zoo in zoos.items():
        codec = zoo.decoder.codec.to(how.device)
        found[name] = replace(zoo, decoder=replace(zoo.decoder, codec=codec, device=how.device))
    return found


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
            number = names.index(episode.architecture)
            batch = collate([episode.condition], [number], model.config)
            batch = compute.on(batch, model.gate.device)
            found = compute.on(sampler.deterministic(model, batch), CPU.device)
            losses.append(float(functional(zoos, episode, found, 0)))
            network = settled(episode.condition, found.rows[0], found.latents[0])
            scores = logits(zoos[episode.architecture], episode, network)
            right.append(float((scores.argmax(dim=1).numpy() == episode.answers).mean()))
    return np.array(losses), np.array(right)


def targets(episodes: Sequence[NetworkEpisode], batch: NetworkBatch) -> Weights:
    """Clean weights of episodes, padded as the batch of their conditions is."""
    rows, latents = batch.bridged_rows.shape[1:], batch.retrieved_latents.shape[1:]
    return Weights(
        torch.from_numpy(np.stack([padded(e.rows, *rows) for e in episodes])),
        torch.from_numpy(np.stack([padded(e.latents, *latents) for e in episodes])),
    )
