"""Heads for plants of the operator's families, on all local features.

A plant releases 64 numbers of a record and learns on many more, which stay with it. Records of the
operator's own need no noise and no release, so that heads can be fitted on *all* local features of
them. Plants of such a family, found by ``families.match``, get these heads (docs/decisions/0089).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wg_common.errors import DecodeError
from wg_server.generator.families.match import SHIFT_LIKELY, Entries, match_family, measure
from wg_server.generator.prior.blup import Prediction, Priors
from wg_server.generator.prior.zoo_tasks import ZooTask

Array = NDArray[np.float32]

LIKELY = 0.5
"""Probability of a family above which a plant is taken to belong to it."""
_NO_HEAD = -1
"""In place of the row of a head: the task has none."""


@dataclass(frozen=True, slots=True, eq=False)
class OperatorFamilies(Entries):
    """All tasks of the zoo, and heads of those with the operator's own records.

    H rows of heads.

    Attributes:
        head: Row of each class's head, -1 where records are rendered, ``[R]``.
        weight: On all local features, ``[2, H, D]``: fitted on the records as they are, and with
            domain-shift augmentation.
        bias: ``[2, H]``.
    """

    head: NDArray[np.int64]
    weight: Array
    bias: Array

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays by attribute, for a package; names and families are stored beside them."""
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS = tuple(f.name for f in fields(OperatorFamilies) if f.name not in ("names", "families"))


def collect(tasks: Sequence[ZooTask]) -> OperatorFamilies | None:
    """The operator's families of a zoo; None if all of its tasks are rendered."""
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
            numbers.append(np.full(len(task.labels), _NO_HEAD))
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
    """Read ``OperatorFamilies.arrays``, with names and families.

    Raises:
        DecodeError: They do not fit together.
    """
    found = OperatorFamilies(names=tuple(names), families=tuple(families), **arrays)
    if found.weight.ndim != 3 or len(found.weight) != 2:
        raise DecodeError("generator: the operator's families do not have two heads each")
    rows, heads, entries = len(found.deviations), found.weight.shape[1], len(found.centres)
    if not (
        len(found.names) == len(found.entry) == len(found.head) == rows
        and len(found.families) == entries
        and found.bias.shape == (2, heads)
        and ((found.head >= _NO_HEAD) & (found.head < heads)).all()
        and np.array_equal(np.unique(found.entry), np.arange(entries))
        and (np.diff(found.entry) >= 0).all()
    ):
        raise DecodeError("generator: arrays of the operator's families do not fit together")
    return found


def heads_for(
    own: OperatorFamilies, priors: Priors, estimate: Prediction, labels: Sequence[str]
) -> list[tuple[Array, Array]]:
    """The heads of the plant's family, the more promising first, if the operator has it.

    Args:
        own: From ``collect``.
        priors: Of the generator.
        estimate: BLUP's prediction for the plant.
        labels: The plant's class names, K.

    Returns:
        Weight ``[K, D]`` and bias ``[K]`` of each, on local features as they are; none if no
        family of the operator's is likely. The head with domain-shift augmentation comes first
        where a shift is more likely than ``match.SHIFT_LIKELY``.
    """
    found = match_family(own, measure(own, priors), priors, estimate, labels)
    if found is None or found.share < LIKELY:
        return []
    rows = own.head[found.matched]  # [E, K]
    if (rows == _NO_HEAD).any():
        return []
    heads = []
    for weight, bias in zip(own.weight, own.bias, strict=True):
        mean = found.mean(bias[rows])
        heads.append(
            (found.mean(weight[rows]).astype(np.float32), (mean - mean.mean()).astype(np.float32))
        )
    return heads[::-1] if found.shifted > SHIFT_LIKELY else heads
