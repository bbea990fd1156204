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
from wg_client.models.store import ModelsManifest
from wg_client.release.budget import Spend, read_spend
from wg_client.selection import charts, compare
from wg_client.selection.compare import Outcome
from wg_client.site.home import ClientHome
from wg_common import __version__, atomic

TITLES = {
    compare.RANDOM: "random initialisation",
    compare.LOCAL: "local-only",
    compare.CLOSED_FORM: "closed-form DP head",
    compare.GENERATED: "generated",
    compare.COMPLETED: "completed with own records",
    compare.CLOSED_FORM_FINETUNED: "closed-form + local training",
    compare.GENERATED_FINETUNED: "generated + local training",
    compare.COMPLETED_FINETUNED: "others' classes + local training",
}


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
    kept = outcome.models[outcome.kept]
    return template.render(
        plant=plant,
        manifest=manifest,
        outcome=outcome,
        spend=spend,
        titles=TITLES,
        labelled=labelled,
        unlabelled=len(plant.data) - labelled,
        rows=_rows(plant, kept.predictions, outcome.labels),
        bars=_bars(outcome) if labelled else "",
        gains=_gains(outcome) if outcome.evidence else "",
        confusion=_confusion(plant, kept.predictions, outcome.labels) if labelled else "",
        repeats=kept.predictions.shape[0],
        written=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(manifest.applied)),
        version=__version__,
    )


def _bars(outcome: Outcome) -> str:
    models = list(outcome.models.values())
    return charts.accuracy_bars(
        [TITLES[model.name] for model in models],
        [model.accuracy for model in models],
        [model.error for model in models],
        TITLES[outcome.kept],
        outcome.models[compare.LOCAL].accuracy,
    )


def _gains(outcome: Outcome) -> str:
    return charts.gain_intervals(
        [TITLES[item.name] for item in outcome.evidence],
        [item.gain for item in outcome.evidence],
        [item.sd for item in outcome.evidence],
        [item.lower for item in outcome.evidence],
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
