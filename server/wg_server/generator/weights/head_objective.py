"""What a training of the generator of heads optimises: latent denoising and a functional loss.

Each step draws fresh plants with fresh release noise. The latent loss is that of a rectified flow
whose network predicts the clean latent; the functional loss is the cross-entropy of the decoded
head on held-out records. Some episodes train the answer without noise, which is the one delivered
first. After the training, a gate keeps the share of the learned residual that does best on
left-out families, and a temperature is set.
"""

import functools
import math
from collections.abc import Generator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common import streams
from wg_common.streams import Stream
from wg_server.generator.prior import blup
from wg_server.generator.prior.blup import Priors
from wg_server.generator.simulation import prefetch
from wg_server.generator.simulation.data import TrainingData
from wg_server.generator.simulation.episodes import Episode, Plants
from wg_server.generator.training import compute
from wg_server.generator.training.compute import CPU, Compute
from wg_server.generator.training.objective import Evaluation
from wg_server.generator.training.plan import TrainingPlan
from wg_server.generator.weights import flow, sampler
from wg_server.generator.weights import head_batch as batches
from wg_server.generator.weights.codec import Codec, fit_codec
from wg_server.generator.weights.flow import Noise
from wg_server.generator.weights.head_batch import Targets
from wg_server.generator.weights.head_denoiser import (
    Batch,
    Denoiser,
    DenoiserConfig,
    decode,
    joined,
)

_CODEC_EPISODES = 150
_GROUP = 30  # Episodes of one batch where nothing is trained
_GATES = (0.25, 0.5, 0.75, 1.0)
_FIXED_LATENT = 0.05
"""Weight of the latent loss of the answer without noise: it is for the task, and only samples must
follow the zoo's weights."""
_TEMPERATURES = (1.0, 2.0, 4.0, 7.0, 12.0, 20.0, 35.0)
_DELIVERED = tuple(float(t) for t in np.geomspace(1.0, 60.0, 42))


class HeadObjective:
    """Trains a denoiser of heads. An ``Objective`` of batches of episodes.

    Initial weights are not kept: their samples are all one, and the gate sees to it that a weak
    training costs little.
    """

    keeps_initial = False

    def __init__(
        self,
        data: TrainingData,
        plan: TrainingPlan,
        seed: int,
        *,
        workers: int = 0,
        backend: Compute = CPU,
    ) -> None:
        """Fit the codec and draw the denoiser's initial weights.

        Args:
            workers: Processes that draw episodes ahead; 0 draws in line.
        """
        self._data, self._plan, self._seed = data, plan, seed
        self._workers, self._how = workers, backend
        self.codec = codec_of(data.train, plan.latent, streams.rng(Stream.CODEC_EPISODES, seed))
        self.model = Denoiser(
            DenoiserConfig(
                dimension=data.tasks[0].features.shape[1],
                latent=self.codec.latent,
                width=plan.width,
                depth=plan.depth,
            )
        )
        self.model.draw(torch.Generator().manual_seed(seed))
        self._moved = self.codec.to(backend.device)

    def batches(self, steps: range) -> Generator[list[Episode], None, None]:
        """See ``Objective``."""
        numbers = range(self._plan.batch)
        draw = functools.partial(self._data.train.draw_step, self._seed, numbers)
        return prefetch.batches(draw, steps, self._workers)

    def loss(self, batch: list[Episode], step: int) -> Tensor:
        """See ``Objective``."""
        device, plan = self._how.device, self._plan
        rngs = [streams.rng(Stream.STEP, self._seed, then=(step, n)) for n in range(plan.batch)]
        condition, targets = batches.augment(*batches.collate_episodes(batch), rngs)
        rows = [len(episode.labels) for episode in batch]
        noise = flow.draw(rngs, plan.deterministic, rows, self.codec.latent)
        return loss(
            self.model,
            self._moved,
            compute.on(condition, device),
            compute.on(targets, device),
            plan.functional,
            compute.on(noise, device),
            self._how,
        )

    def evaluate(self, model: Denoiser) -> Evaluation:
        """See ``Objective``."""
        return evaluate(model, self._moved, self._validation)

    def finish(self) -> tuple[Codec, float]:
        """Choose the gate and set the temperature of the trained network.

        Returns:
            The codec that decodes the gate's share of a residual, and the gate.
        """
        rng = streams.rng(Stream.GATE_EPISODES, self._seed)
        episodes = self._data.validation.draw_many(rng, 4 * self._plan.episodes)
        gate = _gate(self.model, self.codec, episodes)
        shrunk = self.codec.shrunk(gate)
        _set_temperature(self.model, shrunk, self._data.fitted_priors.priors, episodes)
        return shrunk, gate

    @functools.cached_property
    def _validation(self) -> list[Episode]:
        rng = streams.rng(Stream.VALIDATION_EPISODES, self._seed)
        return self._data.validation.draw_many(rng, self._plan.episodes)


def codec_of(plants: Plants, latent: int, rng: np.random.Generator) -> Codec:
    """Fit a codec on residuals of simulated plants, turned as training turns them."""
    episodes, rows = plants.draw_many(rng, _CODEC_EPISODES), []
    for part in _grouped(episodes):
        batch, targets = batches.collate_episodes(part)
        batch, targets = batches.augment(batch, targets, [rng] * len(part))
        weight, bias = targets.weight - batch.weight, targets.bias - batch.bias
        both = joined(weight, bias)[batch.class_mask]
        rows.append(both.numpy().astype(np.float64))
    residuals = np.concatenate(rows)
    return fit_codec(residuals, min(latent, residuals.shape[1]))


