"""What a training of the generator of whole networks optimises.

It stands on a trained generator of heads: its priors, its split of families, its condition. The
losses are those of heads: of latents (head rows and layer parts, a rectified flow whose network
predicts the clean weights), and the cross-entropy of the decoded network on held-out records, which
runs the networks and is therefore taken of a few episodes a step. The untrained denoiser, an even
mixture of its two priors, is among the contenders.

Codec and index are fitted on all networks of the zoo, since a plant may be of any family of it;
neither uses labels of held-out records. ``docs/benchmark.md`` leaves whole data sets out instead.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.simulation.episodes import Plants, Scenario
from wg_server.generator.statistics import clearly_best
from wg_server.generator.training import compute
from wg_server.generator.training.compute import CPU, Compute
from wg_server.generator.training.objective import Evaluation
from wg_server.generator.weights import flow, sampler
from wg_server.generator.weights.network_condition import final_weights
from wg_server.generator.weights.network_denoiser import (
    NetworkBatch,
    NetworkDenoiser,
    NetworkDenoiserConfig,
    Weights,
    collate,
)
from wg_server.generator.weights.network_episodes import NetworkEpisode, NetworkZoo, draw, logits
from wg_server.generator.weights.network_plan import NetworkTraining
from wg_server.generator.weights.transformer import stacked

_TEMPERATURES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0)
_FIXED_LATENT = 0.1
SCENARIO = Scenario(same_family=2)
"""A third of the plants stand alone: an edge device is where few others have released anything."""
_GATES = (0.1, 0.25, 0.5, 0.75, 1.0)
Floats = NDArray[np.float64]
Step = tuple[flow.Generators, list[NetworkEpisode]]
"""One generator an episode, and the episodes."""


class NetworkObjective:
    """Trains a denoiser of whole networks. An ``Objective`` of drawn episodes."""

    keeps_initial = True

    def __init__(
        self,
        zoos: Mapping[str, NetworkZoo],
        plants: tuple[Plants, Plants],
        families: tuple[frozenset[str], frozenset[str]],
        plan: NetworkTraining,
        seed: int,
        *,
        backend: Compute = CPU,
    ) -> None:
        """Draw the denoiser's initial weights.

        Args:
            zoos: By architecture.
            plants: To draw training and validation episodes from.
            families: Of training and validation.
            plan: Sizes and weights of the losses.
            seed: Of everything random.
            backend: Where it is computed.
        """
        self._zoos, self._plants, self._families = zoos, plants, families
        self._plan, self._seed, self._how = plan, seed, backend
        self._moved = moved(zoos, backend)
        self.model = NetworkDenoiser(_config(zoos, plan))
        self.model.draw(torch.Generator().manual_seed(seed))

    def batches(self, steps: range) -> Generator[Step, None, None]:
        """See ``Objective``."""
        for step in steps:
            rngs = [
                streams.rng(Stream.NETWORK_STEP, self._seed, then=(step, number))
                for number in range(self._plan.batch)
            ]
            plants, families = self._plants[0], self._families[0]
            yield rngs, [draw(plants, self._zoos, families, rng, SCENARIO) for rng in rngs]

    def loss(self, batch: Step, step: int) -> Tensor:
        """See ``Objective``."""
        rngs, episodes = batch
        return loss(self.model, self._moved, episodes, self._plan, rngs, self._how)

    def evaluate(self, model: NetworkDenoiser) -> Evaluation:
        """See ``Objective``."""
        losses, right = judge(model, self._moved, self._validation)
        return Evaluation(float(losses.mean()), float(right.mean()))

    def finish(self) -> None:
        """Set the gate of the trained network: the most accurate on left-out families.

        At least a tenth, so that samples are not all the prior; and no more, unless more gets more
        right by more than one standard error, clustered by family.
        """
        scores = []
        for gate in _GATES:
            self.model.gate.fill_(gate)
            scores.append(judge(self.model, self._zoos, self._validation)[1])
        families = [episode.plant.family for episode in self._validation]
        self.model.gate.fill_(_GATES[clearly_best(np.array(scores), families)])

    @cached_property
    def _validation(self) -> list[NetworkEpisode]:
        rng = streams.rng(Stream.NETWORK_VALIDATION, self._seed)
        plants, families = self._plants[1], self._families[1]
        return [
            draw(plants, self._zoos, families, rng, SCENARIO) for _ in range(self._plan.episodes)
        ]


def _config(zoos: Mapping[str, NetworkZoo], plan: NetworkTraining) -> NetworkDenoiserConfig:
    indexes = [zoo.fitted_priors.index for zoo in zoos.values()]
    return NetworkDenoiserConfig(
        dimension=indexes[0].deviations.shape[1],
        parts=max(index.latents.shape[1] for index in indexes),
        latent=indexes[0].latents.shape[2],
        architectures=len(zoos),
        row=max(index.rows.shape[1] for index in indexes),
        width=plan.width,
        depth=plan.depth,
    )


def loss(
    model: NetworkDenoiser,
    zoos: Mapping[str, NetworkZoo],
    episodes: Sequence[NetworkEpisode],
    plan: NetworkTraining,
    rngs: flow.Generators,
    backend: Compute = CPU,
) -> Tensor:
    """Latent denoising loss of all episodes plus functional loss of the first few.

    Args:
        model: On the device.
        zoos: By architecture, decoders on the device.
        episodes: Of a step.
        plan: Weights of the losses.
        rngs: One an episode.
        backend: Where it is computed.
    """
    names = sorted(zoos)
    batch = collate(
        [e.condition for e in episodes],
        [names.index(e.architecture) for e in episodes],
        model.config,
    )
    clean = targets(episodes, batch)
    fixed, times = flow.draw_times(rngs, plan.deterministic)
    parts, latent = clean.latents.shape[1:]
    classes = [len(e.rows) for e in episodes]
    noise = Weights(
        flow.draw_noise(rngs, fixed, classes, clean.rows.shape[2]),
        flow.draw_noise(rngs, fixed, [parts] * len(rngs), latent),
    )
    batch, clean = compute.on(batch, backend.device), clean.to(backend.device)
    noise, times = noise.to(backend.device), times.to(backend.device)
    with backend.autocast():
        prediction = model(clean.mix(noise, times), times, batch)
    prediction = Weights(prediction.rows.float(), prediction.latents.float())
    weight = torch.where(fixed, _FIXED_LATENT, 1.0).to(backend.device)
    total: Tensor = (_latent_error(prediction, clean, batch) * weight).sum() / plan.batch
    episode_count = min(plan.functional_episodes, plan.batch)
    answers = prediction.to(CPU.device)
    for row in range(episode_count):
        value = functional(zoos, episodes[row], answers, row)
        total = total + plan.functional / episode_count * value.to(backend.device)
    return total


def _latent_error(prediction: Weights, clean: Weights, batch: NetworkBatch) -> Tensor:
    """Mean squared error of head rows plus that of layer latents, ``[B]``, without padding."""
    mask = batch.class_mask.unsqueeze(-1)
    rows = ((prediction.rows - clean.rows).square() * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2))
    rows = rows / batch.row_mask.sum(dim=1)
    latents = (prediction.latents - clean.latents).square().sum(dim=(1, 2))
    size = clean.latents.shape[2] * batch.part_mask.sum(dim=1)
    return rows + latents / size.clamp_min(1)


def moved(zoos: Mapping[str, NetworkZoo], backend: Compute) -> dict[str, NetworkZoo]:
    """Zoos whose networks run on the device."""
    device_zoos = {}
    for name, zoo in zoos.items():
        codec = zoo.decoder.codec.to(backend.device)
        device_zoos[name] = replace(
            zoo, decoder=replace(zoo.decoder, codec=codec, device=backend.device)
        )
    return device_zoos


def functional(
    zoos: Mapping[str, NetworkZoo], episode: NetworkEpisode, weights: Weights, row: int
) -> Tensor:
    """Cross-entropy of generated weights on held-out records, at the best temperature.

    A plant sets the temperature on its own records; otherwise most of the loss would be about
    confidence.
    """
    return _task_loss(_logits(zoos, episode, weights, row), episode)


def judge(
    model: NetworkDenoiser, zoos: Mapping[str, NetworkZoo], episodes: Sequence[NetworkEpisode]
) -> tuple[Floats, Floats]:
    """Functional loss and accuracy of the deterministic network of each episode."""
    names = sorted(zoos)
    losses, right = [], []
    with torch.inference_mode():
        for episode in episodes:
            number = names.index(episode.architecture)
            batch = collate([episode.condition], [number], model.config)
            batch = compute.on(batch, model.gate.device)
            prediction = sampler.deterministic(model, batch).to(CPU.device)
            scores = _logits(zoos, episode, prediction, 0)
            losses.append(float(_task_loss(scores, episode)))
            right.append(float((scores.argmax(dim=1).numpy() == episode.answers).mean()))
    return np.array(losses), np.array(right)


def _logits(
    zoos: Mapping[str, NetworkZoo], episode: NetworkEpisode, weights: Weights, row: int
) -> Tensor:
    """Logits ``[q, K]`` of the network that one row of a batch of weights stands for."""
    k = len(episode.plant.labels)
    network = final_weights(episode.condition, weights.rows[row, :k], weights.latents[row])
    return logits(zoos[episode.architecture], episode, network)


def _task_loss(scores: Tensor, episode: NetworkEpisode) -> Tensor:
    answers = torch.from_numpy(episode.answers)
    with torch.no_grad():
        best = min(_TEMPERATURES, key=lambda t: float(F.cross_entropy(scores * t, answers)))
    return F.cross_entropy(scores * best, answers)


def targets(episodes: Sequence[NetworkEpisode], batch: NetworkBatch) -> Weights:
    """Clean weights of episodes, padded as the batch of their conditions is."""
    rows, latents = batch.regression_rows.shape[1:], batch.retrieved_latents.shape[1:]
    return Weights(
        stacked([e.rows for e in episodes], *rows), stacked([e.latents for e in episodes], *latents)
    )
