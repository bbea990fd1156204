"""AdamW (Loshchilov and Hutter, ICLR 2019): the steps of ``torch.optim``, to the last bit.

The first optimiser of torch that a process makes imports torch's compiler, which takes two seconds
and which nothing here uses: as long as a plant's whole training of a small network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

_FIRST, _SECOND = 0.9, 0.999
"""What is kept of the mean of gradients, and of that of their squares."""
_TINY = 1e-8
"""Added to the root of the latter."""


class AdamW:
    """One group of parameters.

    Attributes:
        rate: Learning rate of the next step.
        state: Of each parameter that has had a step: ``step``, ``exp_avg``, ``exp_avg_sq``.
    """

    def __init__(
        self, parameters: Iterable[Tensor], rate: float, *, weight_decay: float = 0.0
    ) -> None:
        self.rate = rate
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self._parameters = list(parameters)
        self._weight_decay = weight_decay

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move each parameter that has a gradient."""
        moved = [each for each in self._parameters if each.grad is not None]
        by_step: dict[int, list[Tensor]] = {}
        for parameter in moved:
            found = self.state.setdefault(parameter, {})
            if not found:
                found["step"] = torch.zeros(())  # on the CPU, whatever the parameter's device
                found["exp_avg"] = torch.zeros_like(parameter)
                found["exp_avg_sq"] = torch.zeros_like(parameter)
            found["step"] += 1
            by_step.setdefault(int(found["step"]), []).append(parameter)
        for step, group in by_step.items():
            self._move(step, group)

    def _move(self, step: int, parameters: list[Tensor]) -> None:
        gradients = [each.grad for each in parameters if each.grad is not None]
        means = [self.state[each]["exp_avg"] for each in parameters]
        squares = [self.state[each]["exp_avg_sq"] for each in parameters]
        if self._weight_decay:
            torch._foreach_mul_(parameters, 1 - self.rate * self._weight_decay)
        torch._foreach_lerp_(means, gradients, 1 - _FIRST)
        torch._foreach_mul_(squares, _SECOND)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - _SECOND)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, math.sqrt(1 - _SECOND**step))
        torch._foreach_add_(roots, _TINY)
        torch._foreach_addcdiv_(parameters, means, roots, -(self.rate / (1 - _FIRST**step)))
