"""Training the generator: latent denoising plus functional loss, on simulated plants.

Each step draws fresh episodes with fresh noise, each from a generator seeded by step and number, so
a training that was interrupted goes on as if it had not been. The best moving average on left-out
families is what is packed.

Of several processes each draws and computes its share of every step; the first one alone validates,
writes and makes the model card.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from wg_common import __version__, atomic, streams
from wg_common.errors import ConfigError
from wg_common.nets.encoder import package
from wg_common.nets.registry import HEADS
from wg_common.streams import Stream
from wg_common.wire import canonical
from wg_server.generator import baselines
from wg_server.generator import networks_pipeline as networks
from wg_server.generator.evaluation import checks as card_checks
from wg_server.generator.evaluation import head_card
from wg_server.generator.families import heads as operator_heads
from wg_server.generator.heads import batch as batches
from wg_server.generator.heads import sampler
from wg_server.generator.heads.batch import Targets
from wg_server.generator.heads.codec import Codec, fit_codec
from wg_server.generator.heads.denoiser import Batch, Denoiser, DenoiserConfig
from wg_server.generator.heads.package import Parts, pack
from wg_server.generator.plan import GeneratorPlan
from wg_server.generator.prior import blup, retrieval
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.fitted import FittedPriors, crossfit
from wg_server.generator.prior.zoo_tasks import Split, ZooTask, load_tasks, split_families
from wg_server.generator.simulation import prefetch
from wg_server.generator.simulation.episodes import Episode, Plants, Scenario
from wg_server.generator.training import checkpoint, compute, distributed
from wg_server.generator.training import noise as training_noise
from wg_server.generator.training.compute import CPU, Compute
from wg_server.generator.training.noise import Noise
from wg_server.site.home import ServerHome
from wg_server.zoo.store import Zoo
from wg_server.zoo.workers import threads

log = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
_CODEC_EPISODES = 150
_GATES = (0.25, 0.5, 0.75, 1.0)
_FIXED_LATENT = 0.05
_TEMPERATURES = (1.0, 2.0, 4.0, 7.0, 12.0, 20.0, 35.0)
_DELIVERED = tuple(float(t) for t in np.geomspace(1.0, 60.0, 42))
Progress = Callable[[int, str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What a training stands on: tasks, their split, and plants to draw from."""

    tasks: Sequence[ZooTask]
    split: Split
    fitted_priors: FittedPriors
    train: Plants
    validation: Plants
    test: Plants
    encoder: str


def train(
    home: ServerHome,
    plan: GeneratorPlan,
    *,
    progress: Progress,
    device: str = "cpu",
    precision: str = "auto",
    rank_info: distributed.RankInfo = distributed.RankInfo(),  # noqa: B008 - frozen
    wait: float = distributed.SECONDS,
) -> dict[str, Any]:
    """Train a generator on the home's zoo, write its package, and return its model card.

    Args:
        home: The server's home. Of several ranks only the first writes to it.
        plan: What is trained.
        progress: Called by the first rank with steps done and a few words.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32`` or ``bf16``.
        rank_info: This process's place among those that train together.
        wait: Seconds that a rank waits for the others at a step.

    Raises:
        ConfigError: There is no zoo, or too small a one; or no such device.
        PeerError: Another rank is gone or hangs.
    """
    chosen = compute.choose_device(device, rank_info)
    kind = compute.choose_precision(precision, chosen)
    for name, batch in (("batch", plan.batch), ("networks.batch", plan.networks.batch)):
        if batch < rank_info.world:
            raise ConfigError(f"{name}: {batch} episodes a step for {rank_info.world} processes")
    with (
        threads(plan.threads),
        compute.reproducible(chosen),
        distributed.joined(rank_info, chosen.type, wait) as group,
    ):
        return _train(home, plan, progress, Compute(chosen, kind, group))


