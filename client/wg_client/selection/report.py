"""Report for the plant: one self-contained page in each language, which stays at the plant.

It begins with the summary for a manager (``first_screen``), continues with pictures for the
engineer, and ends with technical tables. It contains accuracies, label counts and pictures of
records (``gallery``): it is private, and written with mode 0600.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wg_client.data.plant_data import PlantData
from wg_client.methods import registry
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models import adoption
from wg_client.models.acceptance import AcceptanceResults, evaluate_on_acceptance_set
from wg_client.models.manifest import CheckFinding, ModelsManifest
from wg_client.plant_language import load_plant_language
from wg_client.selection import charts
from wg_client.selection.first_screen import FirstScreen, HomeState, build_first_screen
from wg_client.selection.gallery import draw_misclassified_records, draw_strangest_records
from wg_client.selection.model_selection import SelectionOutcome
from wg_client.selection.provenance import provenance_sentences
from wg_common import language
from wg_common.charts import BarChart, LineChart, bar_chart, template_environment
from wg_common.language import Language, Text, template, text
from wg_core import __version__, atomic
from wg_core.release.budget import read_plant_spending
from wg_core.site.home import ClientHome
from wg_core.site.weights_failures import FAILURE_MODES


@dataclass(frozen=True, slots=True)
class LabelRow:
    """Row on a declared class: records here, the kept model's recall, number of other sites."""

    name: str
    record_count: int
    recall: float | None
    site_count: int


def write_report(
    home: ClientHome, plant: PlantData, manifest: ModelsManifest, outcome: SelectionOutcome
) -> Text:
    """Write the report on a package in every language; return its recommendation."""
    spend = read_plant_spending(home, plant.config)
    state = adoption.read_adoption_history(home).latest_change
    in_use, in_shadow = (
        model is not None and model.package_id == manifest.package_id
        for model in (state.in_use, state.shadow)
    )
    judgement = evaluate_on_acceptance_set(home, plant, manifest)
    standing = HomeState(spend, judgement, in_use, in_shadow)
    context = report_page_context(home, plant, manifest, outcome, standing)
    preferred_code = plant.config.language or language.environment_language()
    for page_language in map(load_plant_language, language.LANGUAGE_CODES):
        page = render_report(context, page_language).encode("utf-8")
        atomic.write_bytes(
            home.report.with_suffix(f".{page_language.code}.html"),
            page,
            mode=atomic.PRIVATE_FILE_MODE,
        )
        if page_language.code == preferred_code:
            atomic.write_bytes(home.report, page, mode=atomic.PRIVATE_FILE_MODE)
    screen: FirstScreen = context["first"]
    verdict = screen.verdict
    return text("recommendation: {advice}. {why}", advice=verdict.advice, why=verdict.reason)


def render_report(context: Mapping[str, Any], page_language: Language) -> str:
    """Render the report on a package as HTML."""
    templates = template_environment("wg_client.selection")
    templates.filters["percent"] = lambda value: f"{100 * value:.1f}"
    template = templates.get_template("report.html.j2")
    return template.render(
        **context, t=page_language.translate, say=page_language, lang=page_language.code
    )


def report_page_context(
    home: ClientHome,
    plant: PlantData,
    manifest: ModelsManifest,
    outcome: SelectionOutcome,
    home_state: HomeState,
) -> dict[str, Any]:
    """Return the values that the report's template needs; sentences are ``language.Text``."""
    labelled = len(outcome.records.labels)
    out_of_fold = outcome.out_of_fold_predictions(outcome.kept_name)
    names = plant.data.label_names
    table = (
        []
        if out_of_fold is None
        else charts.confusion_matrix(out_of_fold.predictions, outcome.labels, len(names))
    )
    present = set(outcome.records.labels.tolist())
    return {
        "plant": plant,
        "heading": text("result of the delivered weights")
        if manifest.candidates
        else text("your own model"),
        "manifest": manifest,
        "outcome": outcome,
        "spend": home_state.spend,
        "first": build_first_screen(home.root, plant, outcome, home_state),
        "acceptance": home_state.acceptance,
        "acceptance_curve": draw_acceptance_curve(home_state.acceptance),
        "provenance": list(provenance_sentences(outcome, manifest)),
        "condition": list(_condition_rows(manifest)),
        "title": _method_title,
        "mechanism": _source_mechanism,
        "choices": _setting_sentences,
        "word": text,
        "failure_names": {failure.code: text(failure.name) for failure in FAILURE_MODES},
        "labelled": labelled,
        "unlabelled": len(plant.data) - labelled,
        "absent": [n for i, n in enumerate(names) if labelled and i not in present],
        "labels": names,
        "rows_of_classes": _label_rows(plant, outcome),
        "accuracies": _accuracy_chart(outcome),
        "gains": _gain_chart(outcome),
        "confusion": table if len(names) <= charts.MATRIX_CLASSES_LIMIT else [],
        "mistakes": _commonest_mistakes(table, names),
        "wrong_records": draw_misclassified_records(plant, outcome),
        "strangest_records": draw_strangest_records(plant),
        "kept_findings": [f for f in outcome.findings if f.model == outcome.kept_name],
        "rejected": _rejected_models(outcome),
        "repeats": 0 if out_of_fold is None else len(out_of_fold.logits),
        "written": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(manifest.applied)),
        "version": __version__,
    }


