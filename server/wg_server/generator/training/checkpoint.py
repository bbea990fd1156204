"""Checkpoints of training: network, moving average, optimiser and state, in one safetensors file.

A checkpoint names what it belongs to (plan, encoder, zoo); one of another training is not used, and
the training starts anew.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wg_core import atomic
from wg_core.errors import DecodeError
from wg_server.generator import container

log = logging.getLogger(__name__)

_LIMIT = 1 << 30
_KEY = "checkpoint"


@dataclass(slots=True)
class TrainingState:
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

    def figures(self) -> dict[str, Any]:
        """What a model card says of the training."""
        return {
            "steps": self.step,
            "seconds": self.seconds,
            "validation_loss": self.best,
        }


def save(
    path: Path,
    identity: str,
    state: TrainingState,
    model: nn.Module,
    weights: dict[str, dict[str, Tensor]],
    optimiser: torch.optim.AdamW,
) -> None:
    """Write a checkpoint atomically."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for name, weight_set in weights.items():
        tensors |= {f"{name}.{k}": v for k, v in weight_set.items()}
    for index, parameter in enumerate(model.parameters()):
        for key, value in optimiser.state[parameter].items():
            tensors[f"optimiser.{index}.{key}"] = value
    document = {
        "identity": identity,
        "step": state.step,
        "best": repr(state.best),
        "stale": state.stale,
        "seconds": repr(state.seconds),
    }
    # Copies, since a state may share memory with the model.
    copies = {name: value.detach().clone() for name, value in tensors.items()}
    atomic.write_bytes(path, container.pack(copies, _KEY, document))


def load(
    path: Path,
    identity: str,
    model: nn.Module,
    weights: dict[str, dict[str, Tensor]],
    optimiser: torch.optim.AdamW,
) -> TrainingState:
    """Restore a checkpoint in place, if there is one of this training."""
    if not path.is_file():
        return TrainingState()
    data = atomic.read_bytes(path, limit=_LIMIT)
    try:
        tensors, document = container.unpack(data, _KEY)
        with container.decoding(_KEY):
            state = TrainingState(
                int(document["step"]),
                float(document["best"]),
                int(document["stale"]),
                float(document["seconds"]),
            )
            mine = document["identity"] == identity
    except DecodeError as error:
        log.warning("%s: damaged or of another version, training starts anew: %s", path, error)
        return TrainingState()
    if not mine:
        log.info("%s: of another plan, zoo or version of the program; training starts anew", path)
        return TrainingState()
    device = next(model.parameters()).device
    model.load_state_dict(container.under(tensors, "model."))
    for name, weight_set in weights.items():
        weight_set.update(
            {k: v.to(device) for k, v in container.under(tensors, f"{name}.").items()}
        )
    for index, parameter in enumerate(model.parameters()):
        optimiser_state = container.under(tensors, f"optimiser.{index}.")
        if optimiser_state:
            # AdamW counts steps on the CPU.
            optimiser.state[parameter] = {
                k: v if k == "step" else v.to(device) for k, v in optimiser_state.items()
            }
    return state