def _train(
    home: ServerHome, plan: GeneratorPlan, progress: Progress, how: Compute
) -> dict[str, Any]:
    first = how.process_group.first
    data = atomic.read_bytes(home.encoder, limit=package.PACKAGE_LIMIT)
    encoder, modality = canonical.sha256_hex(data), package.read_modality(data)
    tasks = load_tasks(Zoo(home.zoo), encoder)
    dimension = tasks[0].features.shape[1]
    ground = prepare(tasks, plan, encoder)
    rng = streams.rng(Stream.CODEC_EPISODES, plan.seed)
    codec = _codec(ground, plan, rng)
    model = Denoiser(
        DenoiserConfig(dimension=dimension, latent=codec.latent, width=plan.width, depth=plan.depth)
    )
    model.draw(torch.Generator().manual_seed(plan.seed))
    identity = _identity(plan, encoder, tasks)
    how.process_group.check_same(
        "plan, zoo, precision or version", f"{identity} {how.precision} {__version__}"
    )
    place, best = _fit(home, plan, ground, codec, model, identity, progress, how)
    document: dict[str, Any] = {}
    if first:
        model.load_state_dict(best)
        document = _finish(home, plan, ground, codec, model, place, HEADS[modality], progress)
    heads = how.process_group.from_first(document.get("generator", "").encode()).decode()
    document["networks"] = networks.make(
        home,
        plan.networks,
        seed=plan.seed,
        tasks=tasks,
        split=ground.split,
        fitted_priors=ground.fitted_priors,
        encoder=encoder,
        heads=heads,
        progress=progress,
        how=how,
    )
    if first:
        # Not before: a training that is killed while it learns networks does not learn heads again.
        home.generator.with_name(CHECKPOINT).unlink(missing_ok=True)
    return how.process_group.document_of_first(document)


def _finish(
    home: ServerHome,
    plan: GeneratorPlan,
    ground: Ground,
    codec: Codec,
    model: Denoiser,
    place: checkpoint.Place,
    architecture: str,
    progress: Progress,
) -> dict[str, Any]:
    """Write the package of a trained denoiser and its model card, and return the card."""
    model.eval()
    progress(plan.steps, "writing the model card")
    known = _episodes(
        ground.validation, 4 * plan.episodes, streams.rng(Stream.GATE_EPISODES, plan.seed)
    )
    gate = _gate(model, codec, known)
    shrunk = Codec(codec.encode_matrix, gate * codec.decode_matrix)
    _set_temperature(model, shrunk, ground.fitted_priors.priors, known)
    parts = Parts(
        encoder=ground.encoder,
        architecture=architecture,
        denoiser=model,
        codec=shrunk,
        priors=ground.fitted_priors.priors,
        zoo_index=retrieval.with_neighbour_distance(ground.fitted_priors.zoo_index),
        operator_families=operator_heads.collect(ground.tasks),
    )
    packed = pack(parts)
    document = _card(plan, ground, parts, place, canonical.sha256_hex(packed))
    document["training"]["gate"] = gate
    document["codec"] = head_card.codec_fidelity(
        codec, _episodes(ground.test, plan.episodes, streams.rng(Stream.TEST_EPISODES, plan.seed))
    )
    checks = card_checks.head_checks(document)
    document["checks"] = [check.document() for check in checks]
    document["passes"] = all(check.passed for check in checks)
    document["alarms"] = card_checks.alarms(document)
    atomic.write_bytes(home.generator, packed)
    text = json.dumps(document, indent=2, sort_keys=True)
    atomic.write_bytes(home.model_card, text.encode())
    return document


def prepare(tasks: Sequence[ZooTask], plan: GeneratorPlan, encoder: str) -> Ground:
    """Split families, cross-fit what is known, and set up plants of each split."""
    split = split_families(tasks, streams.rng(Stream.FAMILY_SPLIT, plan.seed))
    blind, fitted_priors = crossfit(tasks, split.train, plan.folds)

    def plants(known: Mapping[str, FittedPriors]) -> Plants:
        return Plants(tasks, known, encoder, package.CLIP_RADIUS)

    return Ground(
        tasks,
        split,
        fitted_priors,
        plants(blind),
        plants(dict.fromkeys(split.validation, fitted_priors)),
        plants(dict.fromkeys(split.test, fitted_priors)),
        encoder,
    )


