"""Training loop of the generator's modules.

The optimiser is AdamW (Loshchilov and Hutter, ICLR 2019) with linear warm-up, cosine decay and
gradient-norm clipping. An exponential moving average of the parameters is evaluated at intervals,
and the average with the lowest validation loss is the result. The loop handles steps and learning
rates; an ``Objective`` supplies the loss of each step, and the evaluation on validation data.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

WARM_UP_STEPS = 50  # Steps until the learning rate reaches its peak
_MAX_GRADIENT_NORM = 1.0
_MIN_LOSS_DECREASE = 1e-4  # Smallest decrease of the validation loss that counts as better
Progress = Callable[[int, str], None]  # Called with the completed steps and a short text

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Quality of a module on validation data.

    Attributes:
        loss: Mean loss; the checkpoint with the lowest one is selected.
        accuracy: Mean accuracy (or R² of a soft sensor), only for display.
    """

    loss: float
    accuracy: float


class Objective(Protocol[ModuleT]):
    """Training objective of a module; its randomness depends only on a seed and the past steps."""

    @property
    def model(self) -> ModuleT:
        """Module whose parameters the objective trains."""
        ...

    def loss(self, step: int) -> Tensor:
        """Return the training loss of a step, a scalar."""
        ...

    def evaluate(self, model: ModuleT) -> Evaluation:
        """Return the quality of ``model`` on validation data."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSchedule:
    """Steps and rates of a training.

    Attributes:
        steps: Number of optimiser steps.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        average_decay: Decay of the exponential moving average of the parameters.
        steps_per_evaluation: Number of steps between evaluations.
    """

    steps: int
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    average_decay: float = 0.995
    steps_per_evaluation: int = 100


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Result of a training: number of steps, duration in seconds, and lowest validation loss."""

    steps: int
    seconds: float
    validation_loss: float


def train_module(
    objective: Objective[ModuleT], schedule: TrainingSchedule, progress: Progress
) -> TrainingResult:
    """Train an objective's module in place, and leave the best parameter average in it.

    The module is in evaluation mode at the end.

    Args:
        objective: Module to train, with its losses.
        schedule: Steps and rates.
        progress: Called with the number of completed steps and a short text at each evaluation.
    """
    began, model = time.monotonic(), objective.model
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    watched_model, average = copy.deepcopy(model).eval(), _copy_parameters(model)
    best, least = _copy_parameters(model), math.inf
    for step in range(schedule.steps):
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        decay = 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
        for parameters in optimiser.param_groups:
            parameters["lr"] = schedule.learning_rate * warm * decay
        optimiser.zero_grad(set_to_none=True)
        objective.loss(step).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT_NORM)
        optimiser.step()
        share = min(schedule.average_decay, (2 + step) / (11 + step))
        for name, value in model.state_dict().items():
            average[name].lerp_(value, 1 - share)
        step_count = step + 1
        if step_count % schedule.steps_per_evaluation and step_count < schedule.steps:
            continue
        watched_model.load_state_dict(average)
        with torch.inference_mode():
            evaluation = objective.evaluate(watched_model)
        if evaluation.loss < least - _MIN_LOSS_DECREASE:
            best, least = {name: value.clone() for name, value in average.items()}, evaluation.loss
        progress(step_count, f"{evaluation.accuracy:.3f} on what no step saw")
    model.load_state_dict(best)
    model.eval()
    return TrainingResult(schedule.steps, time.monotonic() - began, least)


def _copy_parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
