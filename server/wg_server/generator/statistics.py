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
