"""No more defective records pass than the plant chose, or it says what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.client.conftest import LABELS, plant_maker

from wg_client.cli.main import group
from wg_client.cli.prediction_run import PredictionRun
from wg_client.fitting.linear_head import LinearHead
from wg_client.fitting.sure_calls import BOUND_CONFIDENCE
from wg_client.models import adoption, store
from wg_client.models.calls import VerdictRule
from wg_client.models.pass_rule import (
    OutOfFoldEvidence,
    PassRule,
    fit_pass_rule,
    load_pass_rule,
    tolerance_limit,
)
from wg_client.selection.delivery import apply_and_adopt_package
from wg_core.errors import WgError


@pytest.mark.parametrize(("records", "share"), [(22, 0.1), (45, 0.05), (80, 0.1), (400, 0.02)])
def test_no_more_defects_pass_than_stated_as_often_as_stated(records: int, share: float) -> None:
    rng = np.random.default_rng(records)
    missed = np.array([tolerance_limit(rng.random(records), share) for _ in range(4000)])
    assert (missed > 0).all() and (missed > share).mean() <= 1 - BOUND_CONFIDENCE + 0.015
    assert (missed > share).mean() > 0.02  # and no fewer good ones than need be


@pytest.mark.parametrize(("records", "share"), [(21, 0.1), (0, 0.1), (3, 0.5), (44, 0.05)])
def test_too_few_defects_let_none_pass(records: int, share: float) -> None:
    assert tolerance_limit(np.ones(records), share) is None


def test_a_plant_reads_how_many_labels_are_missing_and_chooses_its_risk(
    tmp_path: Path, encoder_package: bytes, good_head: LinearHead
) -> None:
    plant = plant_maker(tmp_path, encoder_package)({0: 8, 1: 8, 2: 8}, good=("bars",))
    apply_and_adopt_package(plant.home, plant.package({"s": (good_head, "diffusion")}))

    def call(*words: str) -> str:
        result = CliRunner().invoke(group, [*words, "--home", str(plant.home.root)])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "needs 22 labelled defective records, and 16 could be evaluated; label 6 more" in call(
        "models", "threshold"
    )
    assert "label 6 more" in plant.home.report.read_text(encoding="utf-8")
    said = call("models", "threshold", "--missed", "0.2", "--by", "qa")
    assert "at most 20 in 100 defective records pass" in said
    assert "if every record is of another part" in said
    manifest, name = adoption.model_in_use(plant.home)
    assert adoption.read_adoption_history(plant.home).latest_change.missed_share == 0.2
    rule = VerdictRule.load(plant.home, manifest, name).pass_rule
    assert (
        rule.log_odds_limit is not None
        and (rule.defect_unit_count, rule.required_defect_unit_count) == (16, 11)
        and (rule.passed_good_share > 0.5, rule.evaluated_good_count) == (True, 8)
    )
    run = PredictionRun(plant.home, manifest, name)
    assert not list(run.verdict_notes())  # no guarantee without a prediction
    run.predict_path(plant.home.root / "data.npz")
    assert len(list(run.verdict_notes())) == 2
    said = call("models", "threshold", "0", "--by", "qa")  # which rejects all
    assert "none of your 8 evaluated good ones passes" in said
    adoption.put_model_in_use(plant.home, manifest, manifest.models[-1].name, author="qa")
    assert (
        adoption.read_adoption_history(plant.home).latest_change.missed_share == 0.2
    )  # of the plant, whatever the model
    good = np.array([label == "bars" for label in LABELS])
    (store.models_folder(plant.home, manifest.package_id) / "judged.safetensors").unlink()
    with pytest.raises(WgError, match="judged"):
        load_pass_rule(plant.home, manifest, name, good)


def test_a_bound_needs_no_condition_where_units_are_named() -> None:
    rule = PassRule(
        log_odds_limit=1.0,
        missed_share=0.1,
        defect_unit_count=30,
        required_defect_unit_count=22,
        passed_good_share=0.5,
        evaluated_good_count=2,
    )
    assert "another part" not in rule.guarantee_sentence
    assert "another part" in replace(rule, has_no_unit_names=True).guarantee_sentence
    assert "1 of your 2 evaluated good ones pass" in rule.guarantee_sentence


@pytest.mark.parametrize(
    ("good_odds", "words"),
    [
        ([], "none could be evaluated, which takes labelled good records of 3 units"),
        ([9.0, 9.0], "none of your 2 evaluated good ones passes"),
        ([-9.0, 9.0], "1 of your 2 evaluated good ones pass"),
    ],
)
def test_a_rule_that_lets_records_pass_never_says_that_none_passes(
    good_odds: list[float], words: str
) -> None:
    odds = np.array([*good_odds, *np.linspace(1, 2, 60)])
    labels = (np.arange(len(odds)) >= len(good_odds)).astype(np.int64)
    evidence = OutOfFoldEvidence(np.stack([-odds, 0 * odds], axis=1), labels, np.arange(len(odds)))
    rule = fit_pass_rule(evidence, np.array([True, False]), np.zeros(2, bool), missed_share=0.1)
    assert rule.pass_mask(np.array([-1.0])).all()
    said = rule.guarantee_sentence
    assert said.startswith("at most 10 in 100 defective records pass") and words in said


def test_a_class_of_defects_without_records_may_all_pass() -> None:
    assert "label some of each" in PassRule(missed_share=0.1).guarantee_sentence
