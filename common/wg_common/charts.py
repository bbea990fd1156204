"""Charts of the reports as geometry: numbers in, places in a drawing or in per cent out.

``templates/charts.html.j2`` draws them with plain HTML and SVG, so that they follow the page's
width, its colours and its fonts, in print and in the dark.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
from markupsafe import Markup, escape

from wg_common.language import Text

Said = str | Text
_HYPHENS = re.compile(r"[!-~]*-[!-~]+")


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis, at a coordinate."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a line, and what it says."""

    x: float
    y: float
    title: Said


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a drawing: its path, and the dots on it."""

    path: str
    dots: tuple[Dot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The frame of a drawing of shares against shares, in SVG units."""

    width: int = 340
    height: int = 190
    left: int = 34
    right: int = 322
    top: int = 8
    bottom: int = 164

    def x(self, value: float) -> float:
        """Where a share stands across."""
        return round(self.left + (self.right - self.left) * value, 1)

    def y(self, value: float) -> float:
        """Where a share stands upward."""
        return round(self.bottom - (self.bottom - self.top) * value, 1)

    def line(self, points: Sequence[tuple[float, float, Said]]) -> Line:
        """A line through points, each with what it says."""
        dots = tuple(Dot(self.x(x), self.y(y), title) for x, y, title in points)
        return Line("M" + "L".join(f"{dot.x} {dot.y}" for dot in dots), dots)


@dataclass(frozen=True, slots=True)
class Drawing:
    """Lines in axes."""

    axes: Axes
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...] = ()
    y_ticks: tuple[Tick, ...] = ()


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

    name: Said
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


def environment(package: str) -> jinja2.Environment:
    """The templates of a report's package, with those of charts beside them; strict."""
    loaders = [jinja2.PackageLoader(name, "templates") for name in (package, "wg_common")]
    templates = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["unbroken"] = _unbroken
    return templates


def _unbroken(sentence: str) -> Markup:
    """HTML of a sentence whose words with hyphens, as names and commands are, stand on one line."""
    return Markup(_HYPHENS.sub(r'<span class="whole">\g<0></span>', str(escape(sentence))))  # noqa: S704
