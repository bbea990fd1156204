"""The index of zoo heads: retrieval by class, and the distance of new weights to known ones.

The distance of two heads compares functions, not tables: the class-by-class products of rows in
the metric of typical features, ``G = W S W'`` for one head, and for two ``1 - |W S V'|^2 /
(|W S W'| |V S V'|)``. That is one minus linear CKA of their logits (Kornblith et al., ICML 2019);
it neither depends on the order nor on the number of classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wg_common.inference.discriminants import row_length, scaled, unit_rows
from wg_server.generator.prior.blup import Priors
from wg_server.generator.prior.zoo_tasks import ZooTask

NEIGHBOURS = 100  # Zoo rows averaged for a class in the prior head: more are better up to about 200

_TEMPERATURE = 0.05  # Of the softmax over cosines that weights the neighbours


@dataclass(frozen=True, slots=True, eq=False)
class ZooIndex:
    """Heads and class deviations of the zoo's tasks. T tasks, R classes of all of them.

    Attributes:
        rows: Class deviations of all tasks from their sites' means, ``[R, d]``.
        weights: Trained head rows, mean length 1 a task, ``[R, d]``.
        biases: ``[R]``.
        task: Number of the task of each row, ``[R]``, ascending.
        second: Second moment of features about sites' means, for distances, ``[d, d]``.
        norms: Length of each task's head in that metric, ``[T]``.
        nearest: Median distance of a task to its nearest other task.
    """

    rows: Tensor
    weights: Tensor
    biases: Tensor
    task: Tensor
    second: Tensor
    norms: Tensor
    nearest: float


def build_index(tasks: Sequence[ZooTask]) -> ZooIndex:
    """Collect them; ``nearest`` is 1 until ``with_neighbour_distance`` has measured it."""
    rows, weights, biases, number = [], [], [], []
    d = tasks[0].features.shape[1]
    second = np.zeros((d, d))
    for index, task in enumerate(tasks):
        centre, deviations = task.moments()
        weight = task.weight - task.weight.mean(axis=0)
        size = row_length(weight)
        bias = task.bias + task.weight @ centre
        rows.append(deviations)
        weights.append(weight / size)
        biases.append((bias - bias.mean()) / size)
        number += [index] * len(task.labels)
        residuals = task.features - centre
        second += residuals.T @ residuals / len(residuals) / len(tasks)
    norms = [np.linalg.norm(w @ second @ w.T) for w in weights]
    return ZooIndex(
        rows=_tensor(np.concatenate(rows)),
        weights=_tensor(np.concatenate(weights)),
        biases=_tensor(np.concatenate(biases)),
        task=torch.tensor(number),
        second=_tensor(second),
        norms=_tensor(np.array(norms)),
        nearest=1.0,
    )


def with_neighbour_distance(index: ZooIndex) -> ZooIndex:
    """The index with ``nearest`` measured."""
    weights, task = index.weights.numpy(), index.task.numpy()
    distances = [
        _distances(index, weights[task == i], skip=i).min() for i in range(len(index.norms))
    ]
    return replace(index, nearest=max(float(np.median(distances)), 1e-6))


def novelty(index: ZooIndex, weight: NDArray[np.floating]) -> float:
    """Distance of a head ``[K, d]`` to the nearest zoo entry, over the zoo's own median."""
    return nearest(index, weight) / index.nearest


def nearest(index: ZooIndex, weight: NDArray[np.floating], skip: int | None = None) -> float:
    """Distance of a head ``[K, d]`` to the nearest zoo entry, entry ``skip`` apart."""
    return float(_distances(index, weight, skip).min())


def retrieve(
    index: ZooIndex, priors: Priors, deviations: NDArray[np.floating], neighbours: int = 5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A head from the zoo rows whose class deviations are nearest, class by class.

    Args:
        deviations: Class deviations wanted, ``[K, d]``.
        neighbours: Rows averaged for each class.

    Returns:
        Weight ``[K, d]`` and bias ``[K]`` of ``features - centre``, centred, mean length 1.
    """
    values, vectors = np.linalg.eigh(priors.whitener)
    root = (vectors * np.sqrt(values)) @ vectors.T
    queries, zoo_rows = unit_rows(deviations @ root), unit_rows(index.rows.numpy() @ root)
    likeness = queries @ zoo_rows.T  # [K, R]
    count = min(neighbours, likeness.shape[1])
    best = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
    close = np.take_along_axis(likeness, best, axis=1)
    share = np.exp((close - close.max(axis=1, keepdims=True)) / _TEMPERATURE)
    share /= share.sum(axis=1, keepdims=True)
    weight = np.einsum("kn,knd->kd", share, index.weights.numpy()[best].astype(np.float64))
    weight = weight - weight.mean(axis=0)
    bias = -0.5 * np.einsum("kd,kd->k", weight, deviations)
    return scaled(weight, bias - bias.mean())


def distance(
    second: NDArray[np.floating], head_a: NDArray[np.floating], head_b: NDArray[np.floating]
) -> float:
    """Distance of two heads, 0 to 1."""
    cross = np.square(head_a @ second @ head_b.T).sum()
    norm_product = np.linalg.norm(head_a @ second @ head_a.T) * np.linalg.norm(
        head_b @ second @ head_b.T
    )
    return float(1 - cross / (norm_product + 1e-30))


def _distances(
    index: ZooIndex, weight: NDArray[np.floating], skip: int | None = None
) -> NDArray[np.float64]:
    """Distance to each task, ``[T]``."""
    second = index.second.numpy().astype(np.float64)
    w = np.asarray(weight, dtype=np.float64)
    w = w - w.mean(axis=0)
    mapped = index.weights.numpy() @ second  # [R, d]
    norms = index.norms.numpy().astype(np.float64)
    cross = np.bincount(
        index.task.numpy(), np.square(mapped @ w.T).sum(axis=1), minlength=len(norms)
    )
    distances = 1 - cross / (np.linalg.norm(w @ second @ w.T) * norms + 1e-30)
    if skip is not None:
        distances[skip] = np.inf
    return np.asarray(distances)


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)
