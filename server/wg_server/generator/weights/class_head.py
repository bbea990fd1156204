"""Conversion of a head for a machine's conditions to a head for a plant's classes."""

from collections.abc import Sequence

import torch
from torch import Tensor


def head_for_classes(
    weight: Tensor, bias: Tensor, condition_indices: Sequence[int | None]
) -> tuple[Tensor, Tensor]:
    """Return weights ``[classes, F]`` and biases ``[classes]`` of a head for a plant's classes.

    Classes with the same condition share its probability. A class without a condition gets the mean
    of the other classes' logits: this head alone never predicts it, and if its logits are averaged
    with those of the plant's own head, that head decides on the class.

    Args:
        weight: Weights for K conditions on F features, ``[K, F]``.
        bias: Biases for the conditions, ``[K]``.
        condition_indices: Index of the condition that each class describes, or None.
    """
    numbers = [condition for condition in condition_indices if condition is not None]
    shares = torch.tensor([float(numbers.count(condition)) for condition in numbers]).log()
    rows = torch.cat([weight[numbers], (bias[numbers] - shares)[:, None]], dim=1)
    mean, known_rows = rows.mean(dim=0), iter(rows)
    head = torch.stack(
        [mean if condition is None else next(known_rows) for condition in condition_indices]
    )
    return head[:, :-1], head[:, -1]
