"""Scores on a card: paired differences, errors by family, losses in words; checks as a table."""

from __future__ import annotations

import numpy as np
import pytest

from wg_server.generator.checks import at_least, at_most, read_checks
from wg_server.generator.evaluation import head_checks
from wg_server.generator.evaluation.scores import LOSS_MARGIN, Scores, losses

FAMILIES = ("a", "a", "a", "b")
NETWORK = (0.9, 0.8, 0.7, 0.4)
OTHER = (0.8, 0.8, 0.8, 0.6)


@pytest.fixture
def rows() -> dict[str, dict[str, float]]:
    scores = Scores()
    for family, network, other in zip(FAMILIES, NETWORK, OTHER, strict=True):
        scores.add(family, {"network": network, "other": other})
    return scores.rows()


def test_a_family_counts_once_however_many_plants_it_has(rows: dict[str, dict[str, float]]) -> None:
    assert rows["network"]["accuracy"] == pytest.approx((0.8 + 0.4) / 2)
    assert rows["other"]["error"] == pytest.approx(np.std([0.8, 0.6], ddof=1) / np.sqrt(2))


def test_differences_are_paired_by_plant(rows: dict[str, dict[str, float]]) -> None:
    assert rows["network"]["network_minus"] == 0
    assert rows["other"]["network_minus"] == pytest.approx((0.0 - 0.2) / 2)
    assert rows["other"]["network_minus_error"] == pytest.approx(0.1)


def test_losses_are_those_beyond_the_margin_and_of_the_methods_asked_for(
    rows: dict[str, dict[str, float]],
) -> None:
    assert losses("few", rows, {"other"}) == ["few: 0.100 +- 0.100 below other"]
    assert losses("few", rows, {"network"}) == []
    rows["other"]["network_minus"] = -LOSS_MARGIN
    assert losses("few", rows, {"other"}) == []


def _card() -> dict[str, object]:
    gain = {"network_minus": 0.02, "network_minus_error": 0.01}
    return {
        "scenarios": {"one": dict.fromkeys(("closed-form", "blend", "another-plant"), gain)},
        "memorisation": {
            "generated": {"heads_copied": 0.0, "rows_copied": 0.0},
            "planted_memoriser": {"heads_copied": 1.0},
        },
        "diversity": {"nearest_zoo_distance_median": 1.0},
        "calibration": {"one": 0.05},
    }


def test_a_good_card_passes_all_checks_and_a_bad_figure_fails_its_own() -> None:
    assert all(check.passed for check in head_checks.checks(_card()))
    card = _card()
    card["calibration"] = {"one": 0.05, "two": 0.5}
    failed = [check.name for check in head_checks.checks(card) if not check.passed]
    assert failed == ["expected calibration error, worst scenario"]


def test_a_gain_within_its_error_is_no_gain() -> None:
    card = _card()
    gain = {"network_minus": 0.02, "network_minus_error": 0.03}
    card["scenarios"] = {"one": {**card["scenarios"]["one"], "another-plant": gain}}  # type: ignore[index]
    failed = [check.name for check in head_checks.checks(card) if not check.passed]
    assert failed == ["gain over another plant's condition less its error, worst scenario"]


def test_checks_of_an_earlier_card_are_read_under_the_names_that_it_has() -> None:
    old = at_least(-0.01, "network minus its skeleton, worst scenario", 0.0)
    new = at_most(0.1, "generated heads that are copies of a zoo entry", 0.2)
    found = list(read_checks({"checks": [old.document(), new.document()]}))
    assert found == [old, new]
    assert [check.passed for check in found] == [True, False]
