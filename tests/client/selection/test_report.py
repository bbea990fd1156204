"""The report opens with plain words in both languages, and says nothing that was not measured."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.client.discriminants import fit_lda
from tests.client.selected import selected
from tests.client.selection.example_reports import CASES, context

from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models.acceptance import good_labels
from wg_client.plant_language import load_plant_language
from wg_client.selection import defects, first_screen
from wg_client.selection.defects import DetectionRates
from wg_client.selection.report import render_report
from wg_common.language import LANGUAGE_CODES, english_text

ENGLISH, JAPANESE = map(load_plant_language, LANGUAGE_CODES)


@pytest.mark.parametrize("case", CASES)
def test_a_report_is_said_in_both_languages(case: str) -> None:
    found = context(case)
    english, japanese = render_report(found, ENGLISH), render_report(found, JAPANESE)
    assert '<html lang="en">' in english and '<html lang="ja">' in japanese
    assert "Recommendation" in english and "おすすめ" in japanese
    sentences = re.sub(r"<style>.*?</style>|<[^>]+>", " ", japanese, flags=re.DOTALL)
    # What stays English: names of settings, files and commands, and the other language's link.
    assert not re.search(r"\b(the|records|than|what|your|with)\b", sentences), sentences
    for word in ("<script", "<link", "@import", "url(http"):
        assert word not in english
    assert english.count("<img") == english.count('<img src="data:image/jpeg;base64,')


def test_the_first_screen_says_what_to_do_and_what_is_not_known() -> None:
    said = {case: render_report(context(case), ENGLISH) for case in CASES if case != "many"}
    assert "Use this model" in said["kept"] and "of 100 defective records" in said["kept"]
    assert "Keep your own model" in said["worse"]
    assert "Nothing was measured here" in said["unlabelled"]
    assert "of 100 defective records" not in said["unlabelled"]
    assert "nobody has released statistics of it" in said["unseen"]
    assert "could not be checked on the others" in said["one class"]
    assert "These figures exclude" in said["unseen"]
    assert "These figures exclude" not in said["worse"]
    assert "no privacy budget was spent" in said["unseen"]
    assert "no privacy unit is named" in said["kept"]
    assert "no privacy unit is named" not in said["unlabelled"]
    assert all("of which you have no record" in page for page in said.values())


def test_where_units_are_named_nothing_is_said_of_their_lack() -> None:
    x, y, good = _world(0.6)
    said = {}
    for units in (None, [str(row // 2) for row in range(len(y))]):
        outcome = selected(x, y, [("s", "diffusion", good)], 3, units=units)
        unknown = first_screen._unknown_sentences(outcome, DetectionRates(good_labels=()))
        said[units is None] = any(
            "no privacy unit is named" in english_text(each) for each in unknown
        )
    assert said == {True: True, False: False}


def _world(scale: float) -> tuple[np.ndarray, np.ndarray, LinearHead]:
    rng = np.random.default_rng(3)
    means = rng.normal(size=(3, 12)) * scale
    y = np.repeat(np.arange(3), 20)
    x = means[y] + rng.normal(size=(60, 12))
    many = np.repeat(np.arange(3), 300)
    good = fit_lda(means[many] + rng.normal(size=(900, 12)), many, 3, 0.1)
    return x, y, good


def test_defects_are_counted_whatever_they_are_called() -> None:
    x, y, good = _world(0.6)
    outcome = selected(x, y, [("s", "diffusion", good)], 3)
    labels = ("OK", "scratch", "dent")
    names = good_labels(labels, None)
    assert names == ("OK",) and good_labels(labels, ("dent",)) == ("dent",)
    found = defects.measure_detection_rates(outcome, labels, names)
    judged = outcome.out_of_fold_predictions(outcome.kept_name)
    assert (
        judged is not None
        and found.caught_defects_rate is not None
        and found.correct_rate is not None
    )
    bad = outcome.labels != 0
    assert found.caught_defects_rate.kept.mean == pytest.approx(
        (judged.predictions[:, bad] != 0).mean()
    )
    assert (
        found.caught_defects_rate.kept.mean >= (judged.predictions == outcome.labels)[:, bad].mean()
    )
    assert (
        found.caught_defects_rate.low
        <= found.caught_defects_rate.more
        <= found.caught_defects_rate.high
    )
    assert defects.measure_detection_rates(outcome, labels, ()).caught_defects_rate is None


@pytest.mark.parametrize("case", CASES)
def test_the_large_number_is_that_of_the_recommended_model(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = context(case)
    outcome, plant = found["outcome"], found["plant"]
    if found["first"].correct_of_100 is None:
        return
    standing = first_screen.HomeState(found["spend"], found["acceptance"], True, False)
    for use, name in ((True, outcome.kept_name), (False, LOCAL_ONLY)):
        verdict = replace(found["first"].verdict, recommends_delivered=use)
        monkeypatch.setattr(first_screen, "report_verdict", lambda *_, said=verdict: said)
        screen = first_screen.build_first_screen(Path("plant"), plant, outcome, standing)
        expected = outcome.estimate_accuracy(name)
        assert screen.correct_of_100 is not None and expected is not None
        assert screen.correct_of_100.squares.count("right") == round(100 * expected.low)
