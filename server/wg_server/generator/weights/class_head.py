"""A head for the classes of a plant, from a head for the conditions of a machine."""

from collections.abc import Sequence

import torch
from torch import Tensor


def class_head(
    weight: Tensor, bias: Tensor, conditions: Sequence[int | None]
) -> tuple[Tensor, Tensor]:
    """Weights ``[classes, F]`` and biases ``[classes]`` for classes that say these conditions.

    Classes of one condition share its probability. A class that says none has the mean of the
    others' logits: by such a network alone it is never the answer, and averaged with a head of the
    plant's own that head decides on it.

    Args:
        weight: Weights for conditions, ``[K, F]``.
        bias: Biases for conditions, ``[K]``.
        conditions: Number of each class's condition, None where it says none.
    """
    numbers = [condition for condition in conditions if condition is not None]
    shares = torch.tensor([float(numbers.count(condition)) for condition in numbers]).log()
    rows = torch.cat([weight[numbers], (bias[numbers] - shares)[:, None]], dim=1)
    mean, known_rows = rows.mean(dim=0), iter(rows)
    head = torch.stack(
        [mean if condition is None else next(known_rows) for condition in conditions]
    )
    return head[:, :-1], head[:, -1]
