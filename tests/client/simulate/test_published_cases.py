"""What published cases say of a plant: the nearest ones, an interval of data sets, or nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wg_client.simulate import published_cases
from wg_client.simulate.published_cases import (
    JoiningAdvice,
    PlantFacts,
    PublishedCase,
    advise_joining,
    estimate_joining_gain,
)
from wg_core.errors import DataError

FACTS = PlantFacts(kind="images", classes=4, unseen=0, labels=40, local=0.8)


def _case(dataset: str, gain: float, **changes: object) -> PublishedCase:
    facts = replace(FACTS, **changes)  # type: ignore[arg-type]
    return PublishedCase(dataset=dataset, facts=facts, epsilon=1.0, sites=3, gain=gain, saved=gain)


def test_each_data_set_counts_once_and_few_of_them_give_the_whole_range() -> None:
    cases = [_case("a", 0.1)] * 6 + [_case("b", 0.3)]
    found = estimate_joining_gain(cases, FACTS, 1.0, 3)
    assert found.gain == pytest.approx(0.2) and (found.low, found.high) == (0.1, 0.3)
    assert (found.cases, found.datasets) == (7, 2)
    assert found.saved == pytest.approx(0.8)  # 0.2 a class of four


def test_the_interval_leaves_out_the_ends_where_there_are_many_data_sets() -> None:
    cases = [_case(f"set-{number:02}", number / 100) for number in range(24)]
    found = estimate_joining_gain(cases, FACTS, 1.0, 3)
    assert (found.low, found.high) == (0.01, 0.22)  # 23 of 24 on either side


def test_the_nearest_by_labels_and_accuracy_count() -> None:
    far = [_case("far", 0.5, labels=4000, local=0.1)] * 40
    near = [_case("near", 0.0)] * published_cases.NEAREST_CASE_COUNT
    assert estimate_joining_gain([*far, *near], FACTS, 1.0, 3).gain == 0.0
    assert estimate_joining_gain([*far, *near], replace(FACTS, local=None), 1.0, 3).gain == 0.0


def test_a_gain_of_classes_without_labels_counts_per_share_of_them() -> None:
    half = _case("a", 0.2, unseen=2, labels=20)
    quarter = replace(FACTS, unseen=1, labels=30)
    assert half.facts.label_situation == quarter.label_situation == "S2"
    assert estimate_joining_gain([half], quarter, 1.0, 3).gain == pytest.approx(0.1)


def test_what_was_not_measured_is_not_expected() -> None:
    cases = [_case("a", 0.1), replace(_case("b", 0.2), sites=1)]
    assert (
        estimate_joining_gain(cases, FACTS, 1.0, 9).datasets == 1
    )  # the nearest number of other plants
    for facts, epsilon, sites in (
        (replace(FACTS, kind="sounds"), 1.0, 3),
        (FACTS, 3.0, 3),
        (FACTS, 1.0, 0),
    ):
        with pytest.raises(DataError, match="no published case"):
            estimate_joining_gain(cases, facts, epsilon, sites)


def test_fewer_others_are_never_expected_to_bring_more() -> None:
    told = published_cases.read_published_cases().cases
    for facts in (FACTS, replace(FACTS, unseen=1, labels=30)):
        gains = [estimate_joining_gain(told, facts, 4.0, sites).gain for sites in (1, 2, 3, 9)]
        assert gains == sorted(gains)


def test_the_decision_follows_from_the_expected_gain() -> None:
    told = estimate_joining_gain([_case("a", 0.2)], FACTS, 1.0, 3)
    for gain, decision in (
        (0.2, JoiningAdvice.JOIN),
        (0.01, JoiningAdvice.JOIN),
        (0.005, JoiningAdvice.STAY_OUT),
        (-0.1, JoiningAdvice.STAY_OUT),
    ):
        assert advise_joining(replace(told, gain=gain), FACTS) is decision
    assert advise_joining(None, FACTS) is JoiningAdvice.WAIT
    blind = replace(FACTS, labels=0, local=None)
    chance = 1 / blind.classes
    assert advise_joining(replace(told, gain=chance + 0.005), blind) is JoiningAdvice.STAY_OUT
    assert advise_joining(replace(told, gain=chance + 0.02), blind) is JoiningAdvice.JOIN


def test_the_published_file_answers_every_question_at_every_price() -> None:
    told = published_cases.read_published_cases()
    assert told.command.startswith("python -m bench.simulate") and 0 < told.held <= 1
    for question in ({}, {"unseen": 1, "labels": 30}, {"labels": 0, "local": None}):
        facts = replace(FACTS, **question)
        for epsilon in published_cases.PUBLISHED_EPSILONS:
            found = estimate_joining_gain(told.cases, facts, epsilon, 3)
            assert found.low <= found.gain <= found.high and found.datasets >= 4
