"""Accuracies of several methods on the same simulated plants, for a model card.

Each family has equal weight in means, standard errors are clustered by family, and differences
between methods are paired by plant.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

COMPLETED_HEAD, HEAD_ALONE, EXCHANGED_HEAD = (
    "completed",
    "alone",
    "exchanged",
)  # Methods: see ``head_card``
UNNAMED_HEAD = "unnamed"


class MethodScores:
    """Accuracies of several methods at the simulated plants of one scenario."""

    def __init__(self) -> None:
        self._families: list[str] = []
        self._values: dict[str, list[float]] = {}

    def add_plant(self, family: str, accuracies: Mapping[str, float]) -> None:
        """Add the accuracies of one plant by method; all plants must have the same methods."""
        self._families.append(family)
        for method, value in accuracies.items():
            self._values.setdefault(method, []).append(value)

    def table_rows(self) -> dict[str, dict[str, float]]:
        """Return by method its mean accuracy, and the gain of ``completed`` over it, with errors.

        A row has ``accuracy``, ``gain``, and their standard errors ``error`` and ``gain_error``.
        """
        table = {}
        for method, values in self._values.items():
            mean, error = cluster_mean_and_error(np.array(values), self._families)
            difference = np.array(self._values[COMPLETED_HEAD]) - np.array(values)
            gain, gain_error = cluster_mean_and_error(difference, self._families)
            table[method] = {
                "accuracy": mean,
                "error": error,
                "gain": gain,
                "gain_error": gain_error,
            }
        return table


def cluster_mean_and_error(
    values: NDArray[np.floating], clusters: Sequence[str]
) -> tuple[float, float]:
    """Average values in each cluster; return the mean of these averages, and its standard error."""
    names, index = np.unique(np.array(clusters), return_inverse=True)
    means = np.bincount(index, values) / np.bincount(index)
    error = means.std(ddof=1) / np.sqrt(len(names)) if len(names) > 1 else float("nan")
    return float(means.mean()), float(error)
