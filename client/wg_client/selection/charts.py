"""Charts of predictions in the report: shares by a threshold, what is mistaken for what."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.charts import Axes, Drawing, Line, Said, Tick

MATRIX_LIMIT = 10
"""Classes at most of which all pairs are shown; of more, the commonest mistakes alone."""


def shares(lines: Sequence[Sequence[tuple[float, float, Said]]], *further: Line) -> Drawing:
    """Lines of shares against shares.

    Args:
        lines: Points of each: both places in 0 to 1, and what a point says.
        further: Lines behind them, as they are drawn.
    """
    axes, marks = Axes(), (0, 0.25, 0.5, 0.75, 1)
    return Drawing(
        axes,
        (*(axes.line(points) for points in lines), *further),
        tuple(Tick(axes.x(share), f"{100 * share:.0f}") for share in marks),
        tuple(Tick(axes.y(share), f"{100 * share:.0f}") for share in marks),
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """Records of one class that are called another: how many, and as a share of the class."""

    records: float
    share: float

    @property
    def count_text(self) -> str:
        """For people."""
        return "" if not self.records else "<1" if self.records < 1 else f"{self.records:.0f}"


def confusion(
    predictions: NDArray[np.int64], labels: NDArray[np.int64], classes: int
) -> list[list[Cell]]:
    """Records of each true class (row) by what they are called, mean over repeats ``[r, m]``."""
    table = np.zeros((classes, classes))
    for row in predictions:
        np.add.at(table, (labels, row), 1.0 / len(predictions))
    totals = np.maximum(table.sum(axis=1), 1e-9)
    return [
        [Cell(float(v), float(v / t)) for v in row] for row, t in zip(table, totals, strict=True)
    ]
