"""A delivered head seen from the plant: its scale, its fit to local records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_client.heads import Floats, Ints, LinearHead, best_temperature, log_loss


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A delivered head whose centred logits have unit root mean square on local records.

    Attributes:
        head: The delivered head, scaled.
        rows: Seen classes, sorted.
    """

    head: LinearHead
    rows: NDArray[np.intp]


def normalise(head: LinearHead, features: Floats, labels: Ints) -> Start:
    """Put a delivered head on the common scale of local records ``[n, d]``."""
    rows = np.unique(labels)
    logits = head.logits(features)
    logits = logits - logits.mean(axis=1, keepdims=True)
    size = float(np.sqrt(np.mean(logits**2)))
    factor = 1.0 / size if size > 1e-9 else 0.0
    centre = head.weight.mean(axis=0), head.bias.mean()
    return Start(
        LinearHead((head.weight - centre[0]) * factor, (head.bias - centre[1]) * factor), rows
    )


def delivered_loss(head: LinearHead, features: Floats, labels: Ints) -> float:
    """Log loss in nats of a delivered head on local records, at its best temperature."""
    logits = head.logits(features)
    return float(log_loss(logits * best_temperature(logits, labels), labels).sum())
