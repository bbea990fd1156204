"""Means over simulated plants, with standard errors clustered by family."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def clustered(values: NDArray[np.floating], clusters: Sequence[str]) -> tuple[float, float]:
    """Mean over clusters' means, and its standard error."""
    names, index = np.unique(np.array(clusters), return_inverse=True)
    means = np.bincount(index, values) / np.bincount(index)
    error = means.std(ddof=1) / np.sqrt(len(names)) if len(names) > 1 else float("nan")
    return float(means.mean()), float(error)


def clearly_best(scores: NDArray[np.floating], clusters: Sequence[str]) -> int:
    """Which of several ways is the best on average, where the first needs no evidence.

    Args:
        scores: Of each way on the same n plants, ``[W, n]``.

    Returns:
        Number of the best one, if it is above the first by more than one standard error; else 0.
    """
    best = int(np.argmax(scores.mean(axis=1)))
    gain, error = clustered(scores[best] - scores[0], clusters)
    return best if gain > error else 0
