"""Linear heads on frozen features, ridge regression, and log losses. Pure functions.

A fit covers only classes that occur; ``extend_to_classes`` extends its head to the declared label
domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.catalogue import HEAD_BIAS_TENSOR, HEAD_WEIGHT_TENSOR

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ABSENT_CLASS_BIAS = -1e4
"""Bias of a class that a head cannot predict; finite, since exports refuse infinities."""


_NUMBERS_AT_ONCE = 1 << 18  # Numbers in memory at a time while temperatures are tried


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Linear layer over features: logits = features @ weight.T + bias.

    Attributes:
        weight: One row of weights per class, float64 ``[K, d]``.
        bias: One bias per class, float64 ``[K]``.
    """

    weight: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        """Return logits ``[n, K]`` of features ``[n, d]``."""
        return features @ self.weight.T + self.bias

    def scale_logits(self, factor: float) -> LinearHead:
        """Return the head with logits multiplied by ``factor``."""
        return LinearHead(self.weight * factor, self.bias * factor)

    def pad_features(self, feature_count: int) -> LinearHead:
        """Return the same head on ``feature_count`` features; those added have weight zero."""
        padding = feature_count - self.weight.shape[1]
        return LinearHead(np.pad(self.weight, ((0, 0), (0, padding))), self.bias)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return weight and bias as float32 tensors, by the names that files use."""
        return {
            HEAD_WEIGHT_TENSOR: self.weight.astype(np.float32),
            HEAD_BIAS_TENSOR: self.bias.astype(np.float32),
        }


def head_from_tensors(tensors: Mapping[str, NDArray[np.float32]]) -> LinearHead:
    """Return the head of a network's tensors that ``tensor_set.check_tensors`` accepted."""
    return LinearHead(
        tensors[HEAD_WEIGHT_TENSOR].astype(np.float64), tensors[HEAD_BIAS_TENSOR].astype(np.float64)
    )


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStandardisation:
    """Shift and single scale that give features zero mean and unit mean variance.

    Attributes:
        mean: Mean of each feature, float64 ``[d]``.
        scale: Root of the features' mean variance.
    """

    mean: Floats
    scale: float

    def apply(self, features: Floats) -> Floats:
        """Return features ``[n, d]`` with the shift and the scale applied."""
        return (features - self.mean) / self.scale

    def to_unscaled_head(self, head: LinearHead) -> LinearHead:
        """Return a head on unscaled features that equals ``head`` on scaled ones."""
        weight = head.weight / self.scale
        return LinearHead(weight, head.bias - weight @ self.mean)


def fit_standardisation(features: Floats) -> FeatureStandardisation:
    """Fit mean and common scale of features ``[n, d]``; the scale is 1 if all are constant."""
    mean = features.mean(axis=0)
    scale = float(np.sqrt(np.mean((features - mean) ** 2)))
    return FeatureStandardisation(mean, scale if scale > 1e-12 else 1.0)


def fit_ridge(features: Floats, labels: Ints, class_count: int, penalty: float) -> LinearHead:
    """Fit least squares on class indicators with an L2 penalty on the weights (Hoerl 1970).

    Args:
        features: Centred features of unit mean variance, ``[n, d]``.
        labels: Labels of the records, ``[n]`` in 0..K-1, each class at least once.
        class_count: Number K of classes.
        penalty: Penalty, in units of the mean squared length of a row of features, which is d.
    """
    d = features.shape[1]
    hot = np.eye(class_count)[labels]
    frequency = hot.mean(axis=0)
    cross = features.T @ (hot - frequency)
    weight = np.linalg.solve(features.T @ features + penalty * d * np.eye(d), cross)
    return LinearHead(weight.T, frequency)


def extend_to_classes(
    head: LinearHead, class_rows: NDArray[np.intp], class_count: int
) -> LinearHead:
    """Extend a head to more classes, of which the added ones are never predicted.

    Args:
        class_rows: For each row of the head, the index of its class among all classes.
        class_count: Number of all classes.
    """
    weight = np.zeros((class_count, head.weight.shape[1]))
    bias = np.full(class_count, ABSENT_CLASS_BIAS)
    weight[class_rows] = head.weight
    bias[class_rows] = head.bias
    return LinearHead(weight, bias)


def log_loss(logits: Floats, labels: Ints) -> Floats:
    """Return the log loss of each record, nats, ``[n]``, under 0.95 softmax + 0.05 uniform.

    The uniform part bounds the influence of a mislabelled record, and of a record whose class the
    training fold lacks.
    """
    n, k = logits.shape
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return robust_log_loss(odds[np.arange(n), labels] / (odds @ np.ones(k)), k)


def best_inverse_temperature(logits: Floats, labels: Ints) -> float:
    """Return the factor on logits (1 / temperature) with the least log loss, on a coarse grid.

    One average record with every label at equal weight is added to the records: a handful of
    correct predictions does not show that a model is never wrong (Platt 1999, section 2.2).
    """
    grid = np.geomspace(1e-3, 1e2, 41)
    below = logits - logits.max(axis=1, keepdims=True)
    n, k = below.shape
    losses: list[float] = []
    step = max(1, _NUMBERS_AT_ONCE // (n * k))
    for start in range(0, len(grid), step):
        odds = np.exp(below * grid[start : start + step, None, None])
        by_label = robust_log_loss(odds / (odds @ np.ones(k))[..., None], k)
        losses += list(by_label[:, np.arange(n), labels].sum(axis=1) + by_label.mean(axis=(1, 2)))
    return float(grid[int(np.argmin(losses))])


def robust_log_loss(true_probabilities: Floats, class_count: int) -> Floats:
    """Return the log loss, nats, of the true class's probabilities, mixed with 5 % uniform."""
    return np.asarray(-np.log(0.95 * true_probabilities + 0.05 / class_count))


def total_tempered_loss(head: LinearHead, features: Floats, labels: Ints) -> float:
    """Return the total log loss of a head over all records, nats, at its best temperature."""
    logits = head.logits(features)
    return float(log_loss(logits * best_inverse_temperature(logits, labels), labels).sum())
