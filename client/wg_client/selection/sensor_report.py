"""Report on a soft sensor: summary, and estimates against laboratory values.

It contains values of the plant and stays there.
"""

from collections.abc import Sequence

import numpy as np

from wg_client.fitting.numbers import Floats
from wg_client.models.soft_sensor import Estimates
from wg_common import language
from wg_common.charts import Axes, LineChart, Tick, template_environment
from wg_common.language import Text

_POINTS = 200
"""Largest number of windows in the drawing."""


def render_sensor_report(
    target: str,
    lines: Sequence[Text],
    hours: tuple[Floats, Estimates],
) -> str:
    """Render the report as HTML in the current language.

    Args:
        target: Column of the values.
        lines: Summary as sentences.
        hours: Laboratory values ``[n]``, NaN where there is none, and estimates.
    """
    speak = language.current_language()
    return (
        template_environment("wg_client.selection")
        .get_template("soft_sensor.html.j2")
        .render(
            target=target,
            lines=lines,
            picture=_drawing(*hours),
            t=speak.translate,
            say=speak,
            lang=speak.code,
        )
    )


def _drawing(laboratory: Floats, estimates: Estimates) -> LineChart:
    """Draw estimates and laboratory values against time."""
    rows = np.flatnonzero(np.isfinite(laboratory))
    if not len(rows):
        rows = np.arange(len(laboratory))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, _POINTS).astype(int))]
    both = np.stack([laboratory[rows], estimates.values[rows]])
    low, high = np.nanmin(both), np.nanmax(both)
    axes, across = Axes(), np.linspace(0, 1, len(rows))

    def line(values: Floats) -> list[tuple[float, float, str]]:
        shares = (values - low) / (high - low or 1)
        return [
            (float(x), float(y), f"{value:.4g}")
            for x, y, value in zip(across, shares, values, strict=True)
            if np.isfinite(value)
        ]

    lines = [line(values) for values in both]
    ticks = tuple(Tick(axes.y(share), f"{low + share * (high - low):.4g}") for share in (0, 0.5, 1))
    return LineChart(axes, tuple(axes.line(part) for part in lines if part), (), ticks)