def loss(
    model: Denoiser,
    codec: Codec,
    batch: Batch,
    targets: Targets,
    plan: GeneratorPlan,
    noise: Noise,
    how: Compute = CPU,
) -> Tensor:
    """Latent denoising loss plus functional loss of one batch, the mean of its episodes."""
    residual = targets.weight - batch.weight, targets.bias - batch.bias
    clean = codec.encode(*residual)  # [B, K, latent]
    time_ = noise.time[:, None, None]
    noisy = clean * (1 - time_) + noise.latent * time_
    with how.autocast():
        found = model(noisy, noise.time, batch)
    found = found.float()
    mask = batch.class_mask.unsqueeze(-1)
    error = ((found - clean).square() * mask).sum(dim=(1, 2)) / (mask.sum(dim=1) * clean.shape[2])[
        :, 0
    ]
    # The deterministic head is for the task; only samples must follow the zoo's weights.
    latent = (error * torch.where(noise.fixed, _FIXED_LATENT, 1.0)).mean()
    total: Tensor = latent + plan.functional * functional(model, codec, batch, targets, found)
    return total


def functional(
    model: Denoiser, codec: Codec, batch: Batch, targets: Targets, latent: Tensor
) -> Tensor:
    """Cross-entropy on held-out records of the weights that latents decode to.

    Each episode is judged at its own best temperature: a plant sets that on its own records, and
    otherwise most of the loss would be about confidence and not about classes. The generator's one
    temperature learns beside, without moving the weights.
    """
    weight, bias = sampler.decode(codec, batch, latent)
    logits = torch.einsum("bqd,bkd->bqk", targets.queries, weight) + bias.unsqueeze(1)
    logits = logits.masked_fill(~batch.class_mask.unsqueeze(1), -1e4)
    with torch.no_grad():
        tried = torch.stack([_per_episode(logits * t, targets) for t in _TEMPERATURES])
        best = logits.new_tensor(_TEMPERATURES)[tried.argmin(dim=0)]
    value = _per_episode(logits * best[:, None, None], targets).mean()
    fixed = _per_episode(logits.detach() * model.log_temperature.exp(), targets).mean()
    return value + 0.1 * (fixed - fixed.detach())


def _per_episode(logits: Tensor, targets: Targets) -> Tensor:
    """Mean cross-entropy of each episode, ``[B]``."""
    flat = F.cross_entropy(
        logits.flatten(0, 1), targets.answers.flatten(), ignore_index=-1, reduction="none"
    )
    count = (targets.answers >= 0).sum(dim=1).clamp(min=1)
    return flat.reshape(targets.answers.shape).sum(dim=1) / count


def _fit(
    home: ServerHome,
    plan: GeneratorPlan,
    ground: Ground,
    codec: Codec,
    model: Denoiser,
    identity: str,
    progress: Progress,
    how: Compute,
) -> tuple[checkpoint.Place, dict[str, Tensor]]:
    """Train; the place, and on the first rank the best moving average, on the CPU."""
    first, device, means = how.process_group.first, how.device, how.name()
    model.to(device)
    codec = codec.to(device)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    best = {k: v.clone() for k, v in average.items()}
    states = {"average": average, "best": best}
    path = home.generator.with_name(CHECKPOINT)
    place = checkpoint.load(path, identity, model, states, optimiser, how.process_group)
    fixed = (
        _episodes(
            ground.validation, plan.episodes, streams.rng(Stream.VALIDATION_EPISODES, plan.seed)
        )
        if first
        else []
    )
    watch = Denoiser(model.config).to(device)
    started = time.monotonic() - place.seconds
    if first and place.step == 0:
        progress(0, f"skeleton {_prior_head(fixed):.3f} on left-out families")
    draw = prefetch.Draw(plan.seed, how.process_group.share(plan.batch))
    left = range(place.step, plan.steps)
    stream = prefetch.batches(ground.train, draw, left, plan.workers)
    with contextlib.closing(stream):
        while place.stale < plan.patience:
            episodes = next(stream, None)
            if episodes is None:
                break
            _step(model, codec, episodes, plan, optimiser, place.step, how)
            place.done(means)
            decay = min(plan.average, (1 + place.step) / (10 + place.step))
            for name, value in model.state_dict().items() if first else ():
                average[name].lerp_(value, 1 - decay)
            if place.step % plan.evaluate_every and place.step != plan.steps:
                continue
            if first:
                value, right = _validate(watch, average, codec, fixed)
                if value < place.best - 1e-4:
                    place.best, place.stale = value, 0
                    best.update({k: v.clone() for k, v in average.items()})
                else:
                    place.stale += 1
                place.seconds = time.monotonic() - started
                checkpoint.save(path, identity, place, model, states, optimiser)
                progress(place.step, f"loss {value:.4f}, {right:.3f} on left-out families")
            place.stale = int(how.process_group.from_first(b"%d" % place.stale))
    model.cpu()
    return place, {k: v.cpu() for k, v in best.items()}


