"""What the operator's own records say of a kind of plant: heads on all local features.

A plant releases 64 numbers of a record and learns on many more, which stay with it. Records of the
operator's own need no noise and no release: a head that is fitted to *all* local features of them
goes to plants of this kind, which are found as ``family_match`` says (docs/decisions/0089).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_common.errors import DecodeError
from wg_server.generator.families.match import WORTH, match_family, measure
from wg_server.generator.prior.blup import Prediction, Priors
from wg_server.generator.prior.zoo_tasks import ZooTask

Floats = NDArray[np.float64]
Array = NDArray[np.float32]

LIKELY = 0.5
"""Probability of a kind above which a plant is taken to be of it."""
_OUT_OF_FAMILY = -1
"""In place of the number of a head: the task has none."""


@dataclass(frozen=True, slots=True, eq=False)
class OperatorFamilies:
    """All tasks of the zoo, and heads of the operator's own ones.

    E tasks, R classes of all of them, H rows of heads.

    Attributes:
        deviations: Class deviations of the tasks, ``[R, d]``.
        entry: Number of the task of each class, ascending, ``[R]``.
        names: Class names, R of them.
        centres: Tasks' means, ``[E, d]``.
        families: Family of each task.
        head: Number of the row of each class, -1 where pictures are rendered, ``[R]``.
        weight: On all local features, ``[2, H, D]``: of the records as they are, and as other
            sites see them as well.
        bias: ``[2, H]``.
    """

    deviations: Floats
    entry: NDArray[np.int64]
    names: tuple[str, ...]
    centres: Floats
    families: tuple[str, ...]
    head: NDArray[np.int64]
    weight: Array
    bias: Array

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays by attribute, for a package; names and families go beside them."""
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS = tuple(f.name for f in fields(OperatorFamilies) if f.name not in ("names", "families"))


def collect(tasks: Sequence[ZooTask]) -> OperatorFamilies | None:
    """Own kinds of a zoo; None if all of its tasks are rendered."""
    if all(task.local is None for task in tasks):
        return None
    deviations, centres, numbers = [], [], []
    weights: list[Array] = []
    biases: list[Array] = []
    for task in tasks:
        centre, away = task.moments()
        centres.append(centre)
        deviations.append(away)
        first = sum(part.shape[1] for part in weights)
        if task.local is None:
            numbers.append(np.full(len(task.labels), _OUT_OF_FAMILY))
        else:
            numbers.append(first + np.arange(len(task.labels)))
            weights.append(task.local[0])
            biases.append(task.local[1])
    return OperatorFamilies(
        deviations=np.concatenate(deviations),
        entry=np.repeat(np.arange(len(tasks)), [len(task.labels) for task in tasks]),
        names=tuple(name for task in tasks for name in task.labels),
        centres=np.array(centres),
        families=tuple(task.family for task in tasks),
        head=np.concatenate(numbers).astype(np.int64),
        weight=np.concatenate(weights, axis=1),
        bias=np.concatenate(biases, axis=1),
    )


def read(
    arrays: Mapping[str, NDArray[Any]], names: Sequence[str], families: Sequence[str]
) -> OperatorFamilies:
    """From ``OperatorFamilies.arrays`` and what goes beside them.

    Raises:
        DecodeError: They do not hold together.
    """
    found = OperatorFamilies(names=tuple(names), families=tuple(families), **arrays)
    if found.weight.ndim != 3 or len(found.weight) != 2:
        raise DecodeError("generator: its own kinds have other heads than two")
    rows, heads, entries = len(found.deviations), found.weight.shape[1], len(found.centres)
    if not (
        len(found.names) == len(found.entry) == len(found.head) == rows
        and len(found.families) == entries
        and found.bias.shape == (2, heads)
        and ((found.head >= _OUT_OF_FAMILY) & (found.head < heads)).all()
        and np.array_equal(np.unique(found.entry), np.arange(entries))
        and (np.diff(found.entry) >= 0).all()
    ):
        raise DecodeError("generator: its own kinds do not hold together")
    return found


def heads_for(
    own: OperatorFamilies, priors: Priors, estimate: Prediction, labels: Sequence[str]
) -> list[tuple[Array, Array]]:
    """The heads of the plant's kind, the more promising first, if the operator likely has it.

    Args:
        own: From ``collect``.
        priors: Of the generator.
        estimate: T-BLUP's prediction for the plant.
        labels: The plant's class names, K.

    Returns:
        Weight ``[K, D]`` and bias ``[K]`` of each, on local features as they are; none if no kind
        of the operator's is likely. That of the records as they are comes first unless a camera
        that moves a site's mean is as likely as ``family_match.WORTH``.
    """
    family_match = match_family(own, measure(own, priors), priors, estimate, labels)
    if family_match is None or family_match.share < LIKELY:
        return []
    rows = own.head[family_match.matched]  # [E, K]
    if (rows == _OUT_OF_FAMILY).any():
        return []
    found = []
    for weight, bias in zip(own.weight, own.bias, strict=True):
        mean = family_match.mean(bias[rows])
        found.append(
            (
                family_match.mean(weight[rows]).astype(np.float32),
                (mean - mean.mean()).astype(np.float32),
            )
        )
    return found[::-1] if family_match.moved > WORTH else found
