"""Scores of all methods on the same simulated plants, as they stand on a model card.

Means are over families, standard errors clustered by family, and differences paired.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

COMPLETED, ALONE, EXCHANGED = "completed", "alone", "exchanged"  # Methods: see ``head_card``
UNNAMED = "unnamed"


class Scores:
    """Accuracy by method and plant, in one scenario."""

    def __init__(self) -> None:
        self._families: list[str] = []
        self._values: dict[str, list[float]] = {}

    def add(self, family: str, accuracies: Mapping[str, float]) -> None:
        """One plant's; every plant has the same methods."""
        self._families.append(family)
        for method, value in accuracies.items():
            self._values.setdefault(method, []).append(value)

    def rows(self) -> dict[str, dict[str, float]]:
        """For each method its accuracy, and by how much ``completed`` is above it."""
        table = {}
        for method, values in self._values.items():
            mean, error = cluster_mean(np.array(values), self._families)
            difference = np.array(self._values[COMPLETED]) - np.array(values)
            gain, gain_error = cluster_mean(difference, self._families)
            table[method] = {
                "accuracy": mean,
                "error": error,
                "gain": gain,
                "gain_error": gain_error,
            }
        return table


def cluster_mean(values: NDArray[np.floating], clusters: Sequence[str]) -> tuple[float, float]:
    """Mean over clusters' means, and its standard error."""
    names, index = np.unique(np.array(clusters), return_inverse=True)
    means = np.bincount(index, values) / np.bincount(index)
    error = means.std(ddof=1) / np.sqrt(len(names)) if len(names) > 1 else float("nan")
    return float(means.mean()), float(error)
