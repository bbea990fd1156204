"""Charts of predictions in the report: error shares by threshold, and the confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wg_common.charts import Axes, Caption, Line, LineChart, Tick

MATRIX_CLASSES_LIMIT = 10
"""Most classes for which the whole matrix is shown; with more, only the commonest mistakes."""


def percentage_chart(
    curves: Sequence[Sequence[tuple[float, float, Caption]]], *background_lines: Line
) -> LineChart:
    """Draw curves of shares between 0 and 1, with axes in per cent.

    Args:
        curves: Points of each curve: x and y in 0 to 1, and the point's tooltip.
        background_lines: Lines that are drawn behind the curves.
    """
    axes, marks = Axes(), (0, 0.25, 0.5, 0.75, 1)
    return LineChart(
        axes,
        (*(axes.line(points) for points in curves), *background_lines),
        tuple(Tick(axes.x(share), f"{100 * share:.0f}") for share in marks),
        tuple(Tick(axes.y(share), f"{100 * share:.0f}") for share in marks),
    )


@dataclass(frozen=True, slots=True)
class ConfusionCell:
    """Cell of the confusion matrix: its number of records, and their share of the true class."""

    records: float
    share: float

    @property
    def count_text(self) -> str:
        """Number of records in the cell, as text."""
        return "" if not self.records else "<1" if self.records < 1 else f"{self.records:.0f}"


def confusion_matrix(
    predictions: NDArray[np.int64], labels: NDArray[np.int64], class_count: int
) -> list[list[ConfusionCell]]:
    """Return the confusion matrix (rows: true class), averaged over repeats of cross-validation.

    Args:
        predictions: Predicted class of m records in r repeats, ``[r, m]``.
        labels: True class of each record, ``[m]``.
        class_count: Number of classes, which is the number of rows and of columns.
    """
    table = np.zeros((class_count, class_count))
    for row in predictions:
        np.add.at(table, (labels, row), 1.0 / len(predictions))
    totals = np.maximum(table.sum(axis=1), 1e-9)
    return [
        [ConfusionCell(float(v), float(v / t)) for v in row]
        for row, t in zip(table, totals, strict=True)
    ]
