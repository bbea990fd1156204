"""Contexts of reports as plants get them, without an encoder: a selection on drawn features."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from tests.client.discriminants import fit_lda
from tests.client.selected import selected

from wg_client.data.plant_data import PlantData
from wg_client.data.site_data import SiteData
from wg_client.fitting.linear_head import Ints, LinearHead
from wg_client.models.acceptance import AcceptanceResults, AcceptanceScores
from wg_client.models.manifest import ModelEntry, ModelsManifest
from wg_client.selection.first_screen import HomeState
from wg_client.selection.model_selection import SelectionOutcome
from wg_client.selection.report import report_page_context
from wg_common.inference.family_head import FeatureLayout
from wg_common.language import english_text
from wg_common.modalities.base import Modality
from wg_common.modalities.registry import MODALITIES
from wg_core.release.budget import PlantSpending, ReleaseRow
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.site.home import ClientHome

D = 24
ENGLISH = ("ok", "scratch", "dent", "a label that is as long as labels may well become, and longer")
JAPANESE = ("良品", "傷", "打痕", "異物混入（加工後に見つかった長い名前のもの）")
MANY = tuple(f"種類{number:02}" for number in range(1, 15))


@functools.cache
def context(case: str) -> Mapping[str, Any]:
    """One of: kept, own, unlabelled, unseen, one class, many."""
    labels = {"kept": ENGLISH, "many": MANY}.get(case, JAPANESE)
    outcome = _outcome(case, len(labels))
    manifest = _manifest(outcome, labels)
    kind = MODALITIES["windows" if case == "kept" else "images"]
    plant, spend = plant_of(labels, outcome.records.all_labels, kind), _spend(case)
    home = ClientHome(Path("plant"))
    shadow = case == "many"
    standing = HomeState(spend, _judged(outcome), is_in_use=not shadow, is_in_shadow=shadow)
    return report_page_context(home, plant, manifest, outcome, standing)


CASES = ("kept", "worse", "unlabelled", "unseen", "one class", "many")


def _outcome(case: str, classes: int) -> SelectionOutcome:
    rng = np.random.default_rng(6)
    means = rng.normal(size=(classes, D)) * 0.35
    many = np.repeat(np.arange(classes), 200)
    good = fit_lda(means[many] + rng.normal(size=(len(many), D)), many, classes, 0.1)
    seen = np.arange({"unseen": classes - 1, "one class": 1}.get(case, classes))
    y = np.repeat(seen, 12)
    x = means[y] + rng.normal(size=(len(y), D))
    noise = LinearHead(rng.normal(size=(classes, D)), rng.normal(size=classes))
    if case == "unlabelled":
        y = np.full(len(y), -1)
    return selected(x, y, [("sample-0", "diffusion", noise if case == "worse" else good)], classes)


def plant_of(labels: tuple[str, ...], of_records: Ints, kind: Modality) -> PlantData:
    """A plant of made-up records of a kind, with drawn features."""
    data = SimpleNamespace(name="gears-2026", good=None, unit_column=None)
    config = SimpleNamespace(
        site="plant-a", data=data, acceptance=AcceptanceConfig(), language=None
    )
    count, rng = len(of_records), np.random.default_rng(8)
    records = SiteData(
        records=[kind.example_record((40, 60)) for _ in range(count)],
        modality=kind.name,
        labels=of_records,
        label_names=labels,
        names=tuple(f"{row}.png" for row in range(count)),
    )
    features = SimpleNamespace(local_features=rng.normal(size=(count, D)))
    layout = FeatureLayout(D, ())
    plant = SimpleNamespace(config=config, data=records, features=features, layout=layout)
    return cast(PlantData, plant)


def _judged(outcome: SelectionOutcome) -> AcceptanceResults:
    """Of the models that were kept with labels: 80 records that they tell apart more or less."""
    if not outcome.keeps_delivered_model or not len(outcome.labels):
        return AcceptanceResults(kept_model=outcome.kept_name)
    rng = np.random.default_rng(7)
    good = np.arange(80) < 50
    return AcceptanceResults(
        kept_model=outcome.kept_name,
        scores={
            name: AcceptanceScores(
                defect_probabilities=np.clip(rng.normal(0.8 - 0.6 * good, 0.15), 0, 1),
                good_record_mask=good,
                correct_label_mask=rng.random(80) < 0.8,
                new_record_mask=np.zeros(80, bool),
                pass_mask=np.ones(80, bool),
            )
            for name in outcome.models
        },
        thresholds=dict.fromkeys(outcome.models, 0.5),
    )


def _manifest(outcome: SelectionOutcome, labels: tuple[str, ...]) -> ModelsManifest:
    models = []
    for name, model in outcome.models.items():
        found = outcome.estimate_accuracy(name)
        models.append(
            ModelEntry(
                name=name,
                sha256="ab" * 32,
                origin=model.origin_candidate,
                source="diffusion" if model.origin_candidate else "",
                settings=model.fitted_model.settings,
                accuracy=None if found is None else found.mean,
                error=None if found is None else found.standard_error,
            )
        )
    return ModelsManifest(
        package_id="12" * 16,
        package_sha256="cd" * 32,
        request_id="34" * 16,
        architecture="lite0-head",
        encoder="ef" * 32,
        generator="56" * 32,
        labels=labels,
        own_release="78" * 16,
        pool_root="9a" * 32,
        pool_releases=1,
        commitment="bc" * 32,
        applied=1_790_000_000,
        kept=outcome.kept_name,
        reason=english_text(outcome.reason),
        gain=0.0,
        models=tuple(models),
        findings=tuple(outcome.findings),
        candidates=("sample-0",),
    )


def _spend(case: str) -> PlantSpending:
    row = ReleaseRow(
        request_id="34" * 16,
        time=1_789_000_000,
        recipient="central-server",
        purpose="make weights for this plant, and for no other purpose",
        epsilon="4",
        delta="1e-5",
        epsilon_after="3.9997",
        size=12_873,
        statistics="classes",
    )
    rows = () if case == "unseen" else (row,)
    return PlantSpending(
        epsilon=3.9997 * len(rows),
        cap_epsilon="8",
        cap_delta="1e-5",
        charge_count=len(rows),
        open_charge_count=0,
        ledger_entry_count=5,
        releases=rows,
        best_guess_accuracy=0.678 if rows else 0.5,
    )