def _method_title(name: str) -> Text:
    return text(registry.method_title(name))


def _source_mechanism(source: str) -> Text:
    return text(registry.source_mechanism(source))


_SETTING_TEMPLATES = {
    "learner": template("fitted by {value}"),
    "local_part": template("part fitted on your records: {value}"),
    "offset_scale": template("weight of the delivered model in the average: {value}"),
}
"""Descriptions of settings that cross-validation selected, by the manifest's keys."""


def _setting_sentences(settings: Mapping[str, str]) -> list[Text]:
    parts = settings.items()
    return [text(_SETTING_TEMPLATES[key], value=value.replace("+", " + ")) for key, value in parts]


def _condition_rows(manifest: ModelsManifest) -> Iterator[str]:
    """Yield the data sheet and statistic of generated weights, as rows of the technical table."""
    condition = manifest.condition
    if condition.data_sheet:
        yield f"data_sheet: {condition.data_sheet}"
    if condition.statistic:
        yield f"{condition.statistic} (ε {condition.epsilon})"


def _accuracy_chart(outcome: SelectionOutcome) -> BarChart | None:
    if outcome.out_of_fold_predictions(outcome.kept_name) is None:
        return None
    accuracies = {name: outcome.estimate_accuracy(name) for name in outcome.models}
    local = accuracies.get(LOCAL_ONLY)
    values = [
        (_method_title(name), name == outcome.kept_name, 100 * a.mean, 100 * a.low, 100 * a.high)
        for name, a in accuracies.items()
        if a is not None
    ]
    return bar_chart(values, 0.0 if local is None else 100 * local.mean, ".1f")


def _gain_chart(outcome: SelectionOutcome) -> BarChart | None:
    values = []
    for name, comparison in outcome.comparisons.items():
        estimate = comparison.gain
        half = 1.96 * estimate.accuracy_gain_se
        low, high = 100 * (estimate.accuracy_gain - half), 100 * (estimate.accuracy_gain + half)
        values.append((_method_title(name), low > 0, 100 * estimate.accuracy_gain, low, high))
    return bar_chart(values, 0.0, "+.1f", begins_at_zero=False) if values else None


def draw_acceptance_curve(results: AcceptanceResults) -> LineChart | None:
    """Draw the kept model's false accepts and rejects by threshold; None: not evaluated."""
    scores = results.scores.get(results.kept_model)
    if scores is None or scores.good_record_mask is None:
        return None
    points: dict[str, list[tuple[float, float, str]]] = {"false rejects": [], "false accepts": []}
    for at in scores.threshold_curve(point_count=21):
        for name, errors in (
            ("false rejects", at.false_rejects),
            ("false accepts", at.false_accepts),
        ):
            if errors is not None and errors.records:
                summary = f"{at.threshold:.2f}: {errors.wrong} / {errors.records}"
                points[name].append((at.threshold, errors.wrong / errors.records, summary))
    return charts.percentage_chart([line for line in points.values() if line])


def _rejected_models(outcome: SelectionOutcome) -> list[tuple[str, list[CheckFinding]]]:
    """Return the compared models that were not kept, each with its failed checks."""
    failures = [f for f in outcome.findings if not f.passed]
    return [
        (name, [f for f in failures if f.model == name])
        for name in outcome.comparisons
        if name != outcome.kept_name
    ]


def _commonest_mistakes(
    matrix: Sequence[Sequence[charts.ConfusionCell]], names: Sequence[str], *, limit: int = 12
) -> list[tuple[str, str, charts.ConfusionCell]]:
    """Return the kept model's commonest mistakes: true class, predicted class, count."""
    pairs = [
        (names[row], names[column], cell)
        for row, cells in enumerate(matrix)
        for column, cell in enumerate(cells)
        if row != column and cell.records > 0
    ]
    return sorted(pairs, key=lambda pair: -pair[2].records)[:limit]


def _label_rows(plant: PlantData, outcome: SelectionOutcome) -> list[LabelRow]:
    out_of_fold = outcome.out_of_fold_predictions(outcome.kept_name)
    predictions = (
        np.zeros((0, 0), dtype=np.int64) if out_of_fold is None else out_of_fold.predictions
    )
    rows = []
    comparison = outcome.comparisons.get(outcome.kept_name)
    posterior = None if comparison is None else comparison.package.posterior
    counts = np.bincount(outcome.records.labels, minlength=len(plant.data.label_names))
    for index, name in enumerate(plant.data.label_names):
        of_class = outcome.labels == index
        measurable = of_class.any() and len(predictions)
        recall = float((predictions[:, of_class] == index).mean()) if measurable else None
        sites = 0 if posterior is None else int(posterior.sites[index])
        rows.append(LabelRow(name, int(counts[index]), recall, sites))
    return rows
