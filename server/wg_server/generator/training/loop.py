"""The one training loop: steps, the moving average, patience, checkpoints.

A step has AdamW (Loshchilov and Hutter, ICLR 2019) with a linear warm-up, a cosine decay and a
bound on the gradient's length. What is judged and kept is the exponential moving average of the
weights. Batches depend on the step alone, so a training that was interrupted goes on as if it had
not been.
"""

import contextlib
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic

import torch
from torch import Tensor, nn

from wg_server.generator.training import checkpoint
from wg_server.generator.training.checkpoint import TrainingState
from wg_server.generator.training.objective import B, M, Objective
from wg_server.generator.training.plan import TrainingPlan

WARM_UP = 50  # Steps until the learning rate is at its peak
_LONGEST_GRADIENT = 1.0
_BETTER = 1e-4  # Less loss that counts as better
Progress = Callable[[int, str], None]  # Called with steps done and a few words


def train(
    objective: Objective[M, B],
    plan: TrainingPlan,
    path: Path,
    identity: str,
    progress: Progress,
) -> TrainingState:
    """Train an objective's module.

    Args:
        objective: What is trained. Its module ends as the best moving average, in evaluation mode.
        path: Of the checkpoint; whoever keeps the result removes it.
        identity: What a checkpoint must belong to.
        progress: Told of evaluations.

    Returns:
        Where the training ended.
    """
    training = _Training(objective, plan, path, identity, progress)
    training.run()
    objective.model.load_state_dict(training.best)
    objective.model.eval()
    return training.state


class _Training(Generic[M, B]):
    """A training under way."""

    def __init__(
        self,
        objective: Objective[M, B],
        plan: TrainingPlan,
        path: Path,
        identity: str,
        progress: Progress,
    ) -> None:
        self._objective, self._plan = objective, plan
        self._path, self._identity, self._progress = path, identity, progress
        model = objective.model
        self._optimiser = torch.optim.AdamW(
            model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
        )
        self._watched = copy.deepcopy(model).eval()
        self._weights = {"average": _copy(model), "best": _copy(model)}
        self.state = checkpoint.load(path, identity, model, self._weights, self._optimiser)
        self._began = time.monotonic() - self.state.seconds

    @property
    def best(self) -> dict[str, Tensor]:
        """The best moving average so far."""
        return self._weights["best"]

    def run(self) -> None:
        """Train until the steps or the patience end."""
        state, plan = self.state, self._plan
        if state.step == 0:
            accuracy = self._evaluate(keep=self._objective.keeps_initial)
            self._progress(0, f"untrained {accuracy:.3f} on left-out families")
        with contextlib.closing(self._objective.batches(range(state.step, plan.steps))) as stream:
            while state.stale < plan.patience:
                batch = next(stream, None)
                if batch is None:
                    break
                self._step(batch)
                if state.step % plan.evaluate_every and state.step != plan.steps:
                    continue
                accuracy = self._evaluate()
                state.seconds = time.monotonic() - self._began
                checkpoint.save(
                    self._path,
                    self._identity,
                    state,
                    self._objective.model,
                    self._weights,
                    self._optimiser,
                )
                self._progress(state.step, f"{accuracy:.3f} on left-out families")

    def _step(self, batch: B) -> None:
        """One step of the optimiser, and of the average."""
        model, state, plan = self._objective.model, self.state, self._plan
        warm = min(1.0, (state.step + 1) / WARM_UP)
        decay = 0.5 * (1 + math.cos(math.pi * state.step / plan.steps))
        for parameters in self._optimiser.param_groups:
            parameters["lr"] = plan.learning_rate * warm * decay
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._objective.loss(batch, state.step)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _LONGEST_GRADIENT)
        self._optimiser.step()
        state.step += 1
        share = min(plan.average, (1 + state.step) / (10 + state.step))
        for name, value in model.state_dict().items():
            self._weights["average"][name].lerp_(value, 1 - share)

    def _evaluate(self, *, keep: bool = True) -> float:
        """Judge the average, keep it if it may be and is the best, and give its accuracy."""
        self._watched.load_state_dict(self._weights["average"])
        with torch.inference_mode():
            evaluation = self._objective.evaluate(self._watched)
        if not keep:
            return evaluation.accuracy
        self.state.stale += 1
        if evaluation.loss < self.state.best - _BETTER:
            self.state.best, self.state.stale = evaluation.loss, 0
            self._weights["best"].update(
                {name: value.clone() for name, value in self._weights["average"].items()}
            )
        return evaluation.accuracy


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
