"""Copies or new weights: a test after Zeng et al. (CVPR 2026), with thresholds that are calibrated.

They found that generated checkpoints lie nearer to training checkpoints than these lie to each
other, and are no better than a training checkpoint with noise. So two populations are measured
first, in the function distance of ``prior.retrieval``:

- *copies*: training weights with as much noise as costs them a point of accuracy, but at most a
  fifth of their length: easy tasks bear noise that leaves little of a copy;
- *others*: each training entry against all other entries, those of its own family among them.

The threshold is where balanced error between the two is least. Weights below it are counted as
copies. The same is done for single class rows, since a head may be put together from rows of many
entries. A planted memoriser, which answers with the whole nearest entry, has to be found.

It does not show that weights hold no trace of a zoo entry; an average of many rows is new by this
test. Zoo entries are public or rendered: copying is a defect, and discloses nothing of a plant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.discriminants import unit_rows
from wg_server.generator.prior import retrieval
from wg_server.generator.prior.retrieval import ZooIndex
from wg_server.generator.prior.zoo_tasks import ZooTask

Floats = NDArray[np.float64]

ACCURACY_LOST = 0.01  # Accuracy that the noise on a copy may cost

_LEVELS = np.geomspace(0.02, 0.2, 11)
_TASKS = 80


@dataclass(frozen=True, slots=True)
class Threshold:
    """One calibrated border, in distances from 0 to about 1.

    Attributes:
        value: Below it weights are counted as copies.
        copies: Median distance of copies.
        others: Median distance of training weights to their nearest other entry.
        copies_found: Share of copies below it.
        others_found: Share of others below it: the test's false alarms.
    """

    value: float
    copies: float
    others: float
    copies_found: float
    others_found: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Borders for heads and for rows, and the noise of the copies.

    Attributes:
        heads: For whole heads.
        rows: For single class rows.
        noise: Length of the noise over the length of the rows.
    """

    heads: Threshold
    rows: Threshold
    noise: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What the test says of some generated heads.

    Attributes:
        heads_copied: Share of heads below the threshold.
        rows_copied: Share of rows below theirs.
        heads_median: Median distance of a head to the nearest entry.
        rows_median: Median distance of a row to the nearest row.
    """

    heads_copied: float
    rows_copied: float
    heads_median: float
    rows_median: float


def calibrate(index: ZooIndex, tasks: Sequence[ZooTask], rng: np.random.Generator) -> Calibration:
    """Measure copies and others on the zoo, and set thresholds.

    Args:
        tasks: Zoo tasks that are in it, for accuracy; the noise is matched on these.
        rng: Of the noise, and of the choice of tasks.
    """
    chosen = [tasks[i] for i in rng.permutation(len(tasks))[:_TASKS]]
    noise = matched_noise(chosen, rng)
    copies = [add_noise(task.weight, noise, rng) for task in chosen]
    entries = np.sort(rng.permutation(len(index.norms))[:_TASKS])
    number = index.task.numpy()
    weights = index.weights.numpy().astype(np.float64)
    heads_other = [retrieval.nearest(index, weights[number == i], skip=int(i)) for i in entries]
    rows_other = np.concatenate(
        [nearest_rows(index, weights[number == i], skip=int(i)) for i in entries]
    )
    heads_copy = [retrieval.nearest(index, copy) for copy in copies]
    rows_copy = np.concatenate([nearest_rows(index, copy) for copy in copies])
    return Calibration(
        _border(np.array(heads_copy), np.array(heads_other)),
        _border(rows_copy, rows_other),
        noise,
    )


def examine(index: ZooIndex, calibration: Calibration, heads: Sequence[Floats]) -> Finding:
    """Test generated heads ``[K, d]`` for copies."""
    head_distances = np.array([retrieval.nearest(index, head) for head in heads])
    rows = np.concatenate([nearest_rows(index, head) for head in heads])
    return Finding(
        float((head_distances < calibration.heads.value).mean()),
        float((rows < calibration.rows.value).mean()),
        float(np.median(head_distances)),
        float(np.median(rows)),
    )


def memorise(index: ZooIndex, deviations: Floats, noise: float, rng: np.random.Generator) -> Floats:
    """The planted memoriser: the whole entry whose classes are most like those asked for, noisy.

    Args:
        deviations: Class deviations wanted, ``[K, d]``.
        noise: Length of the noise over the length of the rows.
    """
    rows = index.rows.numpy().astype(np.float64)
    number = index.task.numpy()
    likeness = (unit_rows(rows) @ unit_rows(deviations).T).max(axis=1)  # [R]
    score = np.bincount(number, likeness) / np.bincount(number)
    best = int(np.argmax(score))
    return add_noise(index.weights.numpy()[number == best], noise, rng)


def matched_noise(tasks: Sequence[ZooTask], rng: np.random.Generator) -> float:
    """The most noise that costs the tasks' heads ``ACCURACY_LOST`` on average, at most a fifth."""
    seed = int(rng.integers(2**32))
    right = np.mean([_accuracy(task, task.weight) for task in tasks])
    matched_level = float(_LEVELS[0])
    for level in _LEVELS:
        draw = np.random.default_rng(seed)
        noisy = [_accuracy(t, add_noise(t.weight, float(level), draw)) for t in tasks]
        if right - np.mean(noisy) > ACCURACY_LOST:
            break
        matched_level = float(level)
    return matched_level


