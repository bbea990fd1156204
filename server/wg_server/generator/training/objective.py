"""What a training of the generator optimises: the seam between the loop and what is trained.

The loop (``training.loop``) knows steps, rates, checkpoints and the moving average. An
objective knows everything else: what a step's episodes are, their loss, and how good a network is
on families that no step saw. Another thing to train, such as a decoder with its latents and a
diffusion over them, is another objective.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good a network is.

    Attributes:
        loss: Mean loss on held-out records of left-out families; the least is kept.
        accuracy: Mean accuracy on the same, for people.
    """

    loss: float
    accuracy: float


class Objective(Protocol[M, B]):
    """One thing to train. All that is random in it depends on the step and on its own seed."""

    @property
    def model(self) -> M:
        """The module whose parameters are all trained; the loop moves it to the device."""
        ...

    @property
    def keeps_initial(self) -> bool:
        """Whether the initial weights are kept where no training does better on the evaluation."""
        ...

    def batches(self, steps: range) -> Generator[B, None, None]:
        """What each step is computed on, in order: its episodes."""
        ...

    def loss(self, batch: B, step: int) -> Tensor:
        """A step's loss, a scalar."""
        ...

    def evaluate(self, model: M) -> Evaluation:
        """How good another state of the module is."""
        ...
