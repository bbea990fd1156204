"""Checkpoints of training: network, moving average, optimiser and place, in one safetensors file.

A checkpoint names what it belongs to (plan, encoder, zoo); one of another training is not used.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from wg_common import atomic, canonical

log = logging.getLogger(__name__)

_LIMIT = 1 << 30


@dataclass(slots=True)
class Place:
    """Where training stands.

    Attributes:
        step: Steps done.
        best: Lowest validation loss so far.
        stale: Evaluations since then.
        seconds: Time spent.
    """

    step: int = 0
    best: float = float("inf")
    stale: int = 0
    seconds: float = 0.0


def save(
    path: Path,
    identity: str,
    place: Place,
    model: nn.Module,
    states: dict[str, dict[str, Tensor]],
    optimiser: torch.optim.AdamW,
) -> None:
    """Write a checkpoint atomically."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for name, state in states.items():
        tensors |= {f"{name}.{k}": v for k, v in state.items()}
    for index, parameter in enumerate(model.parameters()):
        for key, value in optimiser.state[parameter].items():
            tensors[f"optimiser.{index}.{key}"] = value
    document = {
        "identity": identity,
        "step": place.step,
        "best": repr(place.best),
        "stale": place.stale,
        "seconds": repr(place.seconds),
    }
    data = safetensors.torch.save(
        {k: v.detach().clone().contiguous() for k, v in tensors.items()},
        metadata={"checkpoint": canonical.encode(document).decode()},
    )
    atomic.write_bytes(path, data)


def load(
    path: Path,
    identity: str,
    model: nn.Module,
    states: dict[str, dict[str, Tensor]],
    optimiser: torch.optim.AdamW,
) -> Place:
    """Restore a checkpoint in place, if there is one of this training."""
    if not path.is_file():
        return Place()
    data = atomic.read_bytes(path, limit=_LIMIT)
    try:
        tensors = safetensors.torch.load(data)
        size = int.from_bytes(data[:8], "little")
        document = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["checkpoint"])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        log.warning("%s: damaged, training starts anew: %s", path, error)
        return Place()
    if document["identity"] != identity:
        log.info("%s: of another plan or zoo; training starts anew", path)
        return Place()
    model.load_state_dict(_part(tensors, "model."))
    for name, state in states.items():
        state.update(_part(tensors, f"{name}."))
    for index, parameter in enumerate(model.parameters()):
        found = _part(tensors, f"optimiser.{index}.")
        if found:
            optimiser.state[parameter] = dict(found)
    return Place(
        int(document["step"]),
        float(document["best"]),
        int(document["stale"]),
        float(document["seconds"]),
    )


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