def add_noise(weight: NDArray[np.floating], level: float, rng: np.random.Generator) -> Floats:
    """Gaussian noise whose length is ``level`` times that of the centred rows, on average."""
    w = np.asarray(weight, dtype=np.float64)
    deviations = w - w.mean(axis=0)
    size = np.sqrt(np.mean(deviations**2))
    return np.asarray(w + rng.normal(0, level * size, w.shape))


def nearest_rows(index: ZooIndex, weight: NDArray[np.floating], skip: int | None = None) -> Floats:
    """One minus the cosine of each row ``[K, d]`` with the nearest zoo row, in typical features.

    Args:
        weight: A head; its rows are centred first.
        skip: An entry that does not count.
    """
    second = index.second.numpy().astype(np.float64)
    w = np.asarray(weight, dtype=np.float64)
    w = w - w.mean(axis=0)
    zoo_rows = index.weights.numpy().astype(np.float64)
    mapped = zoo_rows @ second  # [R, d]
    lengths = np.sqrt(np.maximum(np.einsum("rd,rd->r", mapped, zoo_rows), 1e-30))
    head_lengths = np.sqrt(np.maximum(np.einsum("kd,de,ke->k", w, second, w), 1e-30))
    cosine = w @ mapped.T / head_lengths[:, None] / lengths
    if skip is not None:
        cosine[:, index.task.numpy() == skip] = -np.inf
    return np.asarray(1 - cosine.max(axis=1))


def _border(copies: Floats, originals: Floats) -> Threshold:
    """The border with the least balanced error, in the middle where several are as good."""
    tried = np.unique(np.concatenate([copies, originals]))
    middle = np.concatenate([(tried[1:] + tried[:-1]) / 2, tried[-1:] * 1.01])
    errors = (copies[None] >= middle[:, None]).mean(axis=1)
    errors = errors + (originals[None] < middle[:, None]).mean(axis=1)
    best = middle[errors <= errors.min() + 1e-12]
    value = float(np.median(best))
    return Threshold(
        value,
        float(np.median(copies)),
        float(np.median(originals)),
        float((copies < value).mean()),
        float((originals < value).mean()),
    )


def _accuracy(task: ZooTask, weight: NDArray[np.floating]) -> float:
    logits = task.features @ np.asarray(weight).T + task.bias
    return float((logits.argmax(axis=1) == task.y).mean())
