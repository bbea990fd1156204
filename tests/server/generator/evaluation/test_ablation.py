"""What each part of a generator is worth, on its card."""

from __future__ import annotations

import pytest

from wg_server.generator.evaluation import ablation, head_card

SCENARIO = {
    name: {"gain": value, "gain_error": 0.01}
    for name, value in {"alone": 0.02, "exchanged": 0.5}.items()
}
FAMILIES = [
    {"one_camera": "0.4000", "alike": "0.5000", "standardised": "0.7000", "network": "0.9000"},
    {"one_camera": "0.2000", "alike": "0.7000", "standardised": "0.7000"},
]


def _row(part: str) -> ablation.Row:
    (found,) = (row for row in ablation.table(SCENARIO, FAMILIES) if row["part"].startswith(part))
    return found


def test_its_scenario_is_one_of_the_card_s() -> None:
    assert ablation.SCENARIO in head_card.SCENARIOS


def test_what_is_made_from_a_release_keeps_the_card_s_errors() -> None:
    assert _row("releases of other sites")["points"] == pytest.approx(2)
    assert _row("the plant's own condition")["error"] == pytest.approx(1)


def test_own_families_are_paired() -> None:
    row = _row("family head: made-up cameras")
    assert (row["points"], row["error"]) == (pytest.approx(40), pytest.approx(10))
    assert ablation.words(row).endswith("minus one: +40.0 +- 10.0 points, own families: 2")


def test_one_family_has_no_error_and_what_is_not_there_has_no_row() -> None:
    row = _row("first network of the family")
    assert (row["points"], row["error"], row["families"]) == (pytest.approx(20), None, 1)
    assert "+-" not in ablation.words(row)
    without = {name: scores for name, scores in SCENARIO.items() if name != "alone"}
    parts = {row["part"] for row in ablation.table(without, FAMILIES)}
    assert "releases of other sites" not in parts
    assert ablation.table({}, []) == []
