"""Report on a soft sensor: summary, and estimates against laboratory values.

It contains values of the plant and stays there.
"""

from collections.abc import Sequence

import numpy as np

from wg_client.data.laboratory import LaboratoryWindows
from wg_client.fitting.linear_head import Ints
from wg_client.fitting.sensor_models import Floats
from wg_client.models.soft_sensor import Estimates
from wg_common import language
from wg_common.charts import Axes, Line, LineChart, Tick, template_environment
from wg_common.language import Text

_LINE_POINT_COUNT = 200
"""Largest number of points of a line in the drawing."""


def render_sensor_report(
    column_and_unit: tuple[str, str],
    summary: Sequence[Text],
    windows: LaboratoryWindows,
    estimates: Estimates,
) -> str:
    """Render the report as HTML in the current language.

    Args:
        column_and_unit: Name of the laboratory column, and its unit; empty unit: unknown.
        summary: Summary of the result, as sentences.
        windows: Windows, with laboratory values where there are any.
        estimates: Estimates for these windows.
    """
    speak = language.current_language()
    target, unit = column_and_unit
    return (
        template_environment("wg_client.selection")
        .get_template("soft_sensor.html.j2")
        .render(
            target=target,
            title=f"{target} [{unit}]" if unit else target,
            lines=summary,
            picture=_draw_chart(windows, estimates),
            has_laboratory=bool(np.isfinite(windows.values).any()),
            t=speak.translate,
            say=speak,
            lang=speak.code,
        )
    )


def _draw_chart(windows: LaboratoryWindows, estimates: Estimates) -> LineChart:
    """Draw laboratory values, estimates, and both ends of the interval against time."""
    count = len(windows.values)
    rows = _thin_rows(np.arange(count))
    known_rows = _thin_rows(np.flatnonzero(np.isfinite(windows.values)))
    curves = (
        (known_rows, windows.values[known_rows]),
        (rows, estimates.values[rows]),
        (rows, estimates.lower[rows]),
        (rows, estimates.upper[rows]),
    )
    all_values = np.concatenate([values for _, values in curves])
    low, high = np.nanmin(all_values), np.nanmax(all_values)
    axes = Axes(left=64)

    def line(places: Ints, values: Floats) -> Line:
        across, up = places / max(count - 1, 1), (values - low) / (high - low or 1)
        points = [
            (float(x), float(y), f"{value:.4g}")
            for x, y, value in zip(across, up, values, strict=True)
            if np.isfinite(value)
        ]
        return axes.line(points) if points else Line("")

    laboratory, sensor, *ends = (line(*curve) for curve in curves)
    y_ticks = tuple(
        Tick(axes.y(share), f"{low + share * (high - low):.4g}") for share in (0, 0.5, 1)
    )
    x_ticks = (
        Tick(axes.x(0), windows.times[0], "start"),
        Tick(axes.x(1), windows.times[-1], "end"),
    )
    interval = (Line(end.path) for end in ends)
    return LineChart(axes, (laboratory, Line(sensor.path), *interval), x_ticks, y_ticks)


def _thin_rows(rows: Ints) -> Ints:
    """Return up to ``_LINE_POINT_COUNT`` rows, evenly spaced."""
    if not len(rows):
        return rows
    some_rows: Ints = rows[np.unique(np.linspace(0, len(rows) - 1, _LINE_POINT_COUNT).astype(int))]
    return some_rows
