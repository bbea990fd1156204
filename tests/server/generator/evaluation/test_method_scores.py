"""Scores on a card: paired differences, errors by family; checks as a table."""

from __future__ import annotations

import numpy as np
import pytest

from wg_server.generator.card_checks import CardCheck, read_checks
from wg_server.generator.evaluation import head_card
from wg_server.generator.evaluation.method_scores import (
    COMPLETED_HEAD,
    EXCHANGED_HEAD,
    HEAD_ALONE,
    MethodScores,
)

FAMILIES = ("a", "a", "a", "b")
DELIVERED = (0.9, 0.8, 0.7, 0.4)
OTHER = (0.8, 0.8, 0.8, 0.6)


@pytest.fixture
def rows() -> dict[str, dict[str, float]]:
    scores = MethodScores()
    for family, delivered, other in zip(FAMILIES, DELIVERED, OTHER, strict=True):
        scores.add_plant(family, {COMPLETED_HEAD: delivered, "other": other})
    return scores.table_rows()


def test_a_family_counts_once_however_many_plants_it_has(rows: dict[str, dict[str, float]]) -> None:
    assert rows[COMPLETED_HEAD]["accuracy"] == pytest.approx((0.8 + 0.4) / 2)
    assert rows["other"]["error"] == pytest.approx(np.std([0.8, 0.6], ddof=1) / np.sqrt(2))


def test_differences_are_paired_by_plant(rows: dict[str, dict[str, float]]) -> None:
    assert rows[COMPLETED_HEAD]["gain"] == 0
    assert rows["other"]["gain"] == pytest.approx((0.0 - 0.2) / 2)
    assert rows["other"]["gain_error"] == pytest.approx(0.1)


def _failed(alone: float, exchanged: float, error: float) -> list[str]:
    rows = {
        HEAD_ALONE: {"gain": alone, "gain_error": error},
        EXCHANGED_HEAD: {"gain": exchanged, "gain_error": error},
    }
    return [c.name for c in head_card.card_checks({"scenarios": {"one": rows}}) if not c.passed]


def test_a_good_card_passes_all_checks_and_a_bad_figure_fails_its_own() -> None:
    assert _failed(0.02, 0.3, 0.01) == []
    assert _failed(-0.05, 0.3, 0.01) == [
        "gain of other sites' releases and three errors, worst scenario"
    ]
    assert _failed(0.02, -0.05, 0.01) == [
        "gain over exchanged classes and three errors, worst scenario"
    ]


def test_a_figure_within_its_error_fails_nothing() -> None:
    assert _failed(-0.03, -0.02, 0.01) == []


def test_checks_of_an_earlier_card_are_read_under_the_names_that_it_has() -> None:
    old = CardCheck(name="network minus its skeleton, worst scenario", value=0.0, bound=-0.01)
    new = CardCheck(name="spread of what nobody measures now", value=0.1, bound=0.2)
    found = list(read_checks({"checks": [old.to_document(), new.to_document()]}))
    assert found == [old, new]
    assert [check.passed for check in found] == [True, False]