def _step(
    model: Denoiser,
    codec: Codec,
    episodes: Sequence[Episode],
    plan: GeneratorPlan,
    optimiser: torch.optim.AdamW,
    step: int,
    how: Compute = CPU,
) -> None:
    numbers = how.process_group.share(plan.batch)
    rngs = [streams.rng(Stream.STEP, plan.seed, then=(step, number)) for number in numbers]
    batch, targets = batches.augment(*batches.collate_episodes(episodes), rngs)
    rows = [len(episode.labels) for episode in episodes]
    noise = training_noise.draw(rngs, plan.deterministic, rows, codec.latent)
    batch, targets = compute.on(batch, how.device), compute.on(targets, how.device)
    noise = compute.on(noise, how.device)
    warm = min(1.0, (step + 1) / 50)
    rate = plan.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / plan.steps))
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    value = loss(model, codec, batch, targets, plan, noise, how)
    # The share of the step's mean that is this rank's: shares are not equal.
    (value * (len(episodes) / plan.batch)).backward()  # type: ignore[no-untyped-call]
    how.process_group.add_gradients(list(model.parameters()))
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


def _episodes(plants: Plants, count: int, rng: np.random.Generator) -> list[Episode]:
    return [plants.draw(rng, Scenario()) for _ in range(count)]


def _validate(
    watch: Denoiser, average: dict[str, Tensor], codec: Codec, episodes: Sequence[Episode]
) -> tuple[float, float]:
    """Functional loss and accuracy of the deterministic head."""
    watch.load_state_dict(average)
    watch.eval()
    total, right = 0.0, []
    with torch.inference_mode():
        for start in range(0, len(episodes), 30):
            part = episodes[start : start + 30]
            device = codec.decode_matrix.device
            batch, targets = batches.collate_episodes(part)
            batch, targets = compute.on(batch, device), compute.on(targets, device)
            latent = sampler.deterministic(watch, batch)
            total += float(functional(watch, codec, batch, targets, latent)) * len(part)
            weight, bias = (each.cpu() for each in sampler.decode(codec, batch, latent))
            for row, episode in enumerate(part):
                k = len(episode.labels)
                head = weight[row, :k].numpy(), bias[row, :k].numpy()
                right.append(head_card.accuracy(episode, head))
    return total / len(episodes), float(np.mean(right))


def _gate(model: Denoiser, codec: Codec, episodes: Sequence[Episode]) -> float:
    """Share of the predicted residual that is kept: the best on left-out families, at least .25.

    A network that learnt little on a small zoo must not spoil a good skeleton.
    """
    scores = []
    for gate in _GATES:
        shrunk = Codec(codec.encode_matrix, gate * codec.decode_matrix)
        scores.append(_validate(model, model.state_dict(), shrunk, episodes)[1])
    return _GATES[int(np.argmax(scores))]