def loss(
    model: Denoiser,
    codec: Codec,
    batch: Batch,
    targets: Targets,
    weight: float,
    noise: Noise,
    backend: Compute = CPU,
) -> Tensor:
    """Latent loss plus ``weight`` times the functional loss, the mean of a batch's episodes."""
    clean = codec.encode(
        joined(targets.weight - batch.weight, targets.bias - batch.bias)
    )  # [B, K, l]
    noisy = flow.mix(clean, noise.latent, noise.time)
    with backend.autocast():
        prediction = model(noisy, noise.time, batch)
    prediction = prediction.float()
    mask = batch.class_mask.unsqueeze(-1)
    error = ((prediction - clean).square() * mask).sum(dim=(1, 2)) / (
        mask.sum(dim=1) * clean.shape[2]
    )[:, 0]
    latent = (error * torch.where(noise.fixed, _FIXED_LATENT, 1.0)).mean()
    total: Tensor = latent + weight * functional(model, codec, batch, targets, prediction)
    return total


def functional(
    model: Denoiser, codec: Codec, batch: Batch, targets: Targets, latent: Tensor
) -> Tensor:
    """Cross-entropy on held-out records of the heads that latents decode to.

    The generator's one temperature learns beside it, without moving the weights.
    """
    logits = head_logits(batch, targets, *decode(codec, batch, (latent,)))
    value = task_loss(logits, targets)
    fixed = _per_episode(logits.detach() * model.log_temperature.exp(), targets).mean()
    return value + 0.1 * (fixed - fixed.detach())


def head_logits(batch: Batch, targets: Targets, weight: Tensor, bias: Tensor) -> Tensor:
    """Logits ``[B, Q, K]`` of heads on the held-out records; classes that are padding have none."""
    logits = torch.einsum("bqd,bkd->bqk", targets.queries, weight) + bias.unsqueeze(1)
    return logits.masked_fill(~batch.class_mask.unsqueeze(1), -1e4)


def task_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Mean cross-entropy of episodes, each at its own best temperature.

    A plant sets the temperature on its own records; otherwise most of the loss would be about
    confidence and not about classes.
    """
    with torch.no_grad():
        tried = torch.stack([_per_episode(logits * t, targets) for t in _TEMPERATURES])
        best = logits.new_tensor(_TEMPERATURES)[tried.argmin(dim=0)]
    return _per_episode(logits * best[:, None, None], targets).mean()


def evaluate(model: Denoiser, codec: Codec, episodes: Sequence[Episode]) -> Evaluation:
    """Functional loss and accuracy of the deterministic head."""
    total, right = 0.0, []
    device = codec.decode_matrix.device
    with torch.inference_mode():
        for part in _grouped(episodes):
            batch, targets = batches.collate_episodes(part)
            batch, targets = compute.on(batch, device), compute.on(targets, device)
            latents = sampler.deterministic(model, batch)
            total += float(functional(model, codec, batch, targets, latents[0])) * len(part)
            weight, bias = (tensor.cpu() for tensor in decode(codec, batch, latents))
            for row, episode in enumerate(part):
                k = len(episode.labels)
                right.append(episode.accuracy((weight[row, :k].numpy(), bias[row, :k].numpy())))
    return Evaluation(total / len(episodes), float(np.mean(right)))


def _gate(model: Denoiser, codec: Codec, episodes: Sequence[Episode]) -> float:
    """Share of the predicted residual that is kept: the best on left-out families, at least .25.

    A network that learnt little on a small zoo must not spoil a good prior head.
    """
    scores = [evaluate(model, codec.shrunk(gate), episodes).accuracy for gate in _GATES]
    return _GATES[int(np.argmax(scores))]


@torch.no_grad()
def _set_temperature(
    model: Denoiser, codec: Codec, priors: Priors, episodes: Sequence[Episode]
) -> None:
    """Set the one temperature that heads are delivered at, beside the confidence of each.

    The least cross-entropy on left-out families; it moves no argmax.
    """
    total: NDArray[np.float64] = np.zeros(len(_DELIVERED))
    for part in _grouped(episodes):
        batch, targets = batches.collate_episodes(part)
        weight, bias = decode(codec, batch, sampler.deterministic(model, batch))
        logits = torch.einsum("bqd,bkd->bqk", targets.queries, weight) + bias.unsqueeze(1)
        confidence = torch.tensor([blup.confidence(priors, e.estimate) for e in part])
        logits = logits * confidence.to(logits.dtype)[:, None, None]
        logits = logits.masked_fill(~batch.class_mask.unsqueeze(1), -1e9)
        total += [float(_per_episode(logits * t, targets).sum()) for t in _DELIVERED]
    model.log_temperature.fill_(math.log(_DELIVERED[int(np.argmin(total))]))


def _grouped(episodes: Sequence[Episode]) -> list[Sequence[Episode]]:
    return [episodes[start : start + _GROUP] for start in range(0, len(episodes), _GROUP)]


def _per_episode(logits: Tensor, targets: Targets) -> Tensor:
    """Mean cross-entropy of each episode, ``[B]``."""
    flat = F.cross_entropy(
        logits.flatten(0, 1), targets.answers.flatten(), ignore_index=-1, reduction="none"
    )
    count = (targets.answers >= 0).sum(dim=1).clamp(min=1)
    return flat.reshape(targets.answers.shape).sum(dim=1) / count
