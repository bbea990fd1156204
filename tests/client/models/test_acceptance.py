"""Bounds are exact, each model is judged at its threshold, and a moved threshold is on record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binom
from tests.client.conftest import LABELS, TestPlant, plant_maker, write_npz

import weightgate
from wg_client.cli.main import group
from wg_client.data import plant_data as plants
from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models import adoption
from wg_client.models.acceptance import (
    AcceptanceScores,
    ErrorCount,
    evaluate_on_acceptance_set,
    good_labels,
)
from wg_client.selection.delivery import apply_and_adopt_package
from wg_core.errors import UsageError


@pytest.mark.parametrize(("wrong", "records"), [(0, 1), (0, 60), (1, 60), (7, 80), (79, 80)])
def test_a_bound_is_the_largest_share_that_shows_so_few(wrong: int, records: int) -> None:
    most = ErrorCount(wrong, records).upper_bound()
    assert binom.cdf(wrong, records, most) == pytest.approx(0.05, rel=1e-6)


def test_without_a_right_call_nothing_is_bounded() -> None:
    assert ErrorCount(3, 3).upper_bound() == ErrorCount(0, 0).upper_bound() == 1.0


@pytest.mark.parametrize(("wrong", "records"), [(0, 0), (0, 60), (1, 60), (5, 400), (0, 299)])
def test_so_many_more_records_show_one_in_a_hundred_and_no_fewer(wrong: int, records: int) -> None:
    total = records + ErrorCount(wrong, records).records_needed()
    assert ErrorCount(wrong, total).upper_bound() <= 0.01
    assert total == records or ErrorCount(wrong, total - 1).upper_bound() > 0.01
    assert ErrorCount(0, 0).records_needed() == 299


def test_a_threshold_trades_false_accepts_for_false_rejects() -> None:
    rng = np.random.default_rng(1)
    good = rng.random(200) < 0.6
    defect = np.clip(rng.normal(0.7 - 0.4 * good, 0.2), 0, 1)
    scores = AcceptanceScores(
        defect_probabilities=defect,
        good_record_mask=good,
        correct_label_mask=good,
        new_record_mask=np.zeros(200, bool),
        pass_mask=np.ones(200, bool),
    )
    curve = scores.threshold_curve(point_count=11)
    accepts = [row.false_accepts.wrong for row in curve if row.false_accepts]
    rejects = [row.false_rejects.wrong for row in curve if row.false_rejects]
    assert accepts == sorted(accepts) and rejects == sorted(rejects, reverse=True)
    assert accepts[0] == 0 and rejects[0] == good.sum()


def test_labels_are_good_by_declaration_or_by_their_name() -> None:
    labels = ("OK", "scratch", "dent")
    assert good_labels(labels, None) == ("OK",) and good_labels(labels, ("dent",)) == ("dent",)


@pytest.fixture
def judged(tmp_path: Path, encoder_package: bytes, good_head: LinearHead) -> TestPlant:
    """A plant with an acceptance set that has applied a package."""
    spare = write_npz(tmp_path / "spare.npz", {0: 10, 1: 6, 2: 4}, 9, LABELS)
    make = plant_maker(tmp_path, encoder_package)
    plant = make({0: 4, 1: 4}, acceptance=str(spare), good=("bars",))
    candidates = {"s": (good_head, "diffusion"), "own": (good_head, "diffusion")}
    apply_and_adopt_package(plant.home, plant.package(candidates))
    return plant


def test_every_model_of_a_package_is_judged(judged: TestPlant) -> None:
    manifest, _ = adoption.model_in_use(judged.home)
    rows = evaluate_on_acceptance_set(
        judged.home, plants.open_plant_data(judged.home), manifest
    ).counts_by_model
    assert list(rows) == [entry.name for entry in manifest.models] and LOCAL_ONLY in rows
    for row in rows.values():
        assert row.false_accepts is not None and row.false_accepts.records == 10
        assert row.false_rejects is not None and row.false_rejects.records == 10
    page = judged.home.report.read_text(encoding="utf-8")
    assert "Clopper and Pearson" in page and "What another threshold would cost" in page


def test_a_threshold_is_moved_by_a_person_and_stays_with_its_model(judged: TestPlant) -> None:
    home = judged.home
    manifest, kept = adoption.model_in_use(home)
    with pytest.raises(UsageError):
        adoption.set_threshold(home, 0.3, author="")
    adoption.set_threshold(home, 0.3, author="qa")
    other = next(entry.name for entry in manifest.models if entry.name != kept)
    assert (
        adoption.put_model_in_use(home, manifest, other, author="qa").threshold
        == adoption.INITIAL_DEFECT_THRESHOLD
    )
    assert adoption.put_model_in_use(home, manifest, manifest.kept, author="qa").threshold == 0.3
    assert [change.what for change in adoption.read_adoption_history(home).changes][
        -3
    ] == "threshold"


def test_commands_show_and_move_it_and_predict_follows(judged: TestPlant, tmp_path: Path) -> None:
    def call(*words: str) -> str:
        result = CliRunner().invoke(group, [*words, "--home", str(judged.home.root)])
        assert result.exit_code == 0, result.output
        return result.stdout

    package = adoption.model_in_use(judged.home)[0].package_id
    assert "false accepts" in call("models", "show", package)
    assert "to show at most 1 %, it takes" in call("models", "threshold")
    spare = str(tmp_path / "spare.npz")
    verdicts = []
    for value in ("0", "1"):
        said = json.loads(call("models", "threshold", value, "--by", "qa", "--json"))
        assert said["threshold"] == float(value) and len(said["curve"]) == 11
        rows = json.loads(call("predict", spare, "--json"))["results"][0]["predictions"]
        verdicts.append({row["verdict"] for row in rows})
    assert verdicts[0] <= {"reject", "look"} and "look" in verdicts[1]


def test_a_notebook_shows_the_plant_its_curve_and_its_wrong_calls(judged: TestPlant) -> None:
    opened = weightgate.Plant.open(judged.home.root)
    page, curve = opened._repr_html_(), opened.acceptance_curve()._repr_html_()
    assert "plant-a" in page and "<svg" in page and "<svg" in curve and "<table" not in curve
    manifest, name = opened.chosen_model(None, None)
    judgement = opened.acceptance().counts_for_model(name)
    calls = opened.wrong_calls()
    assert judgement is not None and len(calls) >= judgement.wrong_labels.wrong
    assert all(call["label"] != call["called"] in manifest.labels for call in calls)
