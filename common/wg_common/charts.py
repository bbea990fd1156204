"""Geometry of the reports' charts: values in, SVG coordinates or percentages out.

``templates/charts.html.j2`` draws them with plain HTML and SVG, so that they follow the page's
width, colours and fonts, in print and in dark mode.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
from markupsafe import Markup, escape

from wg_common.language import Text

Caption = str | Text
_HYPHENATED_WORD = re.compile(r"[!-~]*-[!-~]+")


@dataclass(frozen=True, slots=True)
class Tick:
    """Label on a chart's axis.

    Attributes:
        at: Position along the axis, in SVG units.
        text: Text of the label.
        anchor: Value of SVG's ``text-anchor``.
    """

    at: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Dot:
    """Point on a chart's line: coordinates in SVG units, and tooltip (``title``)."""

    x: float
    y: float
    title: Caption


@dataclass(frozen=True, slots=True)
class Line:
    """Line of a chart: its SVG path data, and the dots on it."""

    path: str
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """Size of a line chart, and the edges of the area in which values are drawn, in SVG units.

    Values from 0 to 1 are mapped to this area, from left to right and from bottom to top.
    """

    width: int = 340
    height: int = 190
    left: int = 34
    right: int = 322
    top: int = 8
    bottom: int = 164

    def x(self, value: float) -> float:
        """Return the horizontal coordinate of a value from 0 to 1."""
        return round(self.left + (self.right - self.left) * value, 1)

    def y(self, value: float) -> float:
        """Return the vertical coordinate of a value from 0 to 1."""
        return round(self.bottom - (self.bottom - self.top) * value, 1)

    def line(self, points: Sequence[tuple[float, float, Caption]]) -> Line:
        """Return the chart's line through points (x, y, tooltip)."""
        dots = tuple(Dot(self.x(x), self.y(y), title) for x, y, title in points)
        return Line("M" + "L".join(f"{dot.x} {dot.y}" for dot in dots), dots)


@dataclass(frozen=True, slots=True)
class LineChart:
    """Line chart to be drawn: its axes, its lines, and the labels on both axes."""

    axes: Axes
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class BarRow:
    """Row of a bar chart; positions and lengths are per cent of the track.

    Attributes:
        name: Label of the row.
        kept: True for a highlighted row.
        value: Formatted value.
        start: Start of the bar.
        length: Length of the bar.
        low: Start of the interval.
        spread: Length of the interval.
        interval: Formatted interval; empty if there is none.
    """

    name: Caption
    kept: bool
    value: str
    start: float
    length: float
    low: float
    spread: float
    interval: str


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bar chart to be drawn: its rows, and the position of its reference line, per cent."""

    rows: tuple[BarRow, ...]
    reference: float


def bar_chart(
    values: Sequence[tuple[str, bool, float, float, float]],
    reference: float,
    number_format: str,
    *,
    begins_at_zero: bool = True,
) -> BarChart:
    """Lay out a bar chart of values with intervals.

    Args:
        values: For each row: name, True to highlight it, value, and both ends of the interval.
        reference: Value of the reference line.
        number_format: Format specification for the displayed numbers, as for ``format``.
        begins_at_zero: True for bars that begin at zero; False for points on a track without zero.
    """
    ends = [end for _, _, *numbers in values for end in numbers] + [reference]
    bottom = min([*ends, 0.0]) if begins_at_zero else min(ends)
    top = max([*ends, 0.0]) if begins_at_zero else max(ends)
    size = top - bottom or 1.0

    def place(number: float) -> float:
        return round(100 * (number - bottom) / size, 2)

    rows = []
    for name, is_kept, value, low, high in values:
        origin = min(0.0, value) if begins_at_zero else value
        rows.append(
            BarRow(
                name=name,
                kept=is_kept,
                value=format(value, number_format),
                start=place(origin),
                length=round(place(max(0.0, value)) - place(origin), 2) if begins_at_zero else 0.0,
                low=place(low),
                spread=round(place(high) - place(low), 2),
                interval=f"{format(low, number_format)} … {format(high, number_format)}"
                if high > low
                else "",
            )
        )
    return BarChart(tuple(rows), place(reference))


def template_environment(package: str) -> jinja2.Environment:
    """Return a strict Jinja environment of a package's templates and the chart templates."""
    loaders = [jinja2.PackageLoader(name, "templates") for name in (package, "wg_common")]
    templates = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["unbroken"] = _without_line_breaks
    return templates


def _without_line_breaks(sentence: str) -> Markup:
    """Return a sentence as HTML whose hyphenated names and commands never break."""
    return Markup(_HYPHENATED_WORD.sub(r'<span class="whole">\g<0></span>', str(escape(sentence))))  # noqa: S704
