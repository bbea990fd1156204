"""The demo's page: accuracy, privacy budget, and generated weights against the zoo, in pictures."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from wg_client.methods.registry import METHODS
from wg_client.models.manifest import KEPT

MODELS = {method.name: method.title for method in METHODS} | {KEPT: KEPT}
"""Titles of what is shown, by name."""
KEPT_COLOUR = "#059669"


def key(name: str) -> str:
    """A model's name in ``summary.json``."""
    return name.replace("-", "_")


def shown(plants: list[dict[str, Any]]) -> dict[str, str]:
    """Titles of the models that every plant has, by key."""
    return {
        key(name): title
        for name, title in MODELS.items()
        if all(key(name) in plant["accuracy"] for plant in plants)
    }


def accuracy_picture(plants: list[dict[str, Any]]) -> Figure:
    """Bars of accuracy on unseen records, with one standard error."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    models = shown(plants)
    width = 0.8 / len(models)
    for index, (name, title) in enumerate(models.items()):
        values = np.array([plant["accuracy"][name] for plant in plants])
        errors = [plant["accuracy_se"][name] for plant in plants]
        colour = KEPT_COLOUR if name == KEPT else f"C{index % 10}"
        places = np.arange(len(plants)) + (index - (len(models) - 1) / 2) * width
        axes.bar(places, 100 * values, width, color=colour, label=title)
        axes.errorbar(
            places, 100 * values, 100 * np.array(errors), fmt="none", ecolor="#334155", capsize=2
        )
    axes.set_xticks(
        range(len(plants)),
        [f"{p['name']}\n{p['labels']} labels, ε = {p['epsilon']:g}" for p in plants],
    )
    axes.set_ylabel("accuracy, % of unseen records")
    axes.set_ylim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17), frameon=False)
    return figure


def budget_picture(plants: list[dict[str, Any]]) -> Figure:
    """What each plant has spent of its cap."""
    figure = Figure(figsize=(9, 0.5 + 0.5 * len(plants)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(plants))
    axes.barh(
        rows, [p["epsilon_cap"] for p in plants], color="#e2e8f0", label="cap of the data set"
    )
    axes.barh(rows, [p["epsilon"] for p in plants], color="#059669", label="spent")
    axes.set_yticks(rows, [p["name"] for p in plants])
    axes.invert_yaxis()
    axes.set_xlabel(f"ε at δ = {plants[0]['delta']:g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="lower right")
    return figure


def weights_picture(zoo: NDArray[np.float64], generated: dict[str, NDArray[np.float64]]) -> Figure:
    """Class rows of generated heads among the zoo's, on the zoo's first two principal axes.

    Args:
        zoo: [m, d], class rows of zoo entries.
        generated: For each plant, [k, d], class rows of its generated candidates.
    """
    mean = zoo.mean(0)
    _, _, axes_of_zoo = np.linalg.svd(zoo - mean, full_matrices=False)
    plane = axes_of_zoo[:2].T
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    points = (zoo - mean) @ plane
    axes.scatter(points[:, 0], points[:, 1], s=6, color="#cbd5e1", label="zoo", linewidths=0)
    for (name, rows), colour in zip(generated.items(), mpl.color_sequences["tab10"], strict=False):
        points = (rows - mean) @ plane
        title = f"generated for {name}"
        axes.scatter(points[:, 0], points[:, 1], s=16, color=colour, label=title, alpha=0.7)
    axes.set_xlabel("first principal axis of the zoo's class rows")
    axes.set_ylabel("second")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8)
    return figure


def page(summary: dict[str, Any], pictures: dict[str, Figure]) -> str:
    """The whole report as one self-contained HTML page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.j2").render(
        summary=summary,
        models=shown(summary["plants"]),
        pictures={name: _embedded(figure) for name, figure in pictures.items()},
    )


def _embedded(figure: Figure) -> str:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=160)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
