"""The public bases: one small network of each architecture, taught by the encoder.

A base learns to give the encoder's features (Hinton et al., 2015, with features in place of
logits) of the zoo's public records. So it starts with what the encoder knows, and a class mean that
a plant released in the encoder's space means something in the base's. All weights of whole networks
are deltas from it: independent initialisations would differ by permutations of their channels.

The base of an architecture that stands on the encoder, or on public weights of its own, is not
taught: it is the network that they make. Its file names the encoder and the hash of those weights,
so its id stands for both.

A base that is there is kept, as the encoder is: the zoo's deltas stand on it.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch
from numpy.typing import NDArray

from wg_common import catalogue, streams
from wg_common.nets import network
from wg_common.nets.encoder import image_trunk as trunks
from wg_common.nets.encoder.module import load_encoder
from wg_common.nets.encoder.package import PACKAGE_LIMIT
from wg_common.streams import Stream
from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError
from wg_core.wire import canonical
from wg_server.site.home import ENCODER
from wg_server.zoo import sources
from wg_server.zoo.plan import NetworksPlan
from wg_server.zoo.store import Entry, Zoo
from wg_server.zoo.workers import threads

BASE_LIMIT = 64 << 20
_TASKS = 12
_PER_TASK = 8
_RATE = 3e-3

Progress = Callable[[str], None]
Array = NDArray[np.float32]


def base_path(zoo: Path, architecture: str) -> Path:
    """Where a base lies."""
    return zoo / "bases" / f"{architecture}.safetensors"


def read_base(zoo: Path, architecture: str) -> tuple[dict[str, Array], str]:
    """A base's tensors and its id.

    Raises:
        ConfigError: It is not there; run ``wg-server zoo build`` with a plan that names it. Or it
            stands on another encoder than the zoo's.
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
    if network.on_encoder(architecture):
        _check_origin(path, data, architecture)
    return tensors, canonical.sha256_hex(data)


def _public(architecture: str, package: bytes) -> bytes:
    """The file of a base that is an encoder's network."""
    tensors = network.public_base(architecture, load_encoder(package))
    return safetensors.numpy.save(tensors, _origin(architecture, canonical.sha256_hex(package)))


def _origin(architecture: str, encoder: str) -> dict[str, str]:
    about = {"encoder": encoder, "weights": network.kind(architecture).weights}
    return {"base": canonical.encode(about).decode()}


def _check_origin(path: Path, data: bytes, architecture: str) -> None:
    """Refuse a base of another encoder than the zoo's, or of other weights."""
    package = atomic.read_bytes(path.parent.parent / ENCODER, limit=PACKAGE_LIMIT)
    expected = canonical.sha256_hex(package)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    if header.get("__metadata__") != _origin(architecture, expected):
        raise ConfigError(
            f"{path}: stands on another encoder than the zoo's, {expected[:16]}; remove it, and the"
            " zoo's networks of this architecture"
        )


def make_base(
    zoo: Zoo,
    entries: Sequence[Entry],
    architecture: str,
    plan: NetworksPlan,
    seed: int,
    encoder: bytes,
) -> None:
    """Make a base and store it, unless there is one.

    It is trained on entries' records and features, or taken from the encoder.

    Args:
        zoo: Its ``bases`` folder is written.
        entries: Of one encoder, whose features are the target.

    Raises:
        ConfigError: There are no entries, or features of another number than networks have; or the
            architecture cannot stand on this encoder.
    """
    path = base_path(zoo.root, architecture)
    if path.is_file():
        return
    if network.on_encoder(architecture):
        atomic.write_bytes(path, _public(architecture, encoder))
        return
    if not entries:
        raise ConfigError("zoo: a base needs entries to learn from")
    chosen = np.unique(np.linspace(0, len(entries) - 1, plan.base_tasks).astype(int))
    with threads(1):
        lessons = [_lesson(zoo, entries[index], architecture, plan.base_images) for index in chosen]
        dimension = lessons[0][1].shape[1]
        expected = network.feature_count(architecture)
        if dimension != expected:
            raise ConfigError(
                f"zoo: the encoder has {dimension} features, and {architecture} is taught"
                f" {expected}; fit an encoder of that dimension, or leave 'networks' out"
            )
        steps = round(plan.base_steps * catalogue.known(architecture).base_steps)
        tensors = _distil(lessons, architecture, steps, seed)
    atomic.write_bytes(path, safetensors.numpy.save(tensors))


def _lesson(zoo: Zoo, entry: Entry, architecture: str, count: int) -> tuple[network.Batch, Array]:
    """Some records of a task, and what the encoder makes of them."""
    task = sources.load(entry.task)
    rng = streams.rng(Stream.BASE_RECORDS, entry.task.seed, entry.task.family, entry.task.site)
    rows = rng.permutation(len(task.records))[:count]
    batch = network.prepared(architecture, [task.records[row] for row in rows])
    return batch, zoo.read(entry).features[rows]


def _distil(
    lessons: Sequence[tuple[network.Batch, Array]], architecture: str, steps: int, seed: int
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
    for step in range(steps):
        rate = _RATE * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimiser.param_groups:
            group["lr"] = rate
        batches, features = [], []
        for index in rng.choice(len(lessons), tasks, replace=False):
            rows = rng.choice(len(lessons[index][0]), _PER_TASK)
            batches.append(lessons[index][0][rows])
            features.append(lessons[index][1][rows])
        predicted = network.together(model, batches)
        error = (predicted - torch.from_numpy(np.concatenate(features))).view(tasks, _PER_TASK, -1)
        centred = error - error.mean(dim=1, keepdim=True)
        loss = error.square().mean() / between + centred.square().mean() / within
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.trunk_tensors(model)
