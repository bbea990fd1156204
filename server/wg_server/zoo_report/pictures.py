"""The report's plots, as SVG that stands in the page. Points are rasterised inside it.

All are as wide as a phone shows, so that their text can be read there; a wide page shows two in
a row.
"""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wg_common.inference.discriminants import unit_rows
from wg_server.zoo_report import domains as points
from wg_server.zoo_report.domains import Domain, Floats
from wg_server.zoo_report.plants import Plant
from wg_server.zoo_report.summary import Group

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#5a6675",
    "axes.labelcolor": "#5a6675",
    "xtick.color": "#5a6675",
    "ytick.color": "#5a6675",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "weightgate",
    "svg.fonttype": "none",
    "text.parse_math": False,  # names come from outside
}
_WIDTH = 4.6  # Inches
_LETTERS, _MARK = 60, 7
"""Letters in a row of this width, and how many of them a mark with its margins takes."""
_COLOURS = (
    "#1f6f8b",
    "#d08a2e",
    "#5b8c5a",
    "#a4508b",
    "#8b5a2b",
    "#5a6fb0",
    "#b3372f",
    "#7a8794",
    "#3aa6a0",
    "#c2a83e",
)


def draw(
    domains: Sequence[Domain],
    likeness: Floats,
    own: Floats,
    kinds: Sequence[Group],
    plants: Sequence[Plant],
) -> dict[str, str]:
    """All plots by name; arguments as in ``summary.summarise``."""
    with rc_context(_STYLE):
        return {
            "deviations": _deviations(domains, plants),
            "means": _means(domains, plants),
            "distances": _distances(own, points.same_family(domains, likeness), plants),
            "accuracies": _accuracies(domains),
            "shares": _shares(kinds),
        }


def _deviations(domains: Sequence[Domain], plants: Sequence[Plant]) -> str:
    """Class deviations in the plane of their two leading directions."""
    return _map(
        "Class deviations, one point a class of an entry",
        [(domain.kind, unit_rows(domain.deviations)) for domain in domains],
        [(plant.name, unit_rows(plant.deviations)) for plant in plants if plant.classes > 1],
    )


def _means(domains: Sequence[Domain], plants: Sequence[Plant]) -> str:
    """Site means, likewise."""
    return _map(
        "Site means, one point an entry",
        [(domain.kind, domain.centre[None]) for domain in domains],
        [(plant.name, plant.centre[None]) for plant in plants],
    )


def _distances(own: Floats, same_family: Floats, plants: Sequence[Plant]) -> str:
    """Distances of entries to the nearest other family and to the nearest one of their own."""
    figure = _figure(2.7)
    axes = figure.subplots()
    last = max(1e-3, float(own.max()), *(plant.distance for plant in plants))
    bins = np.linspace(0, last, 40).tolist()
    axes.hist(own, bins=bins, color=_COLOURS[0], alpha=0.75, label="nearest other family")
    known = same_family[~np.isnan(same_family)]
    if len(known):
        axes.hist(known, bins=bins, color=_COLOURS[1], alpha=0.55, label="nearest same-family site")
    for number, plant in enumerate(plants):
        axes.axvline(plant.distance, color=_COLOURS[6], linestyle=("-", "--", ":")[number % 3])
        axes.annotate(
            plant.name,
            (plant.distance, 0.9 - 0.12 * (number % 6)),
            xycoords=("data", "axes fraction"),
        )
    axes.set_xlabel("distance, 0 to 1")
    axes.set_ylabel("entries")
    _legend(figure, axes)
    return _svg(figure)


def _accuracies(domains: Sequence[Domain]) -> str:
    """Held-out accuracy of the entries' own heads, by kind."""
    kinds = sorted({domain.kind for domain in domains})
    figure = _figure(0.9 + 0.27 * len(kinds))
    axes = figure.subplots()
    values = [[float(d.entry.accuracy) for d in domains if d.kind == kind] for kind in kinds]
    rng = np.random.default_rng(0)
    for row, one in enumerate(values):
        shaken = row + rng.uniform(-0.25, 0.25, len(one))
        axes.scatter(one, shaken, s=5, color=_COLOURS[0], alpha=0.4, linewidths=0, rasterized=True)
        axes.plot([np.median(one)] * 2, [row - 0.35, row + 0.35], color=_COLOURS[6], linewidth=1.6)
    axes.set_yticks(range(len(kinds)), kinds)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.01)
    axes.set_xlabel("accuracy on a fifth held out; the line is the median")
    return _svg(figure)


def _shares(groups: Sequence[Group]) -> str:
    """Share of entries against share of diversity, by kind."""
    figure = _figure(1.2 + 0.34 * len(groups))
    axes = figure.subplots()
    place = np.arange(len(groups))
    axes.barh(
        place - 0.18, [g.share for g in groups], 0.34, color="#c3ccd5", label="of the entries"
    )
    axes.barh(
        place + 0.18,
        [g.effective_share for g in groups],
        0.34,
        color=_COLOURS[0],
        label="of the diversity",
    )
    axes.set_yticks(place, [g.name for g in groups])
    axes.invert_yaxis()
    axes.set_xlabel("share")
    _legend(figure, axes)
    return _svg(figure)


def _map(
    title: str, rows: Sequence[tuple[str, Floats]], stars: Sequence[tuple[str, Floats]]
) -> str:
    """Rows by kind, and plants, in the plane of the rows' two leading directions."""
    figure = _figure(4.2)
    axes = figure.subplots()
    centre, directions = points.plane(np.concatenate([row for _, row in rows]))
    names = sorted({name for name, _ in rows})
    for number, name in enumerate(names):
        own = np.concatenate([row for label, row in rows if label == name])
        x, y = directions @ (own - centre).T
        axes.scatter(
            x,
            y,
            s=7,
            alpha=0.55,
            linewidths=0,
            color=_COLOURS[number % len(_COLOURS)],
            label=name,
            rasterized=True,
        )
    for name, own in stars:
        x, y = directions @ (own - centre).T
        axes.scatter(x, y, s=70, marker="*", color="#1b2430", edgecolors="white", label=name)
    axes.set_title(title, fontsize=9.5, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    _legend(figure, axes)
    return _svg(figure)


def _legend(figure: Figure, axes: Axes) -> None:
    """Below the plot, in as many columns as the longest name leaves room for."""
    handles, names = axes.get_legend_handles_labels()
    columns = max(1, min(4, _LETTERS // (_MARK + max(map(len, names)))))
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, frameon=False, markerscale=2.2
    )


def _figure(height: float) -> Figure:
    return Figure(figsize=(_WIDTH, height), layout="constrained", dpi=110)


def _svg(figure: Figure) -> str:
    """The ``<svg>`` element alone, scaled by the page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    return re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", text, count=2)
