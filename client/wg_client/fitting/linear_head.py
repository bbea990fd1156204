"""Linear heads on frozen features, and closed forms to fit one. Pure functions.

A learner is given only classes that occur, and the head that it returns covers those; ``spread``
places it in the declared label domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import HEAD_BIAS, HEAD_WEIGHT

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEVER = -1e4  # Bias of a class that a head cannot predict; finite, since exports refuse infinities


_AT_ONCE = 1 << 18  # Numbers that are held at a time when temperatures are tried


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Logits = features @ weight.T + bias.

    Attributes:
        weight: float64 ``[K, d]``.
        bias: float64 ``[K]``.
    """

    weight: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        """Logits ``[n, K]`` of features ``[n, d]``."""
        return features @ self.weight.T + self.bias

    def scale_logits(self, factor: float) -> LinearHead:
        """The head whose logits are ``factor`` times as large."""
        return LinearHead(self.weight * factor, self.bias * factor)

    def pad_features(self, dimension: int) -> LinearHead:
        """The same function of more features ``[n, dimension]``, of which it uses the first."""
        padding = dimension - self.weight.shape[1]
        return LinearHead(np.pad(self.weight, ((0, 0), (0, padding))), self.bias)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Tensors of the architecture ``lite0-head``."""
        return {
            HEAD_WEIGHT: self.weight.astype(np.float32),
            HEAD_BIAS: self.bias.astype(np.float32),
        }


def head_from_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> LinearHead:
    """The head among a network's tensors, which ``tensor_set.check_tensors`` has accepted."""
    return LinearHead(
        tensors[HEAD_WEIGHT].astype(np.float64), tensors[HEAD_BIAS].astype(np.float64)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Shift and one scale that give features zero mean and unit mean variance.

    Attributes:
        mean: float64 ``[d]``.
        scale: Root of the mean variance.
    """

    mean: Floats
    scale: float

    def apply(self, features: Floats) -> Floats:
        """Scaled features ``[n, d]``."""
        return (features - self.mean) / self.scale

    def unscale(self, head: LinearHead) -> LinearHead:
        """The same function as a head on features that are not scaled."""
        weight = head.weight / self.scale
        return LinearHead(weight, head.bias - weight @ self.mean)


def scaling(features: Floats) -> Scaling:
    """Scaling of features ``[n, d]``; a constant set has scale 1."""
    mean = features.mean(axis=0)
    scale = float(np.sqrt(np.mean((features - mean) ** 2)))
    return Scaling(mean, scale if scale > 1e-12 else 1.0)


def fit_ridge(features: Floats, labels: Ints, classes: int, penalty: float) -> LinearHead:
    """Least squares on the classes' indicators with a penalty on the weights (Hoerl 1970).

    Args:
        features: Centred, of unit mean variance, ``[n, d]``.
        labels: ``[n]`` in 0..classes-1, each class at least once.
        penalty: In units of the mean squared length of records, d.
    """
    d = features.shape[1]
    hot = np.eye(classes)[labels]
    frequency = hot.mean(axis=0)
    cross = features.T @ (hot - frequency)
    weight = np.linalg.solve(features.T @ features + penalty * d * np.eye(d), cross)
    return LinearHead(weight.T, frequency)


def spread(head: LinearHead, rows: NDArray[np.intp], classes: int) -> LinearHead:
    """A head over all ``classes`` of which only ``rows`` can be predicted."""
    weight = np.zeros((classes, head.weight.shape[1]))
    bias = np.full(classes, NEVER)
    weight[rows] = head.weight
    bias[rows] = head.bias
    return LinearHead(weight, bias)


def log_loss(logits: Floats, labels: Ints) -> Floats:
    """Loss of each record in nats, ``[n]``, under 95 % of the softmax and 5 % of even odds.

    The even odds bound what one mislabelled record, or one of a class that a training fold lacks,
    can say.
    """
    n, k = logits.shape
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return robust_loss(odds[np.arange(n), labels] / (odds @ np.ones(k)), k)


def best_temperature(logits: Floats, labels: Ints) -> float:
    """Factor on the logits with the smallest log loss, on a coarse logarithmic grid.

    To the records comes one that is like all of them and has each label with even odds: a handful
    that all happen to be right do not show that a model is never wrong (Platt 1999, section 2.2).
    """
    grid = np.geomspace(1e-3, 1e2, 41)
    below = logits - logits.max(axis=1, keepdims=True)
    n, k = below.shape
    losses: list[float] = []
    step = max(1, _AT_ONCE // (n * k))
    for start in range(0, len(grid), step):
        odds = np.exp(below * grid[start : start + step, None, None])
        by_label = robust_loss(odds / (odds @ np.ones(k))[..., None], k)
        losses += list(by_label[:, np.arange(n), labels].sum(axis=1) + by_label.mean(axis=(1, 2)))
    return float(grid[int(np.argmin(losses))])


def robust_loss(chances: Floats, classes: int) -> Floats:
    """Log loss of probabilities of the true class, under the same 5 % of even odds."""
    return np.asarray(-np.log(0.95 * chances + 0.05 / classes))


def tempered_loss(head: LinearHead, features: Floats, labels: Ints) -> float:
    """Log loss in nats of a head over all records, at its best temperature."""
    logits = head.logits(features)
    return float(log_loss(logits * best_temperature(logits, labels), labels).sum())
