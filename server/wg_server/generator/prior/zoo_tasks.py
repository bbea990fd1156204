"""The zoo's tasks as priors and the model card use them, and families held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.discriminants import class_means


@dataclass(frozen=True, slots=True, eq=False)
class ZooTask:
    """One site of one family.

    Attributes:
        key: Name of the zoo entry.
        family: Name of the family.
        labels: Class names.
        features: float32 ``[n, d]``.
        y: int64 ``[n]``.
    """

    key: str
    family: str
    labels: tuple[str, ...]
    features: NDArray[np.float32]
    y: NDArray[np.int64]

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean of the class means, ``[d]``, and each class's deviation from it, ``[K, d]``."""
        means = class_means(self.features, self.y, len(self.labels))
        centre = means.mean(axis=0)
        return centre, means - centre


def split_families(
    tasks: Sequence[ZooTask], rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """Families for the priors, and about a quarter, at least two, for the model card."""
    names = sorted({task.family for task in tasks})
    order = [names[i] for i in rng.permutation(len(names))]
    part_size = max(2, len(names) // 4)
    return order[part_size:], order[:part_size]
