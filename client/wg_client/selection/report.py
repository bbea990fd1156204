"""The report for the plant engineer: one self-contained page that stays at the plant.

It says what left and what it cost, how delivered weights did against local-only on local records,
what was kept and why. It contains accuracies and label counts: it is private, and written with
mode 0600.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import jinja2
import numpy as np
from numpy.typing import NDArray

from wg_client.data.plant import Plant
from wg_client.methods import registry
from wg_client.methods.names import LOCAL
from wg_client.models.manifest import ModelsManifest
from wg_client.release.budget import Spend, read_spend
from wg_client.selection import charts
from wg_client.selection.model_selection import Outcome
from wg_client.site.failures import FAILURES
from wg_client.site.home import ClientHome
from wg_common import __version__, atomic


@dataclass(frozen=True, slots=True)
class LabelRow:
    """A declared class, its local records, and the kept model's out-of-fold recall."""

    name: str
    records: int
    recall: float | None


def write_report(
    home: ClientHome, plant: Plant, manifest: ModelsManifest, outcome: Outcome
) -> None:
    """Render the report on a package and write it to the home folder."""
    page = render(plant, manifest, outcome, read_spend(home, plant.config))
    atomic.write_bytes(home.report, page.encode("utf-8"), mode=atomic.PRIVATE)


def render(plant: Plant, manifest: ModelsManifest, outcome: Outcome, spend: Spend) -> str:
    """The page, as HTML."""
    loader = jinja2.PackageLoader("wg_client.selection", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    template = environment.get_template("report.html.j2")
    labelled = len(outcome.labels)
    predictions = outcome.models[outcome.kept].fitted.predictions
    return template.render(
        plant=plant,
        manifest=manifest,
        outcome=outcome,
        spend=spend,
        title=registry.title,
        failure_names={failure.code: failure.name for failure in FAILURES},
        labelled=labelled,
        unlabelled=len(plant.data) - labelled,
        rows=_rows(plant, predictions, outcome.labels),
        bars=_bars(outcome) if labelled else "",
        gains=_gains(outcome) if outcome.comparisons else "",
        confusion=_confusion(plant, predictions, outcome.labels) if labelled else "",
        repeats=predictions.shape[0],
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(manifest.applied)),
        version=__version__,
    )


def _bars(outcome: Outcome) -> str:
    accuracies = [outcome.accuracy(name) for name in outcome.models]
    return charts.accuracy_bars(
        [registry.title(name) for name in outcome.models],
        [value for value, _ in accuracies],
        [error for _, error in accuracies],
        registry.title(outcome.kept),
        outcome.accuracy(LOCAL)[0],
    )


def _gains(outcome: Outcome) -> str:
    comparisons = outcome.comparisons.values()
    return charts.gain_intervals(
        [registry.title(comparison.name) for comparison in comparisons],
        [comparison.gain.mean for comparison in comparisons],
        [comparison.gain.sd for comparison in comparisons],
        [comparison.lower for comparison in comparisons],
    )


def _confusion(plant: Plant, predictions: NDArray[np.int64], labels: NDArray[np.int64]) -> str:
    k = len(plant.data.label_names)
    matrix = np.zeros((k, k))
    for row in predictions:
        valid = row >= 0
        np.add.at(matrix, (labels[valid], row[valid]), 1.0 / len(predictions))
    return charts.confusion(matrix, plant.data.label_names)


def _rows(
    plant: Plant, predictions: NDArray[np.int64], labels: NDArray[np.int64]
) -> list[LabelRow]:
    rows = []
    for index, name in enumerate(plant.data.label_names):
        own = labels == index
        recall = float((predictions[:, own] == index).mean()) if own.any() else None
        rows.append(LabelRow(name, int(own.sum()), recall))
    return rows
