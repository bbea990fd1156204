"""The public base: a small network, taught by the encoder, from which families' networks start.

It learns to give the encoder's features (Hinton et al., 2015, with features in place of logits) of
the zoo's public records, so that a network of a few hundred own records starts with what the
encoder knows. A base that is there is kept, as the encoder is.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
from numpy.typing import NDArray

from wg_common import streams
from wg_common.nets import network
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.streams import Stream
from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError
from wg_server.zoo import sources
from wg_server.zoo.store import Entry, Zoo
from wg_server.zoo.workers import threads

BASE_LIMIT = 64 << 20
TASKS = 480  # That a base learns from
RECORDS = 48  # Of each of them
STEPS = 1500
_TASKS = 12  # In a step
_PER_TASK = 8  # Records of each in a step
_RATE = 3e-3

Array = NDArray[np.float32]


def base_path(zoo: Path, architecture: str) -> Path:
    """Where a base lies."""
    return zoo / "bases" / f"{architecture}.safetensors"


def read_base(zoo: Path, architecture: str) -> dict[str, Array]:
    """A base's tensors.

    Raises:
        ConfigError: It is not there; run ``wg-server zoo build`` with a plan that has ``networks``.
        DecodeError: The file is damaged.
    """
    path = base_path(zoo, architecture)
    if not path.is_file():
        raise ConfigError(f"{path}: no base of {architecture}; a plan's 'networks' builds it")
    data = atomic.read_bytes(path, limit=BASE_LIMIT)
    try:
        tensors = dict(safetensors.numpy.load(data))
    except (safetensors.SafetensorError, ValueError) as error:
        raise DecodeError(f"{path}: not a safetensors file: {error}") from error
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    if shapes != network.trunk_shapes(architecture):
        raise DecodeError(f"{path}: not the trunk of {architecture}")
    return tensors


def make_base(
    zoo: Zoo,
    entries: Sequence[Entry],
    architecture: str,
    seed: int,
) -> None:
    """Train a base on entries' records and features and store it, unless there is one.

    Args:
        zoo: Its ``bases`` folder is written.
        entries: Of one encoder, whose features are the target.

    Raises:
        ConfigError: There are no entries, or features of another number than networks have.
    """
    path = base_path(zoo.root, architecture)
    if path.is_file():
        return
    if not entries:
        raise ConfigError("zoo: a base needs entries to learn from")
    chosen = np.unique(np.linspace(0, len(entries) - 1, TASKS).astype(int))
    with threads(1):
        lessons = [_lesson(zoo, entries[index], architecture, RECORDS) for index in chosen]
        dimension = lessons[0][1].shape[1]
        expected = network.feature_count(architecture)
        if dimension != expected:
            raise ConfigError(
                f"zoo: the encoder has {dimension} features, and {architecture} is taught"
                f" {expected}; fit an encoder of that dimension, or leave 'networks' out"
            )
        tensors = _distil(lessons, architecture, seed)
    atomic.write_bytes(path, safetensors.numpy.save(tensors))


def _lesson(zoo: Zoo, entry: Entry, architecture: str, count: int) -> tuple[network.Batch, Array]:
    """Some records of a task, and what the encoder makes of them."""
    task = sources.load(entry.task)
    rng = streams.rng(Stream.BASE_RECORDS, entry.task.seed, entry.task.family, entry.task.site)
    rows = rng.permutation(len(task.records))[:count]
    batch = network.prepared(architecture, [task.records[row] for row in rows])
    return batch, zoo.read(entry).features[rows]


def _distil(
    lessons: Sequence[tuple[network.Batch, Array]], architecture: str, seed: int
) -> dict[str, Array]:
    """Half of the loss is on features, half on their deviations from the task's mean.

    Classes differ within a task, and by a third of what tasks differ by; without the second half a
    small network spends itself on light and camera, or on gain and unit.
    """
    rng = streams.rng(Stream.BASE, seed)
    target = np.concatenate([features for _, features in lessons]).astype(np.float64)
    between = float(target.var(axis=0).mean())
    within = float(np.mean([features.var(axis=0).mean() for _, features in lessons]))
    model = network.load_trunk(architecture, network.draw_trunk(architecture, rng)).train()
    model = trunks.channels_last(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.01)
    tasks = min(_TASKS, len(lessons))
    for step in range(STEPS):
        rate = _RATE * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        for group in optimiser.param_groups:
            group["lr"] = rate
        batches, features = [], []
        for index in rng.choice(len(lessons), tasks, replace=False):
            rows = rng.choice(len(lessons[index][0]), _PER_TASK)
            batches.append(lessons[index][0][rows])
            features.append(lessons[index][1][rows])
        predicted = model(network.as_input(torch.from_numpy(np.concatenate(batches))))
        error = (predicted - torch.from_numpy(np.concatenate(features))).view(tasks, _PER_TASK, -1)
        centred = error - error.mean(dim=1, keepdim=True)
        loss = error.square().mean() / between + centred.square().mean() / within
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return network.trunk_tensors(model)
