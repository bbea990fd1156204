"""Scores of all methods on the same simulated plants, as they stand on a model card.

Means are over families, standard errors clustered by family, and differences to the network paired.
"""

from collections.abc import Collection, Mapping

import numpy as np

from wg_server.generator.statistics import clustered

LOSS_MARGIN = 0.01
"""Accuracy by which the network must be below a method for the card to list it as a loss."""
NETWORK = "network"


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
        """For each method its accuracy, and by how much the network is above it."""
        table = {}
        for method, values in self._values.items():
            mean, error = clustered(np.array(values), self._families)
            difference = np.array(self._values[NETWORK]) - np.array(values)
            gain, gain_error = clustered(difference, self._families)
            table[method] = {
                "accuracy": mean,
                "error": error,
                "network_minus": gain,
                "network_minus_error": gain_error,
            }
        return table


def losses(
    scenario: str, rows: Mapping[str, Mapping[str, float]], methods: Collection[str]
) -> list[str]:
    """Where the network is clearly below a method, in words."""
    return [
        f"{scenario}: {-row['network_minus']:.3f} +- {row['network_minus_error']:.3f} below {name}"
        for name, row in rows.items()
        if name in methods and row["network_minus"] < -LOSS_MARGIN
    ]


_OF_NETWORK = frozenset(
    {NETWORK, "sample", "sample-mean", "network head on base", "blend", "another-plant"}
    | {"permuted-classes", "shuffled-tokens", "shuffled-condition"}
)
"""Methods of a card that are made by the network, blended with it, or show what it goes by."""


def against_others(rows: Mapping[str, Mapping[str, float]]) -> tuple[float, str, float]:
    """Accuracy of what is generated; the best method without a network, and its accuracy.

    Args:
        rows: Of one scenario of a card, by method.

    Raises:
        KeyError: It has no row of the network.
    """
    network_accuracy = float(rows[NETWORK]["accuracy"])
    baselines = {
        name: float(row["accuracy"]) for name, row in rows.items() if name not in _OF_NETWORK
    }
    best = max(baselines, key=lambda name: baselines[name])
    return network_accuracy, best, baselines[best]
