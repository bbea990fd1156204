"""Geometry of the report's pictures: numbers in, places in per cent or in a drawing out.

The template draws them with plain HTML and SVG, so that they follow the page's width, its colours
and its fonts, in print and in the dark.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 34, 322, 8, 164
MATRIX_LIMIT = 10
"""Classes at most of which all pairs are shown; of more, the commonest mistakes alone."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a bar chart; places are per cent of the track.

    Attributes:
        name: What it is.
        kept: Whether it stands out.
        value: For people.
        start: Where the bar begins.
        length: How long it is.
        low: Where the interval begins.
        spread: How long the interval is.
        interval: The interval, for people; empty: none.
    """

    name: str
    kept: bool
    value: str
    start: float
    length: float
    low: float
    spread: float
    interval: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A bar chart, and where its line of reference stands, per cent."""

    rows: tuple[Row, ...]
    reference: float


def bars(
    values: Sequence[tuple[str, bool, float, float, float]],
    reference: float,
    form: str,
    *,
    zero: bool = True,
) -> Rows:
    """Values with intervals.

    Args:
        values: Name, whether it stands out, value, lower and upper end.
        reference: Where a line is drawn.
        form: How numbers are written, for ``format``.
        zero: Whether bars begin at zero and zero is on the track; else points on a track.
    """
    ends = [end for _, _, *numbers in values for end in numbers] + [reference]
    bottom = min([*ends, 0.0]) if zero else min(ends)
    top = max([*ends, 0.0]) if zero else max(ends)
    size = top - bottom or 1.0

    def place(number: float) -> float:
        return round(100 * (number - bottom) / size, 2)

    rows = []
    for name, is_kept, value, low, high in values:
        origin = min(0.0, value) if zero else value
        rows.append(
            Row(
                name=name,
                kept=is_kept,
                value=format(value, form),
                start=place(origin),
                length=round(place(max(0.0, value)) - place(origin), 2) if zero else 0.0,
                low=place(low),
                spread=round(place(high) - place(low), 2),
                interval=f"{format(low, form)} … {format(high, form)}" if high > low else "",
            )
        )
    return Rows(tuple(rows), place(reference))


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a drawing: its path, and its dots with what they say."""

    name: str
    path: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Lines in axes; ``reference`` is the height of a line across, or None."""

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    reference: float | None = None


def reliability(
    logits: NDArray[np.float64], labels: NDArray[np.int64], *, bins: int = 8
) -> Drawing:
    """Share right against probability said, over bins of equally many records.

    Args:
        logits: Out of fold, ``[m, K]``, m at least 1.
        labels: ``[m]``.
    """
    chances = softmax(logits, axis=1)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == labels
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(labels)))
    points = [
        (float(confidence[rows].mean()), float(right[rows].mean()), len(rows)) for rows in parts
    ]
    dots = [
        (
            _x(probability),
            _y(share, 0.0),
            f"{100 * probability:.0f} % → {100 * share:.0f} % ({count})",
        )
        for probability, share, count in points
    ]
    ideal = Line("", f"M{_x(0)} {_y(0, 0)}L{_x(1)} {_y(1, 0)}", ())
    return Drawing((_line("", dots), ideal), _SHARE_TICKS, _percents(0.0))


def shares(lines: Sequence[tuple[str, Sequence[tuple[float, float, str]]]]) -> Drawing:
    """Lines of shares against shares.

    Args:
        lines: Name and points of each: both places in 0 to 1, and what a point says.
    """
    drawn = tuple(
        _line(name, [(_x(across), _y(up, 0.0), said) for across, up, said in points])
        for name, points in lines
    )
    return Drawing(drawn, _SHARE_TICKS, _percents(0.0))


def _x(share: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * share, 1)


_SHARE_TICKS = tuple(Tick(_x(share), f"{100 * share:.0f}") for share in (0, 0.25, 0.5, 0.75, 1))


def _y(share: float, low: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * (share - low) / (1 - low or 1), 1)


def _percents(low: float) -> tuple[Tick, ...]:
    shares = [low + (1 - low) * part / 4 for part in range(5)]
    return tuple(Tick(_y(share, low), f"{100 * share:.0f}") for share in shares)


def _line(name: str, dots: Sequence[tuple[float, float, str]]) -> Line:
    return Line(name, "M" + "L".join(f"{x} {y}" for x, y, _ in dots), tuple(dots))


@dataclass(frozen=True, slots=True)
class Cell:
    """Records of one class that are called another: how many, and as a share of the class."""

    records: float
    share: float

    @property
    def shown(self) -> str:
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
