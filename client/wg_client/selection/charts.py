"""The report's pictures, as self-contained SVG text. No global plotting state."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

INK = "#1d2733"
MUTED = "#8b97a6"
ACCENT = "#0b6e4f"
ALERT = "#b3541e"
GRID = "#e6eaef"
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "weightgate",
    "text.parse_math": False,  # a label is a name, whatever dollar signs it has
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": INK,
    "ytick.color": INK,
}


def accuracy_bars(
    names: Sequence[str],
    values: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    kept: str,
    floor: float,
) -> str:
    """Accuracy of each model on new records with its 95 % interval; the kept one in colour.

    Args:
        names: Models, top to bottom.
        values: Accuracies in 0..1.
        intervals: Their lower and upper ends.
        kept: The model kept.
        floor: Accuracy of local-only, drawn as a line.
    """
    with _rows(names, "accuracy on new records, %, with 95 % intervals (dashed: local-only)") as (
        figure,
        axes,
        rows,
    ):
        colours = [ACCENT if name == kept else "#c3ccd6" for name in names]
        percent, ends = 100 * np.asarray(values), 100 * np.asarray(intervals).reshape(-1, 2)
        axes.barh(rows, percent, height=0.62, color=colours, zorder=2)
        spread = np.abs(ends.T - percent)
        axes.errorbar(percent, rows, xerr=spread, fmt="none", ecolor=INK, capsize=3, lw=1, zorder=3)
        axes.axvline(100 * floor, color=ALERT, lw=1.2, ls=(0, (4, 3)), zorder=4)
        for row, value, end in zip(rows, percent, ends[:, 1], strict=True):
            axes.text(end + 1.2, row, f"{value:.1f}", va="center", fontsize=9, zorder=5)
        axes.set_xlim(0, min(max(float(np.max(ends)) + 9, 20), 112))
        return _svg(figure)


def gain_intervals(
    names: Sequence[str], gains: Sequence[float], sds: Sequence[float], passed: Sequence[bool]
) -> str:
    """Estimated gain over local-only with 95 % intervals.

    Args:
        names: Models, top to bottom.
        gains: Gains, 0.01 = one point.
        sds: Standard errors.
        passed: Whether the rule would keep the model: in colour.
    """
    with _rows(names, "right answers more than local-only's, points") as (figure, axes, rows):
        middle, sd = 100 * np.asarray(gains), 100 * np.asarray(sds)
        colours = [ACCENT if kept else ALERT for kept in passed]
        axes.axvline(0, color=INK, lw=1, zorder=1)
        axes.hlines(rows, middle - 1.96 * sd, middle + 1.96 * sd, color=colours, lw=3, zorder=2)
        axes.scatter(middle, rows, color=colours, s=60, zorder=4, linewidth=0)
        axes.set_ylim(-0.6, len(names) - 0.4)
        return _svg(figure)


@contextmanager
def _rows(
    names: Sequence[str], what: str
) -> Iterator[tuple[Figure, mpl.axes.Axes, NDArray[np.intp]]]:
    """A figure with one row for each name, top to bottom."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(7.2, 0.46 * len(names) + 0.8), layout="constrained")
        axes = figure.subplots()
        rows = np.arange(len(names))[::-1]
        axes.set_yticks(rows, list(names))
        axes.set_xlabel(what)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(length=0)
        axes.grid(axis="x", color=GRID, zorder=0)
        axes.set_axisbelow(True)
        yield figure, axes, rows


def confusion(matrix: NDArray[np.float64], labels: Sequence[str]) -> str:
    """Confusion matrix of counts ``[K, K]``, true classes in rows; shares shown as shade."""
    k = len(labels)
    size = min(max(0.42 * k + 1.6, 3.2), 9.0)
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(size + 0.6, size), layout="constrained")
        axes = figure.subplots()
        totals = np.maximum(matrix.sum(axis=1, keepdims=True), 1e-9)
        axes.imshow(matrix / totals, cmap="Greens", vmin=0, vmax=1)
        if k <= 20:
            for row, column in np.argwhere(matrix > 0):
                share = matrix[row, column] / totals[row, 0]
                axes.text(
                    column,
                    row,
                    f"{matrix[row, column]:.0f}" if matrix[row, column] >= 0.5 else "<1",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if share > 0.6 else INK,
                )
        shown = range(k) if k <= 40 else range(0, k, -(-k // 40))
        names = [_short(labels[index]) for index in shown]
        wide = max(len(name) for name in names) > 2
        axes.set_xticks(
            list(shown), names, rotation=60 if wide else 0, ha="right" if wide else "center"
        )
        axes.set_yticks(list(shown), names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.tick_params(length=0, labelsize=8)
        for side in axes.spines.values():
            side.set_visible(False)
        return _svg(figure)


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
