"""HTML report of the demo: six stories with charts, then the figures of all models."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from demo import stories
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.methods.registry import METHODS
from wg_common.language import ENGLISH, Language, Text, text

_SAMPLES = 8  # Records in a sample picture
_PEN, _PAPER, _HEIGHT, _WIDTH = 40, 245, 64, 512
"""Grey levels (0 to 255) of curves and paper, and height and width of a drawn signal in pixels."""
Picture = NDArray[np.uint8]
Model = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Bar of a chart: its accuracy with one standard error to both sides, in percent.

    Attributes:
        label: Text before the bar.
        value: Accuracy as text.
        length: Length of the bar, 0 to 100.
        low: Lower end of the interval.
        high: Upper end of the interval.
        kept: True if the bar is of the model in use.
    """

    label: Text
    value: str
    length: float
    low: float
    high: float
    kept: bool


def sample_picture(data: Path) -> Picture:
    """Return a picture ``[h, w]`` of some records in a data file: pictures in a row, or curves."""
    if data.suffix == ".csv":
        log = np.loadtxt(data, delimiter=",", skiprows=1, max_rows=_WIDTH)[:, [1, 2]].T
        return _draw_signals((log - log.mean(axis=1, keepdims=True)).astype(np.float32))
    with np.load(data, allow_pickle=False) as archive:
        pictures = archive["x"]
    if pictures.shape[1] == 1:
        return _draw_signals(pictures[:2, 0])
    rows = np.linspace(0, len(pictures) - 1, _SAMPLES).astype(int)
    return np.concatenate(list(pictures[rows]), axis=1)


def _draw_signals(signals: NDArray[np.float32]) -> Picture:
    """Draw signals ``[n, T]`` as curves, one below another: ``[n * h, w]``."""
    strips = []
    for signal in signals:
        parts = np.array_split(signal / np.abs(signals).max(), _WIDTH)
        strip = np.full((_HEIGHT, _WIDTH), _PAPER, np.uint8)
        for column, part in enumerate(parts):
            low, high = ((1 - value) / 2 * (_HEIGHT - 1) for value in (part.max(), part.min()))
            strip[int(low) : int(high) + 1, column] = _PEN
        strips.append(strip)
    return np.concatenate(strips)


def render_page(
    summary: Mapping[str, Any], pictures: Mapping[str, Picture], language: Language = ENGLISH
) -> str:
    """Render the whole report as one self-contained HTML page.

    Args:
        summary: Contents of ``summary.json``.
        pictures: Sample picture of each plant, by name.
        language: Language of the page; each language has its own file (``report.ja.html``).
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.FileSystemLoader(Path(__file__).parent),
                jinja2.PackageLoader("wg_client.selection", "templates"),  # its style sheet
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plants = summary["plants"]
    cards = [_card(plant, pictures[plant["name"]], language) for plant in plants]
    return environment.get_template("report.html.j2").render(
        summary=summary,
        cards=cards,
        notes=(*stories.notes(summary), *stories.describe_omissions(summary)),
        models=_models(plants),
        word=text,
        t=language.translate,
        say=language,
        lang=language.code,
    )


def _card(plant: Mapping[str, Any], picture: Picture, language: Language) -> dict[str, Any]:
    return {
        "plant": plant,
        "title": stories.story_title(plant),
        "lesson": stories.find_story(plant).lesson,
        "has": stories.describe_records(plant),
        "outcome": stories.capitalise(language(stories.describe_outcome(plant))),
        "better": stories.is_better(plant),
        "details": stories.describe_figures(plant),
        "spent": stories.spent_budget(plant),
        "picture": _embedded(picture),
        "bars": _bars(plant),
    }


def _bars(plant: Mapping[str, Any]) -> list[Bar]:
    """Return a plant's bars: without and with weightgate, and any offered model not in use."""
    kept = plant["kept_source"]
    found = [
        _bar(
            _alternative_name(plant),
            stories.accuracy_without_weightgate(plant),
            _error(plant, LOCAL_ONLY),
            kept=kept == LOCAL_ONLY,
        ),
        _bar(text("with weightgate"), plant["kept"], _error(plant, kept), kept=True),
    ]
    if plant["story"] == "soft-sensor":
        found.insert(
            1, _bar(text("sheet alone"), plant["sheet_alone"], _error(plant, "none"), kept=False)
        )
    if kept == LOCAL_ONLY and plant["best_other"] is not None:
        found.append(_bar(text("offered"), plant["best_other"], 0.0, kept=False))
    return found


def _alternative_name(plant: Mapping[str, Any]) -> Text:
    """Return the label of what a plant can use without weightgate."""
    if plant["alone"] is not None:
        return text("alone")
    instead = {"machine": text("one for all"), "soft-sensor": text("by hand")}
    return instead.get(plant["story"], text("guessing"))


def _error(plant: Mapping[str, Any], model: str | None) -> float:
    return float(plant["accuracy_se"].get(stories.model_key(model or ""), 0.0))


def _bar(label: Text, share: float | None, error: float, *, kept: bool) -> Bar:
    at = 100 * (share or 0.0)
    return Bar(
        label=label,
        value=stories.format_percent(share),
        length=at,
        low=max(0.0, at - 100 * error),
        high=min(100.0, at + 100 * error),
        kept=kept,
    )


def _models(plants: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the table of accuracies: a row per method, with a cell per plant."""
    return [
        {
            "title": method.title,
            "cells": [
                {
                    "share": plant["accuracy"].get(stories.model_key(method.name)),
                    "error": _error(plant, method.name),
                    "kept": plant["kept_source"] == method.name,
                }
                for plant in plants
            ],
        }
        for method in METHODS
        if any(stories.model_key(method.name) in plant["accuracy"] for plant in plants)
    ]


def _embedded(picture: Picture) -> str:
    data = io.BytesIO()
    Image.fromarray(picture).save(data, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
