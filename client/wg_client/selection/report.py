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
    labelled = len(outcome.records.labels)
    judged = outcome.out_of_fold(outcome.kept)
    predictions = np.zeros((0, 0), dtype=np.int64) if judged is None else judged.predictions
    names = plant.data.label_names
    present = set(outcome.records.labels.tolist())
    absent = [name for index, name in enumerate(names) if labelled and index not in present]
    return template.render(
        plant=plant,
        manifest=manifest,
        outcome=outcome,
        spend=spend,
        title=registry.title,
        failure_names={failure.code: failure.name for failure in FAILURES},
        labelled=labelled,
        unlabelled=len(plant.data) - labelled,
        absent=absent,
        unjudged=[registry.title(n) for n, model in outcome.models.items() if not model.judged],
        rows=_rows(plant, predictions, outcome),
        bars=_bars(outcome) if judged is not None else "",
        gains=_gains(outcome) if outcome.comparisons else "",
        confusion=_confusion(plant, predictions, outcome.labels) if judged is not None else "",
        repeats=predictions.shape[0],
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(manifest.applied)),
        version=__version__,
    )


def _bars(outcome: Outcome) -> str:
    found = {name: outcome.accuracy(name) for name in outcome.models}
    shown = {registry.title(name): value for name, value in found.items() if value is not None}
    local = outcome.accuracy(LOCAL)
    return charts.accuracy_bars(
        list(shown),
        [value.mean for value in shown.values()],
        [(value.low, value.high) for value in shown.values()],
        registry.title(outcome.kept),
        0.0 if local is None else local.mean,
    )


def _gains(outcome: Outcome) -> str:
    comparisons = outcome.comparisons.values()
    return charts.gain_intervals(
        [registry.title(comparison.name) for comparison in comparisons],
        [comparison.gain.mean for comparison in comparisons],
        [comparison.gain.sd for comparison in comparisons],
        [c.gain.shown(c.policy.standard_errors) for c in comparisons],
    )


def _confusion(plant: Plant, predictions: NDArray[np.int64], labels: NDArray[np.int64]) -> str:
    k = len(plant.data.label_names)
    matrix = np.zeros((k, k))
    for row in predictions:
        np.add.at(matrix, (labels, row), 1.0 / len(predictions))
    return charts.confusion(matrix, plant.data.label_names)


def _rows(plant: Plant, predictions: NDArray[np.int64], outcome: Outcome) -> list[LabelRow]:
    rows = []
    counts = np.bincount(outcome.records.labels, minlength=len(plant.data.label_names))
    for index, name in enumerate(plant.data.label_names):
        own = outcome.labels == index
        known = own.any() and len(predictions)
        recall = float((predictions[:, own] == index).mean()) if known else None
        rows.append(LabelRow(name, int(counts[index]), recall))
    return rows
