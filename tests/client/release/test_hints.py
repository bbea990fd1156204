"""What ``check`` points out before a release is paid for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.client.conftest import MakePlant

from wg_client.release.hints import HEAD_PAYS, head_pays, hints
from wg_client.release.preview import check
from wg_core.site.config import PrivacyConfig

ROOT = Path(__file__).parents[3]
GOOD: dict[str, Any] = {
    "epsilon": 1.0,
    "per_label": {"ok": 60, "never": 0},
    "units": 60,
    "clip_radius": 1.0,
    "dimension": 64,
    "noise_std": 1.0,
    "cap_epsilon": 8.0,
    "cap_delta": 1e-5,
}


def test_a_usual_plant_is_told_nothing() -> None:
    assert hints(**GOOD) == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cap_epsilon": 1e6}, "cap_epsilon 1e+06: nobody is protected"),
        ({"cap_delta": 0.01}, "may fail for one of 60 units; take 2e-04"),
        ({"per_label": {"rare": 3}}, "'rare' (3); 8 records a class"),
        ({"per_label": {"ok": 1400, "dent": 0}, "units": 1400}, "contribute --epsilon 1"),
        (
            {"per_label": {"ok": 350, "dent": 350}, "units": 700, "epsilon": 2.0},
            "contribute --epsilon 2",
        ),
        ({"noise_std": 1e9}, "too few records for this epsilon"),
    ],
)
def test_a_price_that_buys_or_promises_nothing_is_pointed_out(
    change: dict[str, Any], message: str
) -> None:
    (found,) = hints(**{**GOOD, **change})
    assert message in found


def test_one_record_at_almost_no_epsilon_under_a_huge_cap(make_plant: MakePlant) -> None:
    privacy = PrivacyConfig(cap_epsilon="1000000", max_request_epsilon="4")
    found = check(make_plant({0: 1}, privacy=privacy).home, epsilon="1e-4")
    assert len(found.hints) == 2


def test_where_a_head_pays_is_what_measured_sites_say() -> None:
    """What the rule gains over always giving class sums is the most that any such rule gains."""
    lines = (ROOT / "bench/results/contributions.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["labels"] == 5]
    told = np.array([row["records"] * row["epsilon"] / row["classes"] for row in rows])
    gains = np.array([row["scores"]["head kept"] - row["scores"]["sums kept"] for row in rows])
    names = sorted({row["dataset"] for row in rows})
    of = np.array([names.index(row["dataset"]) for row in rows])
    weights = 1 / np.bincount(of)[of]  # a data set counts once

    def gained(least: float) -> float:
        return float((weights * gains)[told >= least].sum())

    assert gained(HEAD_PAYS) == pytest.approx(max(map(gained, [*told, np.inf])))
    assert gained(HEAD_PAYS) > 0
    assert [head_pays(700 * k, k, 1.0) for k in (2, 9)] == [True, True]
    assert not head_pays(699, 1, 1.0) and head_pays(175, 1, 4.0)
