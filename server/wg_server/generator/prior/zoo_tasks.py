"""Tasks of the zoo, on which priors are fitted and evaluated, and their split by family."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.inference.discriminants import class_means


@dataclass(frozen=True, slots=True, eq=False)
class ZooTask:
    """Task of the zoo: one site of one family.

    Attributes:
        entry_key: Name of the zoo entry.
        family: Name of the family.
        labels: Class names.
        features: Released features of the records, float32 ``[n, d]``.
        y: Class indices of the records, int64 ``[n]``.
    """

    entry_key: str
    family: str
    labels: tuple[str, ...]
    features: NDArray[np.float32]
    y: NDArray[np.int64]

    def class_mean_and_deviations(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean of the class means, ``[d]``, and the classes' deviations, ``[K, d]``."""
        means = class_means(self.features, self.y, len(self.labels))
        centre = means.mean(axis=0)
        return centre, means - centre


def split_train_and_test_families(
    tasks: Sequence[ZooTask], rng: np.random.Generator
) -> tuple[list[str], list[str]]:
    """Return families to fit priors on, and test families: a random quarter, at least two."""
    names = sorted({task.family for task in tasks})
    order = [names[i] for i in rng.permutation(len(names))]
    part_size = max(2, len(names) // 4)
    return order[part_size:], order[:part_size]
