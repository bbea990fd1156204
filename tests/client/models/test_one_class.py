"""Labels of one class, or a handful: nothing is promised that they cannot show."""

from __future__ import annotations

import numpy as np
import pytest
from tests.client.conftest import MakePlant
from tests.client.selected import selected

from wg_client.cli.prediction_run import PredictionRun
from wg_client.models import adoption
from wg_client.selection.local_only_fit import fit_and_adopt_local_only
from wg_client.selection.verdict import SelectionBasis, selection_basis
from wg_common.language import english_text


def test_labels_of_one_class_find_unlike_records_and_promise_nothing(make_plant: MakePlant) -> None:
    plant = make_plant({0: 24}, good=("bars",))
    applied = fit_and_adopt_local_only(plant.home)
    assert applied.manifest.models[0].accuracy is None
    said = " ".join(map(english_text, applied.advice_sentences))
    assert "only to find records that are unlike yours" in said and "label some as a class" in said
    page = plant.home.report.read_text(encoding="utf-8")
    assert "of 100 new records" not in page and "that are unlike these" in page
    run = PredictionRun(plant.home, *adoption.model_in_use(plant.home))
    run.predict_path(plant.home.root / "data.npz")
    rows = [row for path in run.json_document()["results"] for row in path["predictions"]]
    assert {row["call"] for row in rows} <= {"", "new"}
    assert {row["verdict"] for row in rows} <= {"", "look"} and len(rows) == 24
    (note,) = run.verdict_notes()
    assert "detects only records that are unlike these" in english_text(note)


@pytest.mark.parametrize(
    ("labels", "classes", "basis"),
    [
        ([0] * 12, 1, SelectionBasis.LOCAL_OF_ONE_CLASS),
        ([0] * 12, 2, SelectionBasis.LOCAL_OF_ONE_CLASS),
        ([1], 2, SelectionBasis.TOO_FEW_LABELS),
        ([0, 1], 2, SelectionBasis.TOO_FEW_LABELS),
        ([0, 1] * 6, 2, SelectionBasis.NOTHING_DELIVERED),
    ],
)
def test_advice_suits_the_labels_that_a_plant_has(
    labels: list[int], classes: int, basis: SelectionBasis
) -> None:
    x = np.random.default_rng(1).normal(size=(len(labels), 8))
    outcome = selected(x, np.array(labels), [], classes)
    assert selection_basis(outcome) is basis
    measured = outcome.estimate_accuracy(outcome.kept_name)
    assert (measured is not None) == (basis is SelectionBasis.NOTHING_DELIVERED)