@torch.no_grad()
def _set_temperature(
    model: Denoiser, codec: Codec, priors: Priors, episodes: Sequence[Episode]
) -> None:
    """Set the one temperature that heads are delivered at, beside the confidence of each.

    The least cross-entropy on left-out families; it moves no argmax.
    """
    total = np.zeros(len(_DELIVERED))
    for start in range(0, len(episodes), 30):
        part = episodes[start : start + 30]
        batch, targets = batches.collate_episodes(part)
        weight, bias = sampler.decode(codec, batch, sampler.deterministic(model, batch))
        logits = torch.einsum("bqd,bkd->bqk", targets.queries, weight) + bias.unsqueeze(1)
        known = torch.tensor([blup.confidence(priors, e.estimate) for e in part])
        logits = logits * known.to(logits.dtype)[:, None, None]
        logits = logits.masked_fill(~batch.class_mask.unsqueeze(1), -1e9)
        total += [float(_per_episode(logits * t, targets).sum()) for t in _DELIVERED]
    model.log_temperature.fill_(math.log(_DELIVERED[int(np.argmin(total))]))


def _prior_head(episodes: Sequence[Episode]) -> float:
    return float(
        np.mean([head_card.accuracy(e, (e.condition.weight, e.condition.bias)) for e in episodes])
    )


def _codec(ground: Ground, plan: GeneratorPlan, rng: np.random.Generator) -> Codec:
    """Fit the codec on residuals, turned as training turns them."""
    rows = []
    episodes = [ground.train.draw(rng, Scenario()) for _ in range(_CODEC_EPISODES)]
    for start in range(0, len(episodes), 30):
        batch, targets = batches.collate_episodes(episodes[start : start + 30])
        batch, targets = batches.augment(batch, targets, [rng] * len(batch.bias))
        weight, bias = targets.weight - batch.weight, targets.bias - batch.bias
        both = torch.cat([weight, bias.unsqueeze(-1)], dim=-1)[batch.class_mask]
        rows.append(both.numpy().astype(np.float64))
    found = np.concatenate(rows)
    return fit_codec(found, min(plan.latent, found.shape[1]))


def _card(
    plan: GeneratorPlan, ground: Ground, parts: Parts, place: checkpoint.Place, name: str
) -> dict[str, Any]:
    fixed = _episodes(ground.test, plan.episodes, streams.rng(Stream.TEST_EPISODES, plan.seed))
    remembered = [task for task in ground.tasks if task.family in set(ground.split.train)]
    trained = baselines.train_baselines(
        parts.priors,
        remembered,
        _episodes(ground.train, 4 * plan.episodes, streams.rng(Stream.RIVAL_EPISODES, plan.seed)),
        seed=plan.seed,
    )
    scores = head_card.evaluate(
        parts, trained.baselines, ground.test, episodes=2 * plan.episodes, seed=plan.seed
    )
    rng = streams.rng(Stream.COPY_TEST, plan.seed)
    return {
        "generator": name,
        "encoder": ground.encoder,
        "architecture": parts.architecture,
        "parameters": sum(p.numel() for p in parts.denoiser.parameters()),
        "zoo": {
            "tasks": len(ground.tasks),
            "train_families": len(ground.split.train),
            "validation_families": list(ground.split.validation),
            "test_families": list(ground.split.test),
        },
        "training": {
            "steps": place.step,
            "seconds": place.seconds,
            "computed": place.computed,
            "validation_loss": place.best,
            "plan": canonical.to_builtins(plan),
        },
        "diversity": head_card.diversity(parts, fixed[:20]),
        "memorisation": head_card.copies(parts, remembered, fixed[:40], rng),
        **scores,
    }


def _identity(plan: GeneratorPlan, encoder: str, tasks: Sequence[ZooTask]) -> str:
    document = {
        "plan": {k: str(v) for k, v in canonical.to_builtins(plan).items()},
        "encoder": encoder,
        "tasks": sorted(task.key for task in tasks),
    }
    return canonical.sha256_hex(canonical.encode(document))
